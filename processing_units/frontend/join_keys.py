"""The keys that cluster managers join a unit with, besides the unit's own.

There is one for each that a backend brings up, and there are those of workers, which come and go.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from archive.audit import Subject, Told, record
from processing_units.contract import KeyRequest, NewKey
from processing_units.frontend.attempts import hash_of
from processing_units.frontend.clock import seconds_from_now
from processing_units.frontend.models import JoinKey, ProcessingUnit
from processing_units.frontend.refusals import NotFound


def make_for_place(unit: ProcessingUnit, message: KeyRequest) -> NewKey:
    """Return a new key for a cluster manager of a backend; those of cluster managers that have ended are void."""
    of_places = unit.join_keys.filter(place__isnull=False, revoked_at__isnull=True)
    of_places.filter(pk__in=message.void).update(revoked_at=Now())
    return _make(unit, place=message.place, expires_at=seconds_from_now(message.valid_seconds))


def make_for_workers(unit: ProcessingUnit, user: User, note: str) -> NewKey:
    """Return a new key that any number of workers may join with, until it is revoked; the history tells of it."""
    with transaction.atomic():
        made = _make(unit, made_by=user, note=note[:200])
        _note(unit, user, "", f"{made.number}: {note}")
    return made


def of_workers(unit: ProcessingUnit) -> QuerySet[JoinKey]:
    """Return the keys of a unit that workers may join with."""
    return unit.join_keys.filter(place__isnull=True, revoked_at__isnull=True).select_related("made_by").order_by("pk")


def revoke(unit: ProcessingUnit, number: int, user: User) -> None:
    """Make a workers' key void; whoever joined with it is refused from now on.

    Raises
    ------
    NotFound
        The unit has no such key.
    """
    with transaction.atomic():
        found = of_workers(unit).filter(pk=number).first()
        if found is None or not of_workers(unit).filter(pk=number).update(revoked_at=Now()):
            raise NotFound(
                f"unit {unit.name} has no key {number}", hint=f"`awrecipe units keys {unit.name}` lists them"
            )
        _note(unit, user, f"{number}: {found.note}", "")


def _note(unit: ProcessingUnit, user: User, before: str, after: str) -> None:
    record(user, Told(Subject.UNIT, unit.pk, unit.name, "join key", before, after))


def unit_joined(key: str, cluster_manager: str) -> ProcessingUnit | None:
    """Return the unit that a key opens to a cluster manager; None for a key that is no join key, or no longer."""
    keys = JoinKey.objects.filter(key_hash=hash_of(key), revoked_at__isnull=True)
    found = keys.select_related("unit").first()
    if found is None:
        return None
    if found.place is not None and found.cluster_manager != cluster_manager:
        in_time = Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
        # The first that presents it: one conditional update, so that of two only one is.
        if not keys.filter(in_time, cluster_manager="").update(cluster_manager=cluster_manager):
            return None
    return found.unit


def _make(unit: ProcessingUnit, **fields: Any) -> NewKey:
    key = secrets.token_urlsafe(32)
    made = JoinKey.objects.create(unit=unit, key_hash=hash_of(key), made_at=Now(), **fields)
    return NewKey(number=made.pk, key=key)
