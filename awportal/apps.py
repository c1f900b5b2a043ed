"""The portal as a Django app: pages, tokens, management commands."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Web pages and users' interfaces."""

    name = "awportal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Write log-ins down from the start."""
        from awportal.people.log_ins import connect

        connect()
