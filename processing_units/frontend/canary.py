"""Canary jobs: once a minute a job that does nothing goes the whole road of a unit that has a slot free (R9).

Queued, hinted at, claimed, run, committed; it takes no input and leaves no product, and is gone after a day. It is sent
only where a cluster manager with a free slot was heard of just now, and taken back when there is none any more: it
starts nothing, keeps nothing alive, and waits for nothing but a slot that is said to be free.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F

from processing_units.contract import CANARY, JobState
from processing_units.frontend.cancel import cancel_jobs
from processing_units.frontend.changes import OPEN_STATES
from processing_units.frontend.clock import database_now, lease_seconds, seconds_from_now
from processing_units.frontend.job_rows import JobRow, write_jobs
from processing_units.frontend.models import Job, ProcessingUnit, Run
from processing_units.frontend.waiting import live_cluster_managers

USER = "canary@awportal"
LATE_SECONDS = 90.0
_KEPT_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class CanaryLook:
    """The newest canary of a unit, for a person."""

    state: str
    since: datetime
    node: str
    seconds: float | None
    trouble: str


def keep_canaries() -> int:
    """Send the canaries that are due and take back those for which no slot is free; return how many were sent."""
    if not settings.CANARY_SECONDS:
        return 0
    alive = ProcessingUnit.objects.filter(accepting=True, alive_at__gte=seconds_from_now(-lease_seconds()))
    return sum(_keep(unit) for unit in alive)


def remove_old_canaries() -> int:
    """Remove the rows of canaries after a day; return how many there were."""
    old = Run.objects.filter(user__username=USER, recipe=CANARY, submitted__lt=seconds_from_now(-_KEPT_SECONDS))
    return sum(1 for run in old[:500] if run.delete())


def newest_canary(unit: ProcessingUnit) -> CanaryLook | None:
    """Return how the newest canary of a unit stands; None where none was sent of late."""
    jobs = Job.objects.filter(unit=unit, run__user__username=USER).select_related("cluster_manager")
    job = jobs.exclude(state=JobState.CANCELLED).order_by("-pk").first()
    if job is None:
        return None
    now = database_now()
    if job.ended is not None and now - job.ended > timedelta(seconds=2 * (settings.CANARY_SECONDS + LATE_SECONDS)):
        return None
    node = job.cluster_manager.node if job.cluster_manager else ""
    taken = (job.ended - job.created).total_seconds() if job.ended else None
    return CanaryLook(job.state, job.ended or job.created, node, taken, _trouble(job, node, now))


def _trouble(job: Job, node: str, now: datetime) -> str:
    """Return what a canary says is wrong with its unit, or ""."""
    if job.state == JobState.FAILED:
        return f"the last canary job failed: {job.reason}"
    if job.state not in OPEN_STATES or (now - job.created).total_seconds() < LATE_SECONDS:
        return ""
    since = f"{job.created:%H:%M:%S} UT"
    if job.state == JobState.RUNNING:
        return f"a canary job, which takes a second, was sent at {since} and runs on {node} still"
    if job.reason:
        return f"a canary job could not be done since {since}: {job.reason}"
    return f"a canary job waits since {since}, though a cluster manager says that it has a slot free"


def _keep(unit: ProcessingUnit) -> int:
    mine = Run.objects.filter(unit=unit, user__username=USER)
    waiting = mine.filter(ended__isnull=True).first()
    if waiting is not None:
        if not _has_free_slot(unit) and waiting.jobs.filter(state=JobState.QUEUED).exists():
            Run.objects.filter(pk=waiting.pk).update(cancel_requested=database_now())
            cancel_jobs(waiting.pk, "no slot is free any more")
        return 0
    if mine.filter(submitted__gt=seconds_from_now(-settings.CANARY_SECONDS)).exists() or not _has_free_slot(unit):
        return 0
    return _send(unit)


def _has_free_slot(unit: ProcessingUnit) -> bool:
    free = live_cluster_managers(unit).filter(drain=False, busy__lt=F("slots"))
    if not free.exists():
        return False
    running = Job.objects.filter(unit=unit, state=JobState.RUNNING).count()
    return not unit.slots or running < unit.slots


def _send(unit: ProcessingUnit) -> int:
    user, _ = User.objects.get_or_create(username=USER, defaults={"is_active": False, "password": "!"})
    now = database_now()
    try:
        with transaction.atomic():
            run = Run.objects.create(
                user=user, recipe=CANARY, recipe_version="", unit=unit, unit_reason="once a minute", submitted=now,
                idempotency_key=f"unit {unit.pk} at {now.isoformat(timespec='seconds')}",
            )  # fmt: skip
            write_jobs(run, [JobRow(label=CANARY, choices_made=[])], now, counted=False)
    except IntegrityError:
        return 0  # another keeper, in the moment in which the lock goes over
    return 1
