from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("archive", "0009_no_publications")]

    operations = [
        migrations.AddField(
            model_name="profile",
            name="directory",
            field=models.CharField(blank=True, help_text="where the account comes from; empty: made here", max_length=20),
        ),
    ]
