"""The portal as a Django app: pages, tokens, management commands."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Web pages and users' interfaces."""

    name = "awportal"
    default_auto_field = "django.db.models.BigAutoField"
