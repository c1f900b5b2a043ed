"""Failures: whose fault it was decides whether the job is tried again, and what is counted."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from processing_units.contract import MAXIMUM_FAILURES, MAXIMUM_LOST_NODES, Failure, FaultKind, JobState
from processing_units.frontend import staging
from processing_units.frontend.attempts import revive, staging_key
from processing_units.frontend.changes import change, close_ended_runs
from processing_units.frontend.clock import seconds_from_now
from processing_units.frontend.heartbeat import keep_log
from processing_units.frontend.models import Attempt, Job
from processing_units.frontend.refusals import TooLate
from processing_units.named_points import reach

# What the job itself did: three of them end it.
OWN_FAULTS = frozenset({FaultKind.FATAL, FaultKind.CRASHED, FaultKind.OUT_OF_MEMORY, FaultKind.OUT_OF_TIME})
# What the machine did: ten of them end it, with a pause before each new try: a full disk takes time to be cleared.
MACHINE_FAULTS = frozenset(
    {FaultKind.TRANSIENT, FaultKind.STAGE_IN, FaultKind.STAGE_OUT, FaultKind.DISK_FULL, FaultKind.NODE_LOST}
)
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0

_WORDS = {
    FaultKind.CRASHED: "the job's process crashed",
    FaultKind.OUT_OF_MEMORY: "out of memory",
    FaultKind.OUT_OF_TIME: "out of time",
    FaultKind.STAGE_IN: "its inputs could not be brought to the node",
    FaultKind.STAGE_OUT: "its products could not be handed in",
    FaultKind.DISK_FULL: "disk full",
    FaultKind.NODE_LOST: "the node failed",
    FaultKind.PREEMPTED: "its node was taken away",
}


def fail(attempt: Attempt, message: Failure) -> None:
    """Take the report that an attempt failed; a repeated report changes nothing.

    Raises
    ------
    TooLate
        The job was cancelled, given to another attempt, or has ended.
    """
    keep_log(attempt, message.log_offset, message.log)
    reach("fail.begun")
    changed = end_with_fault(attempt, message.fault, message.message, message.hint)
    staging.drop(staging_key(attempt))
    if not changed:
        attempt.refresh_from_db()
        if attempt.outcome != message.fault:
            raise TooLate(
                f"job {attempt.job} is not attempt {attempt.ordinal}'s any more", hint="nothing of it is kept"
            )


def end_with_fault(attempt: Attempt, fault: FaultKind, message: str, hint: str) -> bool:
    """End an attempt and decide what becomes of its job; return whether the job was the attempt's."""
    with transaction.atomic():
        job = Job.objects.get(pk=attempt.job_id)
        if job.state == JobState.QUEUED and revive(job.pk, attempt.ordinal):
            job.refresh_from_db()
        new, fields = _verdict(job, fault, message, hint)
        if not change(Job.objects.filter(pk=job.pk, attempt=attempt.ordinal), JobState.RUNNING, new, **fields):
            return False
        Attempt.objects.filter(pk=attempt.pk).update(
            ended=Now(), outcome=fault, message=message[:1000], hint=hint[:1000]
        )
        reach("fail.written")
    if new == JobState.FAILED:
        close_ended_runs([job.run_id])
    return True


def said(fault: FaultKind, message: str) -> str:
    """Return the reason of a fault for a person: what kind it was, and what happened."""
    words = _WORDS.get(fault, "")
    if not words or message.lower().startswith(words):
        return message or "failed without a word"
    return f"{words}: {message}" if message else words


def _verdict(job: Job, fault: FaultKind, message: str, hint: str) -> tuple[JobState, dict[str, Any]]:
    """Return the job's next state and what else is to be written."""
    reason = said(fault, message)
    fields: dict[str, Any] = {"reason": reason[:1000], "hint": hint[:1000]}
    if fault == FaultKind.USAGE:
        return JobState.FAILED, fields
    again = {**fields, "lease_until": None, "cluster_manager": None}
    if fault in OWN_FAULTS:
        failures = job.failures + 1
        if failures >= MAXIMUM_FAILURES:
            fields["reason"] = f"failed {failures} times, at last: {reason}"[:1000]
            return JobState.FAILED, {**fields, "failures": failures}
        return JobState.QUEUED, {**again, "failures": failures}
    if fault in MACHINE_FAULTS:
        lost = job.lost_nodes + 1
        if lost >= MAXIMUM_LOST_NODES:
            fields["reason"] = f"nodes failed {lost} times under it, at last: {reason}"[:1000]
            return JobState.FAILED, {**fields, "lost_nodes": lost}
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (lost - 1))
        return JobState.QUEUED, {**again, "lost_nodes": lost, "not_before": seconds_from_now(pause)}
    return JobState.QUEUED, again  # pre-empted: counted not at all
