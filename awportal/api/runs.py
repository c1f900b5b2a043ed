"""Plan, submit, watch, cancel and retry runs; read their jobs' logs."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Annotated, Literal

from django.db import connection
from django.db.models import Count, Max, Sum
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Path, Query, Router, Status
from pydantic import BaseModel, ConfigDict

from archive.models import Product
from awportal.api.authentication import context_of_request
from awportal.api.errors import Refusal
from awportal.products_archive import archive_response
from processing_units.contract import JobState, Plan, RunStatus, Submission
from processing_units.frontend.cancel import cancel_own, cancel_run
from processing_units.frontend.changes import OPEN_STATES
from processing_units.frontend.logs import log_of
from processing_units.frontend.models import Job, Run
from processing_units.frontend.move import move_run
from processing_units.frontend.permissions import find_run, visible_runs
from processing_units.frontend.retry import retry_failed
from processing_units.frontend.status import derived_state, job_counts_of, run_status
from processing_units.frontend.submit import plan, submit
from processing_units.frontend.waiting import unit_load

router = Router(tags=["runs"])

_LARGEST_ID = 2**63 - 1
_LARGEST_PAGE = 500
_MOST_INPUTS = 100_000
_LONGEST_WAIT = 10.0
_LOOK_EVERY = 0.5
# A waiting request holds a thread of the portal: so few may, that pages never wait for them; the others answer at once.
_WAITING = threading.BoundedSemaphore(4)
_LOG_PIECE_CHARACTERS = 1 << 20

Number = Annotated[int, Path(ge=1, le=_LARGEST_ID)]


class RunSummary(BaseModel):
    """A run without its jobs."""

    id: int
    recipe: str
    version: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    unit: str
    user: str
    submitted: str
    ended: str | None
    counts: dict[JobState, int]
    comment: str


class RunList(BaseModel):
    """Runs, newest first; ``next`` is the offset of the next page."""

    items: list[RunSummary]
    count: int
    next: int | None


class LogPiece(BaseModel):
    """A piece of a log: begin the next question at ``next_offset``; ``ended`` says that no more will come."""

    attempt: int
    node: str
    offset: int
    next_offset: int
    text: str
    ended: bool


class MoveRequest(BaseModel):
    """The unit to move to."""

    model_config = ConfigDict(extra="forbid")

    unit: str


class CancelledRuns(BaseModel):
    """How much was cancelled."""

    runs: int
    jobs: int


@router.post("/plan", response=Plan)
def plan_run(
    request: HttpRequest, submission: Submission, jobs: Annotated[int | None, Query(ge=0, le=100_000)] = None
) -> Plan:
    """Return what a submission would do (a dry run); nothing is made.

    With ``jobs`` so many are told one by one, those that are not possible first; the counts are of all.
    """
    _check_numbers(submission)
    return plan(submission, context_of_request(request), jobs)


@router.post("/runs", response={201: RunStatus, 200: RunStatus})
def submit_run(request: HttpRequest, submission: Submission) -> Status[RunStatus]:
    """Submit a recipe; the same idempotency key gives the same run (200 when it was there)."""
    _check_numbers(submission)
    context = context_of_request(request)
    key = submission.idempotency_key
    there = bool(key) and Run.objects.filter(user=context.user, idempotency_key=key).exists()
    run = submit(submission, context)
    return Status(200 if there else 201, run_status(run))


@router.get("/runs", response=RunList)
def list_runs(
    request: HttpRequest,
    offset: Annotated[int, Query(ge=0, le=_LARGEST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=_LARGEST_PAGE)] = 50,
    open: bool = False,
    mine: bool = True,
) -> RunList:
    """List runs: one's own, or (``mine`` false) all that one may see; ``open`` only those that have not ended."""
    context = context_of_request(request)
    found = visible_runs(context).select_related("unit", "user").order_by("-pk")
    if mine:
        found = found.filter(user=context.user)
    if open:
        found = found.filter(pk__in=Job.objects.filter(state__in=OPEN_STATES).values("run"))
    count = found.count()
    listed = list(found[offset : offset + limit])
    counts = job_counts_of(listed)
    items = [_summary(run, counts[run.pk]) for run in listed]
    return RunList(items=items, count=count, next=offset + limit if offset + limit < count else None)


@router.get("/runs/{int:number}", response={200: RunStatus, 304: None})
def one_run(
    request: HttpRequest,
    response: HttpResponse,
    number: Number,
    wait: Annotated[float, Query(ge=0, le=60)] = 0.0,
    jobs: bool = True,
    state: JobState | None = None,
    offset: Annotated[int, Query(ge=0, le=_LARGEST_ID)] = 0,
    limit: Annotated[int | None, Query(ge=1, le=100_000)] = None,
) -> RunStatus | Status[None]:
    """Return how a run stands. With the last answer's ETag in If-None-Match: 304 while nothing has changed.

    ``wait`` lets the portal wait some seconds for a change before it answers 304.
    """
    run = find_run(number, context_of_request(request))
    seen = request.headers.get("If-None-Match", "")
    mark = _mark(run)
    if seen and seen == mark and wait > 0:
        mark = _wait_for_change(run, mark, min(wait, _LONGEST_WAIT))
    response["ETag"] = mark
    if seen == mark:
        return Status(304, None)
    run.refresh_from_db()
    return run_status(run, state=state, offset=offset, limit=limit, with_jobs=jobs)


