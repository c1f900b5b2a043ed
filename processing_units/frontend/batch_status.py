"""How a batch stands as a whole, and its failed jobs once more."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from django.db.models import Count

from archive.context import Context
from processing_units.contract import BatchPlan, BatchRunStatus, BatchStatus, JobState
from processing_units.frontend.models import Batch, Chain, Job, Run
from processing_units.frontend.refusals import TooLate
from processing_units.frontend.retry import retry_failed
from processing_units.frontend.status import RunState, derived_state, job_counts_of

BatchState = RunState | Literal["planned"]


def retry_batch(batch: Batch, context: Context) -> list[Run]:
    """Submit all failed jobs of a batch again, those of each run as a run of their own.

    Raises
    ------
    NotAllowed
        It is another user's.
    TooLate
        None failed.
    """
    failed = Job.objects.filter(run__batch=batch, state=JobState.FAILED, retried_as__isnull=True)
    runs = Run.objects.filter(pk__in=failed.values("run")).select_related("unit", "user", "project", "batch")
    made = [retry_failed(run, context) for run in runs.order_by("pk")]
    if not made:
        raise TooLate(f"batch {batch.pk} has no failed job to retry")
    # Where it fills the gaps of a night, what rests on these follows again; not where it was cancelled.
    Batch.objects.filter(pk=batch.pk, goal_reason="").update(goal_ended=None)
    Batch.objects.filter(pk=batch.pk).update(told=None)
    return made


def batch_status(batch: Batch, *, with_runs: bool = True) -> BatchStatus:
    """Return how a batch stands; the caller has checked that the user may see it (``permissions.find_batch``)."""
    counts = counts_of([batch])[batch.pk]
    to_come = open_chains(batch)
    runs = list(batch.runs.order_by("pk")) if with_runs else []
    of_runs = job_counts_of(runs)
    return BatchStatus(
        id=batch.pk,
        name=batch.name,
        language=batch.language,
        user=batch.user.get_username(),
        state=state_of(batch, counts, to_come),
        created=_iso(batch.created) or "",
        made=_iso(batch.made),
        counts=counts,
        to_come=to_come,
        goes_on=goes_on(batch),
        plan=BatchPlan.model_validate(batch.plan),
        runs=[
            BatchRunStatus(
                id=run.pk,
                recipe=run.recipe,
                state=derived_state(of_runs[run.pk]),
                counts=of_runs[run.pk],
                comment=run.remark,
            )
            for run in runs
        ],
    )


def counts_of(batches: list[Batch]) -> dict[int, dict[JobState, int]]:
    """Return how many jobs of each batch are in each state; a failed one that was retried is passed over."""
    counts: dict[int, dict[JobState, int]] = {batch.pk: dict.fromkeys(JobState, 0) for batch in batches}
    jobs = Job.objects.filter(run__batch__in=list(counts), retried_as__isnull=True).order_by()
    for number, state, found in jobs.values_list("run__batch", "state").annotate(Count("pk")):
        counts[number][JobState(state)] = found
    return counts


def open_chains(batch: Batch) -> int:
    """Return how many chains of a batch go on when their newest run has ended."""
    return Chain.objects.filter(ended__isnull=True, runs__batch=batch).distinct().count()


def goes_on(batch: Batch) -> bool:
    """Whether a batch fills the gaps of a night, and more may come when what is open has ended."""
    return bool(batch.goal) and batch.goal_ended is None


def state_of(batch: Batch, counts: dict[JobState, int], to_come: int = 0) -> BatchState:
    """Return a batch's state: planned until it is made, then from its jobs'; open while a chain goes on."""
    if batch.made is None:
        return "planned"
    state = derived_state(counts)
    return "running" if (to_come or goes_on(batch)) and state not in {"queued", "running"} else state


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")
