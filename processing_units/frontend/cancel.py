"""Cancel a run: what waits never starts, what runs is killed with the next heartbeat and cannot commit any more."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import OperationalError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from archive.context import Context
from processing_units.contract import CANARY, JobState
from processing_units.frontend.changes import OPEN_STATES, change, close_ended_runs
from processing_units.frontend.models import Attempt, Batch, Chain, Job, ProcessingUnit, Run
from processing_units.frontend.permissions import require_change_of_run, require_management_of_unit
from processing_units.frontend.refusals import NotAllowed
from processing_units.named_points import reach
from processing_units.wording import counted

_TRIES = 5


def cancel_run(run: Run, context: Context) -> int:
    """Cancel all jobs of the run that have not ended; return how many there were.

    A second cancel does nothing and returns 0. The rows are cancelled at once and for good; a running job's process is
    gone when its cluster manager hears of it, one heartbeat later.

    Raises
    ------
    NotAllowed
        The run is another user's.
    """
    require_change_of_run(run, context)
    had_ended = run.ended is not None
    # Written first and for itself: from here on nothing of this run is claimed, whatever happens to this process.
    Run.objects.filter(pk=run.pk, cancel_requested__isnull=True, ended__isnull=True).update(cancel_requested=Now())
    reach("cancel.requested")
    count = cancel_jobs(run.pk, f"cancelled by {context.user}")
    run.refresh_from_db()
    if had_ended and run.chain_id is not None:  # what would follow on it may still wait for its unit
        Chain.objects.filter(pk=run.chain_id, ended__isnull=True).update(
            ended=Now(), reason=f"{run.recipe} (run {run.pk}) was cancelled"
        )
    return count


def cancel_own(context: Context) -> Cancelled:
    """Cancel all that the user's runs have open."""
    if context.user is None:
        raise NotAllowed("visitors have no runs", hint="log in")
    return _cancel_all(Run.objects.filter(user=context.user), context)


def cancel_on_unit(unit: ProcessingUnit, context: Context) -> Cancelled:
    """Cancel all that waits or runs on a unit, whosever it is; for its process manager.

    Raises
    ------
    NotAllowed
        The unit is not managed by this user.
    """
    require_management_of_unit(unit, context)
    is_open = Job.objects.filter(unit=unit, state__in=OPEN_STATES)
    return _cancel_all(Run.objects.filter(pk__in=is_open.values("run")).exclude(recipe=CANARY), context)


def cancel_batch(batch: Batch, context: Context) -> Cancelled:
    """Cancel all that has not ended of a batch; no chain of it goes on.

    Raises
    ------
    NotAllowed
        The batch is another user's.
    """
    if context.user is None or not (context.user.is_staff or batch.user_id == context.user.pk):
        raise NotAllowed(f"batch {batch.pk} is {batch.user}'s", hint="ask them, or an administrator")
    Chain.objects.filter(ended__isnull=True, pk__in=Run.objects.filter(batch=batch).values("chain")).update(
        ended=Now(), reason=f"batch {batch.pk} was cancelled"
    )
    Batch.objects.filter(pk=batch.pk, goal_ended__isnull=True).update(goal_ended=Now(), goal_reason="it was cancelled")
    return _cancel_all(Run.objects.filter(batch=batch), context)


@dataclass(frozen=True)
class Cancelled:
    """How much was cancelled."""

    runs: int
    jobs: int

    def __str__(self) -> str:
        return f"{counted(self.jobs, 'job')} of {counted(self.runs, 'run')}"


def _cancel_all(runs: QuerySet[Run], context: Context) -> Cancelled:
    found = list(runs.filter(ended__isnull=True).select_related("user").order_by("-pk"))  # what began last goes first
    # All are marked before the first is brought to its end: what one of them frees, none of the others takes.
    marked = Run.objects.filter(pk__in=[run.pk for run in found], cancel_requested__isnull=True)
    marked.update(cancel_requested=Now())
    return Cancelled(len(found), sum(cancel_jobs(run.pk, f"cancelled by {context.user}") for run in found))


def cancel_jobs(run_id: int, by: str) -> int:
    """Bring all open jobs of a run whose cancel was requested to their end; return how many there were."""
    jobs = Job.objects.filter(run=run_id)
    count = 0
    # Again while there are any: between the two updates a job's lease can expire, which makes it queued again.
    for tries_left in reversed(range(_TRIES)):
        if not jobs.filter(state__in=OPEN_STATES).exists():
            break
        try:
            count += _cancel_open(jobs, by)
        except OperationalError:  # a heartbeat took the same rows in another order, and the database chose us to yield
            if not tries_left:
                raise
    close_ended_runs([run_id])
    return count


@transaction.atomic
def _cancel_open(jobs: QuerySet[Job], by: str) -> int:
    count = change(jobs, JobState.QUEUED, JobState.CANCELLED, reason=by, hint="")
    count += change(jobs, JobState.RUNNING, JobState.CANCELLED, reason=by, hint="")
    cancelled = Attempt.objects.filter(job__in=jobs.filter(state=JobState.CANCELLED), ended__isnull=True)
    cancelled.update(ended=Now(), outcome="cancelled", message=by)
    reach("cancel.written")
    return count
