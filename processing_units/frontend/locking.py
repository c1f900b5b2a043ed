"""Rows that are held by one transaction at a time, where the decision needs more than one conditional update."""

from __future__ import annotations

from django.db import connection

from processing_units.frontend.models import ProcessingUnit


def lock_unit(unit_id: int) -> ProcessingUnit:
    """Return a unit's row as it is now, held until the caller's transaction ends.

    Rows that refer to the unit may be written meanwhile. On SQLite, where a transaction that writes is alone anyway,
    there is nothing to hold.
    """
    no_key = connection.features.has_select_for_no_key_update
    return ProcessingUnit.objects.select_for_update(no_key=no_key).get(pk=unit_id)
