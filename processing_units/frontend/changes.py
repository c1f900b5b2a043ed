"""The one way in which a job's state changes: a conditional update that the table of the contract allows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from processing_units.contract import ALLOWED_CHANGES, JobState
from processing_units.frontend.models import Job, Run
from processing_units.frontend.notices.writing import of_ended_run

OPEN_STATES = (JobState.QUEUED, JobState.RUNNING)


def change(jobs: QuerySet[Job], old: JobState, new: JobState, **fields: Any) -> int:
    """Bring those of `jobs` that are in state `old` into state `new`; return how many were.

    Parameters
    ----------
    jobs : QuerySet of Job
        Filtered by whatever else must hold (number, attempt) of the job's own columns. A join with another table would
        become a subselect, which PostgreSQL does not look at again after it has waited for somebody else's change of
        the row: two could then change it. Use ``run__in=`` a query instead, like `wanted_run`.
    old, new : JobState
        A change that ``ALLOWED_CHANGES`` does not list is a defect and raises ValueError.
    **fields
        Other columns to set in the same statement.
    """
    if (old, new) not in ALLOWED_CHANGES:
        raise ValueError(f"a job never goes from {old} to {new}")
    if sum(count > 0 for count in jobs.query.alias_refcount.values()) > 1:
        raise ValueError("a change of state that joins another table is not atomic")
    if new not in OPEN_STATES:
        fields = {"ended": Now(), "lease_until": None, **fields}
    return jobs.filter(state=old).update(state=new, **fields)


def wanted_run(job_id: int) -> QuerySet[Run]:
    """Return the run of a job if its cancel was not requested; as one run, for SQLite would list all that there are."""
    return Run.objects.filter(cancel_requested__isnull=True, jobs=job_id)


def close_ended_runs(run_ids: Iterable[int] | None = None) -> int:
    """Write the end of runs whose jobs have all ended; return how many there were.

    To be called after the transaction that ended a job: two last jobs that end at once do not see each other before.
    The keeper's sweep calls it for all, should a process die in between.
    """
    runs = Run.objects.filter(ended__isnull=True)
    if run_ids is not None:
        runs = runs.filter(pk__in=list(run_ids))
    is_open = Job.objects.filter(run=OuterRef("pk"), state__in=OPEN_STATES)
    return sum(_close(number) for number in runs.filter(~Exists(is_open)).values_list("pk", flat=True))


def _close(number: int) -> int:
    """Write the end of a run, with what its user is told of it; of two that try, one does."""
    with transaction.atomic():
        closed = Run.objects.filter(pk=number, ended__isnull=True).update(ended=Now())
        if closed:
            of_ended_run(number)
    return closed
