from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("frontend", "0017_changes_to_the_one_log")]

    operations = [migrations.DeleteModel(name="UnitChange")]
