"""One log of what people changed; publications move there next, changes of units by the frontend's migration."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("archive", "0006_many_products"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="project",
            name="is_listed",
            field=models.BooleanField(default=True, help_text="whether all users know of it, who may then ask to join"),
        ),
        migrations.CreateModel(
            name="Change",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("made", models.DateTimeField()),
                ("who", models.CharField(help_text="how the user was called, or where the command was typed", max_length=150)),
                ("subject", models.CharField(choices=[("product", "Product"), ("project", "Project"), ("user", "User"), ("unit", "Unit"), ("data server", "Data Server"), ("code", "Code")], max_length=20)),
                ("subject_number", models.BigIntegerField(blank=True, null=True)),
                ("subject_name", models.CharField(max_length=200)),
                ("what", models.CharField(max_length=40)),
                ("value_before", models.CharField(blank=True, max_length=1000)),
                ("value_after", models.CharField(blank=True, max_length=1000)),
                ("project", models.ForeignKey(help_text="whose managers may read this", null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="archive.project")),
                ("user", models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["subject", "subject_number", "id"], name="change_of_subject"),
                    models.Index(fields=["project", "id"], name="change_in_project"),
                ],
            },
        ),
    ]