@router.get("/runs/{int:number}/archive")
def run_archive(request: HttpRequest, number: Number) -> StreamingHttpResponse:
    """Stream all products of a run that one may see as one zip archive."""
    context = context_of_request(request)
    return archive_response(request, find_run(number, context), context)


@router.get("/runs/{int:number}/jobs/{int:job}/log", response=LogPiece)
def job_log(
    request: HttpRequest,
    number: Number,
    job: Number,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> LogPiece:
    """Return a job's log from a byte on, of its last attempt or of the one named."""
    run = find_run(number, context_of_request(request))
    found = run.jobs.filter(ordinal=min(job, 2**31 - 1)).first()
    if found is None:
        raise Refusal(404, f"run {number} has no job {job}", hint=f"it has {run.jobs.count()}")
    piece = log_of(found, attempt=attempt, since=offset)
    text, following = piece.text, piece.following
    if len(text) > _LOG_PIECE_CHARACTERS:
        text = text[:_LOG_PIECE_CHARACTERS]
        following = offset + len(text.encode())
    ended = piece.complete and following == piece.following
    return LogPiece(
        attempt=piece.attempt, node=piece.node, offset=offset, next_offset=following, text=text, ended=ended
    )


@router.post("/runs/{int:number}/cancel", response=RunStatus)
def cancel(request: HttpRequest, number: Number) -> RunStatus:
    """Cancel what has not ended yet; a second time changes nothing."""
    context = context_of_request(request)
    run = find_run(number, context)
    cancel_run(run, context)
    return run_status(run)


@router.post("/runs/{int:number}/retry", response={201: RunStatus})
def retry(request: HttpRequest, number: Number) -> Status[RunStatus]:
    """Submit the failed jobs again, as a run of their own; asked twice, it is the same new run."""
    context = context_of_request(request)
    return Status(201, run_status(retry_failed(find_run(number, context), context)))


@router.post("/runs/{int:number}/move", response=RunStatus)
def move(request: HttpRequest, number: Number, wanted: MoveRequest) -> RunStatus:
    """Let what waits of a run wait for another unit; what runs ends where it is."""
    context = context_of_request(request)
    run = find_run(number, context)
    move_run(run, wanted.unit, context)
    return run_status(run)


@router.post("/runs/cancel", response=CancelledRuns)
def cancel_all(request: HttpRequest) -> CancelledRuns:
    """Cancel all that your own runs have open."""
    done = cancel_own(context_of_request(request))
    return CancelledRuns(runs=done.runs, jobs=done.jobs)


def _check_numbers(submission: Submission) -> None:
    """Refuse numbers that no database holds, and more of them than any run has."""
    numbers = [number for role in submission.inputs.values() for number in role]
    if len(numbers) > _MOST_INPUTS:
        raise Refusal(400, f"{len(numbers)} inputs are more than {_MOST_INPUTS}", field="inputs")
    wrong = next((number for number in numbers if not 1 <= number <= _LARGEST_ID), None)
    if wrong is not None:
        raise Refusal(404, f"there is no product {wrong}", field="inputs")


def _mark(run: Run) -> str:
    """Return what changes whenever a user would see something change: a few cheap queries, however many jobs."""
    rows = run.jobs.order_by("state").values_list("state").annotate(
        Count("pk"), Sum("progress"), Sum("attempt"), Max("ended"), Max("stage"), Max("lost_nodes")
    )  # fmt: skip
    parts: list[object] = [*rows, Product.objects.filter(made_by_run=run.pk).count()]
    if run.chain_id is not None:  # the steps of its chain are part of what is told
        steps = Run.objects.filter(chain=run.chain_id).order_by("pk").values_list("pk", "jobs__state", "chain__ended")
        parts += [("chain", *row) for row in steps.distinct()]
    if any(row[0] == JobState.QUEUED for row in parts[:-1] if isinstance(row, tuple)):
        load = unit_load(run.unit)  # the place in line and what the unit does are part of the reason
        parts += [load.nodes, load.slots, load.running, load.queued, load.frontend_is_alive]
    text = repr(parts)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _wait_for_change(run: Run, mark: str, seconds: float) -> str:
    if not _WAITING.acquire(blocking=False):
        return mark
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not connection.in_atomic_block:
                connection.close()  # while it sleeps, the connection serves others
            time.sleep(_LOOK_EVERY)
            now = _mark(run)
            if now != mark:
                return now
    finally:
        _WAITING.release()
    return mark


def _summary(run: Run, counts: dict[JobState, int]) -> RunSummary:
    return RunSummary(
        id=run.pk,
        recipe=run.recipe,
        version=run.recipe_version,
        state=derived_state(counts),
        unit=run.unit.name,
        user=run.user.get_username(),
        submitted=run.submitted.isoformat(timespec="seconds").replace("+00:00", "Z"),
        ended=run.ended.isoformat(timespec="seconds").replace("+00:00", "Z") if run.ended else None,
        counts=counts,
        comment=run.remark or "",
    )
