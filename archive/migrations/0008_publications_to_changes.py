"""The steps of publishing become rows of the one log. A migration of its own: PostgreSQL changes no table it just filled."""

from django.db import migrations


def copy_publications(apps, schema_editor):
    change, publication = apps.get_model("archive", "Change"), apps.get_model("archive", "Publication")
    some = []
    for step in publication.objects.select_related("product").order_by("pk").iterator(chunk_size=500):
        some.append(
            change(
                made=step.made, user_id=step.user_id, who=step.who, subject="product", subject_number=step.product_id,
                subject_name=step.product.name, what="privilege", value_before=str(step.privilege_before),
                value_after=str(step.privilege_after), project_id=step.project_id,
            )
        )
    change.objects.bulk_create(some, batch_size=500)


class Migration(migrations.Migration):

    dependencies = [("archive", "0007_changes")]

    operations = [migrations.RunPython(copy_publications, migrations.RunPython.noop, elidable=True)]
