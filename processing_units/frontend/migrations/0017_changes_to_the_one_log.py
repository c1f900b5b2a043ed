"""Changes of units become rows of the archive's one log of changes."""

from django.db import migrations


def copy_changes(apps, schema_editor):
    change, of_unit = apps.get_model("archive", "Change"), apps.get_model("frontend", "UnitChange")
    some = [
        change(
            made=row.made, user_id=row.user_id, who=row.who, subject="unit", subject_number=row.unit_id,
            subject_name=row.unit.name, what=row.setting, value_before=row.value_before, value_after=row.value_after,
        )
        for row in of_unit.objects.select_related("unit").order_by("pk").iterator(chunk_size=500)
    ]
    change.objects.bulk_create(some, batch_size=500)


class Migration(migrations.Migration):

    dependencies = [("frontend", "0016_night_goals"), ("archive", "0009_no_publications")]

    operations = [migrations.RunPython(copy_changes, migrations.RunPython.noop, elidable=True)]
