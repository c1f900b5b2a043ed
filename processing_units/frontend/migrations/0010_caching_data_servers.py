"""Units name a registered caching data server where they had an address."""

from __future__ import annotations

import secrets

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.utils import timezone


def register_what_is_named(apps, schema_editor):
    """Register the addresses that units have; each still needs the key that registering it anew gives."""
    data_server, unit = (apps.get_model("frontend", name) for name in ("CachingDataServer", "ProcessingUnit"))
    for each in unit.objects.exclude(data_server_url="").order_by("pk"):
        address = each.data_server_url.rstrip("/")
        found = data_server.objects.filter(address=address).first()
        if found is None:
            name = f"cache-{data_server.objects.count() + 1}"
            found = data_server.objects.create(
                name=name, address=address, peer=f"{name}-{secrets.token_hex(4)}", registered_at=timezone.now()
            )
        each.data_server = found
        each.save(update_fields=["data_server"])


class Migration(migrations.Migration):
    dependencies = [
        ("frontend", "0009_backend_tests"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CachingDataServer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField(max_length=40, unique=True)),
                ("address", models.CharField(max_length=200)),
                ("peer", models.CharField(max_length=80, unique=True)),
                ("registered_at", models.DateTimeField()),
                (
                    "registered_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="processingunit",
            name="data_server",
            field=models.ForeignKey(
                blank=True,
                help_text="from which its nodes read; null: from the portal's own",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="units",
                to="frontend.cachingdataserver",
            ),
        ),
        migrations.RunPython(register_what_is_named, migrations.RunPython.noop),
        migrations.RemoveField(model_name="processingunit", name="data_server_url"),
    ]
