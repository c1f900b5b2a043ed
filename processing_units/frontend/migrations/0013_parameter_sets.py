import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('archive', '0003_publications'),
        ('frontend', '0012_batches'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ParameterSet',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('recipe', models.CharField(max_length=40)),
                ('recipe_version', models.CharField(max_length=20)),
                ('name', models.CharField(max_length=60)),
                ('entries', models.JSONField(default=dict)),
                ('kept_at', models.DateTimeField()),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='parameter_sets', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='archive.project')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('owner', 'recipe', 'name'), name='parameter_set_once')],
            },
        ),
    ]
