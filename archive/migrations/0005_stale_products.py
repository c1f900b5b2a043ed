from django.db import migrations, models

BAD = 0


def mark(apps, schema_editor):
    """Mark what rests on the products that were called bad before there was the column."""
    product = apps.get_model("archive", "Product")
    lineage = apps.get_model("archive", "Lineage")
    for bad in product.objects.filter(is_valid=BAD).order_by("pk").values_list("pk", flat=True):
        generation, seen = {bad}, {bad}
        while generation:
            following = set()
            numbers = sorted(generation)
            for start in range(0, len(numbers), 500):
                made = lineage.objects.filter(source__in=numbers[start : start + 500]).exclude(role="previous")
                following |= set(made.values_list("product", flat=True))
            generation = following - seen
            seen |= generation
            numbers = sorted(generation)
            for start in range(0, len(numbers), 500):
                fresh = product.objects.filter(pk__in=numbers[start : start + 500], stale_because__isnull=True)
                fresh.update(stale_because=bad)


class Migration(migrations.Migration):

    dependencies = [
        ('archive', '0004_finding'),
    ]

    operations = [
        migrations.AddField(
            model_name='product',
            name='stale_because',
            field=models.BigIntegerField(blank=True, help_text='a product called bad that it rests on', null=True),
        ),
        migrations.AddIndex(
            model_name='product',
            index=models.Index(fields=['stale_because'], name='product_stale'),
        ),
        migrations.RunPython(mark, migrations.RunPython.noop),
    ]
