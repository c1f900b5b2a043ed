"""Reap: a job whose lease has expired goes back to the queue, unless it was the frontend that was away."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, ExpressionWrapper, F, When
from django.db.models.functions import Now

from processing_units.contract import MAXIMUM_LOST_NODES, FaultKind, JobState
from processing_units.frontend.attempts import EXPIRED
from processing_units.frontend.changes import change, close_ended_runs
from processing_units.frontend.clock import lease_seconds, seconds_from_now
from processing_units.frontend.models import Attempt, Job, ProcessingUnit
from processing_units.named_points import reach


def say_alive(unit: ProcessingUnit) -> None:
    """Record that the unit's frontend is alive, and since when without a gap that could have cost nodes their leases.

    Half a lease counts as a gap: a node beats several times in it, and has the other half to come back.
    """
    ProcessingUnit.objects.filter(pk=unit.pk).update(
        alive_at=Now(),
        alive_since=Case(When(alive_at__gte=_gap(), alive_since__isnull=False, then=F("alive_since")), default=Now()),
    )


def _gap() -> ExpressionWrapper[Any]:
    return seconds_from_now(-lease_seconds() / 2)


def reap_all() -> int:
    """Reap the jobs of every unit whose frontend is alive and past its grace; return how many."""
    # Silent for as long as counts as a gap is not alive: the leases of nodes that it does not answer end after that.
    alive = ProcessingUnit.objects.filter(
        alive_at__gte=_gap(), alive_since__lte=seconds_from_now(-settings.GRACE_SECONDS)
    )
    expired = Job.objects.filter(unit__in=alive, state=JobState.RUNNING, lease_until__lt=Now())
    rows = list(expired.values_list("pk", "attempt", "lost_nodes", "cluster_manager__node"))
    return sum(_reap(job_id, attempt, lost_nodes, node or "its node") for job_id, attempt, lost_nodes, node in rows)


def give_back(job_id: int, attempt: int, why: str) -> bool:
    """Put a running job back into the queue without counting anything; return whether it was running that attempt."""
    with transaction.atomic():
        jobs = Job.objects.filter(pk=job_id, attempt=attempt)
        if not change(
            jobs, JobState.RUNNING, JobState.QUEUED, lease_until=None, cluster_manager=None, reason=why[:1000]
        ):
            return False
        _end_attempt(job_id, attempt, FaultKind.PREEMPTED, why)
    return True


def _reap(job_id: int, attempt: int, lost_nodes: int, node: str) -> bool:
    why = f"{node} was lost: nothing was heard of it for {lease_seconds():.0f} s"
    with transaction.atomic():
        # Still expired, and still this attempt: a heartbeat or a commit may have come in between.
        jobs = Job.objects.filter(pk=job_id, attempt=attempt, lease_until__lt=Now())
        if lost_nodes + 1 >= MAXIMUM_LOST_NODES:
            changed = change(
                jobs,
                JobState.RUNNING,
                JobState.FAILED,
                lost_nodes=lost_nodes + 1,
                reason=f"{lost_nodes + 1} nodes were lost under it, the last was {node}",
                hint="does it need more memory or time than the nodes have? look at the last lines of its log",
            )
        else:
            changed = change(
                jobs,
                JobState.RUNNING,
                JobState.QUEUED,
                lost_nodes=lost_nodes + 1,
                lease_until=None,
                cluster_manager=None,
                reason=why,
            )
        if not changed:
            return False
        _end_attempt(job_id, attempt, EXPIRED, why)
        reach("reap.written")
    reach("reap.committed")
    if lost_nodes + 1 >= MAXIMUM_LOST_NODES:
        close_ended_runs(Job.objects.filter(pk=job_id).values_list("run", flat=True))
    return True


def _end_attempt(job_id: int, attempt: int, outcome: str, message: str) -> None:
    Attempt.objects.filter(job=job_id, ordinal=attempt).update(ended=Now(), outcome=outcome, message=message[:1000])
