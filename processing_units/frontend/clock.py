"""Time by the database's clock: the one clock that all processes share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.functions import Now


def seconds_from_now(seconds: float) -> ExpressionWrapper[Any]:
    """Return the expression of a time so many seconds from now (before now where negative), for queries and updates."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())


def database_now() -> datetime:
    """Ask the database what time it is."""
    from processing_units.frontend.models import ProcessingUnit

    text = ProcessingUnit.objects.values_list(Now()).first()
    if text is not None:
        return _aware(text[0])
    with connection.cursor() as cursor:  # no unit yet: no row to hang the expression on
        cursor.execute("SELECT CURRENT_TIMESTAMP" + connection.features.bare_select_suffix)
        return _aware(cursor.fetchone()[0])


def lease_seconds() -> float:
    """Return how long a lease lasts [s]."""
    return float(settings.LEASE_SECONDS)


def _aware(value: datetime | str) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
