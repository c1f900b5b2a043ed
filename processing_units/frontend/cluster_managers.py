"""The cluster managers of a unit: up, seen, down."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from processing_units.contract import ClusterManagerDown, ClusterManagerUp, JobState, Welcome
from processing_units.frontend.dispatch import queue_name
from processing_units.frontend.models import ClusterManagerRecord, Job, ProcessingUnit
from processing_units.frontend.reap import give_back


def up(unit: ProcessingUnit, message: ClusterManagerUp) -> Welcome:
    """Note that a cluster manager is up; return what it needs to know of its unit."""
    ClusterManagerRecord.objects.update_or_create(
        unit=unit,
        key=message.cluster_manager,
        defaults={
            "node": message.node,
            "slots": message.slots,
            "busy": 0,
            "up_at": Now(),
            "seen_at": Now(),
            "down_at": None,
            "drain": False,
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
        fields |= {"slots": slots, "busy": busy or 0, "load": load}
    if not ClusterManagerRecord.objects.filter(unit=unit, key=key).update(**fields):
        ClusterManagerRecord.objects.get_or_create(
            unit=unit, key=key, defaults={"node": node, "slots": slots or 1, "up_at": Now(), **fields}
        )
    return ClusterManagerRecord.objects.get(unit=unit, key=key)


def down(unit: ProcessingUnit, message: ClusterManagerDown) -> None:
    """Note that a cluster manager has left; jobs that it still had go back to the queue at once, and count nothing."""
    records = ClusterManagerRecord.objects.filter(unit=unit, key=message.cluster_manager)
    records.update(down_at=Now(), busy=0)
    jobs = Job.objects.filter(unit=unit, cluster_manager__in=records)
    for job_id, attempt in jobs.filter(state=JobState.RUNNING).values_list("pk", "attempt"):
        give_back(job_id, attempt, f"its cluster manager left: {message.reason or 'it was stopped'}")
