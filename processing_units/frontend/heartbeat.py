"""The heartbeat of a cluster manager: leases renewed in one go, logs and progress kept, cancels brought back."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import Case, CharField, FloatField, Q, QuerySet, Value, When

from processing_units.contract import Heartbeat, HeartbeatReply, JobBeat, JobState
from processing_units.frontend.attempts import revive
from processing_units.frontend.clock import lease_seconds, seconds_from_now
from processing_units.frontend.cluster_managers import seen
from processing_units.frontend.logs import MAXIMUM_LOG_BYTES
from processing_units.frontend.models import Attempt, Job, LogChunk, ProcessingUnit
from processing_units.named_points import reach

_AT_ONCE = 100


def heartbeat(unit: ProcessingUnit, message: Heartbeat) -> HeartbeatReply:
    """Take a heartbeat; return what to stop, how much of each log has arrived, and whether to drain."""
    manager = seen(
        unit, message.cluster_manager, message.node, slots=message.slots, busy=message.busy, load=message.load
    )
    reply = HeartbeatReply(drain=manager.drain)
    for begin in range(0, len(message.jobs), _AT_ONCE):
        beats = message.jobs[begin : begin + _AT_ONCE]
        alive = renew(unit, beats)
        reply.stop += [(beat.job, beat.attempt) for beat in beats if (beat.job, beat.attempt) not in alive]
        reach("heartbeat.renewed")
        reply.log_offsets |= _keep_logs(unit, beats)
    return reply


def renew(unit: ProcessingUnit, beats: Sequence[JobBeat]) -> set[tuple[int, int]]:
    """Renew the leases of the attempts that still have their jobs, in one update; return those that have.

    An attempt whose lease expired, but whose job nobody has claimed anew, gets its job back.
    """
    if not beats:
        return set()
    jobs = Job.objects.filter(_any_of(beats, "pk", "attempt"), unit=unit)
    queued = jobs.filter(state=JobState.QUEUED).values_list("pk", "attempt")
    for job_id, attempt in list(queued):
        revive(job_id, attempt)
    jobs.filter(state=JobState.RUNNING).update(
        lease_until=seconds_from_now(lease_seconds()),
        progress=Case(
            *[When(pk=beat.job, then=Value(beat.progress)) for beat in beats],
            default="progress",
            output_field=FloatField(),
        ),
        stage=Case(
            *[When(pk=beat.job, then=Value(beat.stage)) for beat in beats], default="stage", output_field=CharField()
        ),
    )
    return set(jobs.filter(state=JobState.RUNNING).values_list("pk", "attempt"))


def keep_log(attempt: Attempt, offset: int, text: str) -> int:
    """Keep a piece of an attempt's log that begins at byte `offset`; return how many bytes have arrived in all.

    Bytes are counted of the text in UTF-8 as it was sent. What came before is not kept twice; what leaves a gap is not
    kept at all, and the answer tells the sender where to begin. A late attempt's log is as welcome as any.
    """
    while True:
        have = attempt.log_bytes
        fresh = text.encode()[max(0, have - offset) :] if offset <= have else b""
        fresh = fresh[: max(0, MAXIMUM_LOG_BYTES - have)]
        if not fresh:
            return have
        kept = fresh.decode(errors="replace").replace("\x00", "?")  # PostgreSQL stores no NUL; one byte for one
        try:
            with transaction.atomic():
                mine = Attempt.objects.filter(pk=attempt.pk, log_bytes=have)
                if mine.update(log_bytes=have + len(fresh)):
                    LogChunk.objects.create(attempt_id=attempt.pk, first_byte=have, text=kept)
                    attempt.log_bytes = have + len(fresh)
                    return attempt.log_bytes
        except IntegrityError:
            pass  # the same piece at the same moment: look again
        attempt.refresh_from_db(fields=["log_bytes"])


def _keep_logs(unit: ProcessingUnit, beats: Sequence[JobBeat]) -> dict[int, int]:
    attempts: QuerySet[Attempt] = Attempt.objects.filter(_any_of(beats, "job", "ordinal"), job__unit=unit)
    by_key = {(attempt.job_id, attempt.ordinal): attempt for attempt in attempts}
    arrived = {}
    for beat in beats:
        attempt = by_key.get((beat.job, beat.attempt))
        if attempt is not None:
            arrived[beat.job] = keep_log(attempt, beat.log_offset, beat.log)
    return arrived


def _any_of(beats: Sequence[JobBeat], job: str, attempt: str) -> Q:
    either = Q()
    for beat in beats:
        either |= Q(**{job: beat.job, attempt: beat.attempt})
    return either
