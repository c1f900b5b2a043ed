from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('frontend', '0014_data_server_trouble'),
    ]

    operations = [
        migrations.AddField(
            model_name='job',
            name='again_of',
            field=models.BigIntegerField(blank=True, help_text='the job that this does anew (reprocess.py)', null=True),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['again_of'], name='job_again'),
        ),
    ]
