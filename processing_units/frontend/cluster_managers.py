"""The cluster managers of a unit: up, seen, down."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from processing_units.contract import ClusterManagerDown, ClusterManagerUp, JobState, Welcome
from processing_units.frontend import standard_code
from processing_units.frontend.clock import seconds_from_now
from processing_units.frontend.dispatch import queue_name
from processing_units.frontend.models import ClusterManagerRecord, Job, ProcessingUnit
from processing_units.frontend.reap import give_back
from recipes.errors import UsageError

_LONGEST_KEY = 80
_LONGEST_NODE = 120
_MOST_SLOTS = 100_000
# A node whose jobs are short claims many times a second: that it was heard of is written once in so long.
_JUST_NOW_SECONDS = 1.0


def up(unit: ProcessingUnit, message: ClusterManagerUp) -> Welcome:
    """Note that a cluster manager is up; return what it needs to know of its unit."""
    standard_code.check(message.code_digest)
    ClusterManagerRecord.objects.update_or_create(
        unit=unit,
        key=_checked_key(message.cluster_manager),
        defaults={
            "node": message.node[:_LONGEST_NODE],
            "slots": min(message.slots, _MOST_SLOTS),
            "busy": 0,
            "up_at": Now(),
            "seen_at": Now(),
            "down_at": None,
            "drain": False,
            "sandbox": message.sandbox,
        },
    )
    return Welcome(
        unit=unit.name,
        broker_url=settings.BROKER_URL,
        queue=queue_name(unit),
        lease_seconds=settings.LEASE_SECONDS,
        heartbeat_seconds=settings.HEARTBEAT_SECONDS,
    )


def seen(
    unit: ProcessingUnit, key: str, node: str, *, slots: int | None = None, busy: int | None = None, load: float = 0.0
) -> ClusterManagerRecord:
    """Note that a cluster manager was heard of; one that the database does not know (any more) is written anew."""
    fields: dict[str, Any] = {"seen_at": Now(), "down_at": None}
    if slots is not None:
        fields |= {"slots": min(slots, _MOST_SLOTS), "busy": min(busy or 0, _MOST_SLOTS), "load": load}
    known = ClusterManagerRecord.objects.filter(unit=unit, key=_checked_key(key))
    if slots is None:
        just_now = known.filter(down_at__isnull=True, seen_at__gte=seconds_from_now(-_JUST_NOW_SECONDS)).first()
        if just_now is not None:
            return just_now
    if not known.update(**fields):
        ClusterManagerRecord.objects.get_or_create(
            unit=unit, key=key, defaults={"node": node[:_LONGEST_NODE], "slots": slots or 1, "up_at": Now(), **fields}
        )
    return known.get()


def down(unit: ProcessingUnit, message: ClusterManagerDown) -> None:
    """Note that a cluster manager has left; jobs that it still had go back to the queue at once, and count nothing."""
    records = ClusterManagerRecord.objects.filter(unit=unit, key=message.cluster_manager)
    records.update(down_at=Now(), busy=0)
    jobs = Job.objects.filter(unit=unit, cluster_manager__in=records)
    for job_id, attempt in jobs.filter(state=JobState.RUNNING).values_list("pk", "attempt"):
        give_back(job_id, attempt, f"its cluster manager left: {message.reason or 'it was stopped'}")


def _checked_key(key: str) -> str:
    if not 0 < len(key) <= _LONGEST_KEY:
        raise UsageError(f"a cluster manager's key has 1 to {_LONGEST_KEY} characters, this one {len(key)}")
    return key
