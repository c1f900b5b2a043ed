"""The frontend as a Django app."""

from django.apps import AppConfig


class FrontendConfig(AppConfig):
    """Processing units, runs, jobs."""

    name = "processing_units.frontend"
    label = "frontend"
    verbose_name = "Processing units"
    default_auto_field = "django.db.models.BigAutoField"
