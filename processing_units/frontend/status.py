"""Runs and jobs as users see them: a state, and always a reason."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Literal

from django.db.models import Count, QuerySet

from archive.models import Product
from processing_units.contract import ChainStep, JobState, JobStatus, RunStatus
from processing_units.frontend.changes import OPEN_STATES
from processing_units.frontend.clock import database_now
from processing_units.frontend.line import Line
from processing_units.frontend.models import Attempt, Job, Run
from processing_units.wording import counted

RunState = Literal["queued", "running", "done", "failed", "cancelled"]

_CHUNK = 500


def run_status(
    run: Run, *, state: JobState | None = None, offset: int = 0, limit: int | None = None, with_jobs: bool = True
) -> RunStatus:
    """Return how a run stands.

    Parameters
    ----------
    run : Run
        The caller has checked that the user may see it (``permissions.find_run``).
    state : JobState, optional
        List only jobs in this state; the counts are of all.
    offset, limit : int, optional
        Which of the jobs to list; by default all.
    with_jobs : bool
        False leaves the list of jobs out.
    """
    counts = job_counts(run)
    line = Line(run) if counts[JobState.QUEUED] else None
    jobs: list[JobStatus] = []
    if with_jobs:
        chosen = run.jobs.order_by("ordinal").select_related("cluster_manager")
        if state is not None:
            chosen = chosen.filter(state=state)
        jobs = job_statuses(run, chosen[offset : None if limit is None else offset + limit], line)
    return RunStatus(
        id=run.pk,
        recipe=run.recipe,
        version=run.recipe_version,
        state=derived_state(counts),
        reason=_reason_of_run(run, counts, line),
        unit=run.unit.name,
        unit_reason=run.unit_reason,
        user=run.user.get_username(),
        submitted=_iso(run.submitted) or "",
        ended=_iso(run.ended),
        counts=counts,
        parameters=run.parameters,
        comment=run.remark,
        chain=steps_of(run),
        chain_reason=run.chain.reason if run.chain else "",
        jobs=jobs,
    )


def job_counts(run: Run) -> dict[JobState, int]:
    """Return how many jobs of the run are in each state."""
    found = dict(run.jobs.order_by().values_list("state").annotate(Count("pk")))
    return {state: found.get(state, 0) for state in JobState}


def job_counts_of(runs: list[Run]) -> dict[int, dict[JobState, int]]:
    """Return the counts of many runs by their number, in one query: for lists."""
    counts: dict[int, dict[JobState, int]] = {run.pk: dict.fromkeys(JobState, 0) for run in runs}
    rows = Job.objects.filter(run__in=[run.pk for run in runs]).order_by().values_list("run", "state")
    for run_id, state, number in rows.annotate(Count("pk")):
        counts[run_id][JobState(state)] = number
    return counts


def derived_state(counts: dict[JobState, int]) -> RunState:
    """Return a run's state from its jobs': open while any is; then failed before cancelled before done."""
    ended = sum(counts[state] for state in JobState if state not in OPEN_STATES)
    if counts[JobState.RUNNING] or (counts[JobState.QUEUED] and ended):
        return "running"
    if counts[JobState.QUEUED]:
        return "queued"
    if counts[JobState.FAILED]:
        return "failed"
    if counts[JobState.CANCELLED]:
        return "cancelled"
    return "done"


def steps_of(run: Run) -> list[ChainStep]:
    """Return how the steps of the run's chain stand; of a run that is none's, nothing."""
    chain = run.chain
    if chain is None:
        return []
    runs = {each.chain_step: each for each in chain.runs.all()}
    counts = job_counts_of(list(runs.values()))
    rest = "not run" if chain.ended else "waiting"
    return [
        ChainStep(recipe=name, run=runs[place].pk, state=derived_state(counts[runs[place].pk]))
        if place in runs
        else ChainStep(recipe=name, state=rest)
        for place, name in enumerate(chain.recipes)
    ]


def job_status(job: Job) -> JobStatus:
    """Return how one job stands."""
    line = Line(job.run) if job.state == JobState.QUEUED else None
    chosen = Job.objects.filter(pk=job.pk).select_related("cluster_manager")
    return job_statuses(job.run, chosen, line)[0]


def job_statuses(run: Run, jobs: QuerySet[Job], line: Line | None) -> list[JobStatus]:
    """Return how jobs of one run stand; the number of queries does not grow with the number of jobs."""
    listed = list(jobs)
    products = _products_of([job.pk for job in listed])
    faults = _faults_of([job for job in listed if job.state == JobState.FAILED])
    now = database_now()
    return [
        JobStatus(
            number=job.ordinal,
            label=job.label,
            state=JobState(job.state),
            reason=_reason_of_job(job, products[job.pk], line),
            fault=faults.get(job.pk, ""),
            attempt=job.attempt,
            node=job.cluster_manager.node if job.cluster_manager else "",
            progress=1.0 if job.state == JobState.DONE else job.progress,
            seconds=round(((job.ended or now) - job.started).total_seconds(), 3) if job.started else None,
            products=products[job.pk],
        )
        for job in listed
    ]


def _faults_of(failed: list[Job]) -> dict[int, str]:
    """Return of each failed job how its last attempt ended."""
    if not failed:
        return {}
    ended = Attempt.objects.filter(job__in=[job.pk for job in failed]).order_by("ordinal")
    return dict(ended.values_list("job", "outcome"))


def _products_of(job_ids: list[int]) -> dict[int, list[int]]:
    products: dict[int, list[int]] = defaultdict(list)
    for begin in range(0, len(job_ids), _CHUNK):
        made = Product.objects.filter(made_by_job__in=job_ids[begin : begin + _CHUNK])
        for product_id, job_id in made.order_by("pk").values_list("pk", "made_by_job"):
            products[job_id or 0].append(product_id)
    return products


def _reason_of_job(job: Job, made: list[int], line: Line | None) -> str:
    if job.state == JobState.QUEUED and line is not None:
        return line.why_it_waits(job)
    if job.state == JobState.RUNNING:
        return job.stage
    if job.state == JobState.DONE and job.left_out and not made:
        return str(job.left_out[0]["reason"])[:1000]
    return f"{job.reason} ({job.hint})" if job.hint else job.reason


def _reason_of_run(run: Run, counts: dict[JobState, int], line: Line | None) -> str:
    jobs = counted(sum(counts.values()), "job")
    first = run.jobs.filter(state=JobState.QUEUED).order_by("ordinal").first() if line is not None else None
    if line is not None and first is not None:
        if not counts[JobState.RUNNING]:
            return line.why_it_waits(first)
        slow = line.why_slow(first)
        rest = f"{counts[JobState.RUNNING]} of {jobs} run, {counts[JobState.QUEUED]} wait"
        return f"{rest}; {slow}" if slow else rest
    if counts[JobState.RUNNING]:
        return f"{counts[JobState.RUNNING]} of {jobs} run"
    if counts[JobState.FAILED]:
        first = run.jobs.filter(state=JobState.FAILED).order_by("ordinal").first()
        why = f": {first.reason}" if first else ""
        return f"{counts[JobState.FAILED]} of {jobs} failed{why}"
    if counts[JobState.CANCELLED]:
        first = run.jobs.filter(state=JobState.CANCELLED).order_by("ordinal").first()
        return f"{counts[JobState.CANCELLED]} of {jobs} {first.reason if first else 'cancelled'}"
    return ""


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")
