"""The archive as a Django app."""

from django.apps import AppConfig


class ArchiveConfig(AppConfig):
    """Products, lineage, contexts."""

    name = "archive"
    verbose_name = "Archive"
    default_auto_field = "django.db.models.BigAutoField"
