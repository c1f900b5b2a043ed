from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("archive", "0008_publications_to_changes")]

    operations = [migrations.DeleteModel(name="Publication")]
