"""What the pages of runs and jobs show: the bar, the jobs, the products with their QC, the way it was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.urls import reverse

from archive.context import Context, visible
from archive.models import Product
from awportal.command_line import number_ranges, run_line
from awportal.environment import Setting, settings_of
from awportal.listing import with_pictures
from awportal.product_page import Publishing, publishing_of_run
from awportal.run_quality import Quality, quality_of
from processing_units.contract import JobState, RunStatus
from processing_units.frontend.logs import LogText, log_of, neutralised
from processing_units.frontend.models import Attempt, Job, Run
from processing_units.frontend.permissions import may_change_run
from processing_units.frontend.status import job_status, run_status

JOBS_SHOWN = 50
PRODUCTS_SHOWN = 24
LOG_LINES = 50
BAR_ORDER = (JobState.DONE, JobState.RUNNING, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED)
BAR_CLASS = {
    JobState.DONE: "fill-ok",
    JobState.RUNNING: "fill-run",
    JobState.FAILED: "fill-bad",
    JobState.CANCELLED: "fill-off",
    JobState.QUEUED: "fill-none",
}


@dataclass(frozen=True)
class BarPart:
    """A stretch of the bar, in per mille."""

    start: float
    length: float
    style: str


@dataclass
class ChosenCalibrations:
    """The products that serve a run in one role, and why they were chosen."""

    role: str
    reason: str
    products: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class RunView:
    """A run as its page shows it."""

    run: Run
    status: RunStatus
    bar: list[BarPart]
    may_change: bool
    products: list[Product] = field(default_factory=list)
    products_in_all: int = 0
    environment: list[Setting] = field(default_factory=list)
    publishing: Publishing | None = None  # of all its products, where there is something to publish or to say
    held_back: int = 0  # products that went to MyDB though the run asked for more
    quality: Quality | None = None
    chosen: list[ChosenCalibrations] = field(default_factory=list)
    failed: list[Job] = field(default_factory=list)
    log: LogText | None = None
    log_job: Job | None = None
    total: int = 0
    command: str = ""

    @property
    def jobs_in_all(self) -> int:
        """How many jobs the run has."""
        return sum(self.status.counts.values())

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended."""
        return self.status.state in {"queued", "running"}

    @property
    def is_live(self) -> bool:
        """Whether the page goes on asking: for the run, or for what follows it in its chain."""
        return self.is_open or any(step.state in {"waiting", "queued", "running"} for step in self.status.chain)


def bar_of(counts: dict[JobState, int]) -> list[BarPart]:
    """Return the stretches of a run's bar."""
    total = sum(counts.values()) or 1
    parts, start = [], 0.0
    for state in BAR_ORDER:
        length = 1000 * counts.get(state, 0) / total
        if length:
            parts.append(BarPart(round(start, 2), round(length, 2), BAR_CLASS[state]))
        start += length
    return parts


def view_run(run: Run, context: Context, *, state: JobState | None = None, page: int = 1) -> RunView:
    """Return what the run's page shows of the run now."""
    status = run_status(run, state=state, offset=(page - 1) * JOBS_SHOWN, limit=JOBS_SHOWN)
    view = RunView(run, status, bar_of(status.counts), may_change_run(run, context))
    view.total = status.counts[state] if state else sum(status.counts.values())
    made = visible(context).filter(made_by_run=run.pk).order_by("-pk")
    view.products = with_pictures(list(made.defer("parameters")[:PRODUCTS_SHOWN]))
    view.products_in_all = made.count()
    view.held_back = made.filter(privilege__lt=run.privilege).count()
    view.publishing = None if view.is_live else publishing_of_run(run, context)
    view.quality = quality_of(made)
    view.failed = list(run.jobs.filter(state=JobState.FAILED).order_by("ordinal")[:3])
    view.log_job = _job_to_follow(run)
    view.log = log_of(view.log_job) if view.log_job else None
    view.chosen = _calibrations(run)
    submission = run.submission
    view.environment = settings_of(submission.get("environment", {}), submission.get("overruled_by", []))
    view.command = run_line(
        submission.get("recipe", run.recipe),
        submission.get("inputs", {}),
        submission.get("parameters", {}),
        run.unit.name,
        run.code_digest,
    )
    return view


def shown_log(log: LogText | None) -> str:
    """Return the last lines of a log, harmless."""
    lines = neutralised(log.text).splitlines() if log else []
    return "\n".join(lines[-LOG_LINES:])


def _job_to_follow(run: Run) -> Job | None:
    """Return the job whose log tells most: one that runs, else one that failed, else the last that ended."""
    for wanted in (JobState.RUNNING, JobState.FAILED):
        job = run.jobs.filter(state=wanted).order_by("ordinal").first()
        if job:
            return job
    return run.jobs.filter(started__isnull=False).order_by("-ended", "-ordinal").first()


def _calibrations(run: Run) -> list[ChosenCalibrations]:
    """Return the calibrations of the run's first jobs, those of one role that were chosen for one reason together."""
    found: dict[tuple[str, str], ChosenCalibrations] = {}
    for choices in run.jobs.order_by("ordinal").values_list("choices_made", flat=True)[:JOBS_SHOWN]:
        for choice in choices or []:
            role, reason = str(choice.get("role", "")), str(choice.get("reason", ""))
            number, name = choice.get("product"), str(choice.get("name", ""))
            if number is None:  # why there is none differs from job to job in its times only
                reason = next((each.reason for (known, _), each in found.items() if known == role), reason)
            group = found.setdefault((role, reason), ChosenCalibrations(role, reason))
            if number is not None and (number, name) not in group.products:
                group.products.append((number, name))
    return sorted(found.values(), key=lambda group: group.role)[:30]


@dataclass
class JobView:
    """A job as its page shows it."""

    job: Job
    status: object
    attempts: list[Attempt]
    inputs: list[tuple[str, Product | None]]
    products: list[Product]
    log: LogText
    may_change: bool
    command: str
    again: str

    @property
    def is_open(self) -> bool:
        """Whether the page goes on asking."""
        return self.job.state in {JobState.QUEUED, JobState.RUNNING}


def view_job(job: Job, context: Context, attempt: int | None = None) -> JobView:
    """Return what the job's page shows of the job now."""
    rows = list(job.inputs.order_by("role", "ordinal").values_list("role", "product_id"))
    readable = visible(context).in_bulk([number for _, number in rows])
    primary: dict[str, list[int]] = {}
    for role, number in rows:
        primary.setdefault(role, []).append(number)
    given = job.run.submission.get("parameters", {})
    return JobView(
        job=job,
        status=job_status(job),
        attempts=list(job.attempts.select_related("cluster_manager").order_by("ordinal")),
        inputs=[(role, readable.get(number)) for role, number in rows],
        products=with_pictures(list(visible(context).filter(made_by_job=job.pk).order_by("pk"))),
        log=log_of(job, attempt=attempt),
        may_change=may_change_run(job.run, context),
        command=run_line(job.run.recipe, primary, given, job.run.unit.name, job.run.code_digest),
        again=_form_address(job.run.recipe, primary, given, job.run.code_digest),
    )


def _form_address(recipe: str, inputs: dict[str, list[int]], parameters: dict[str, object], code: str) -> str:
    """Return the address of the recipe's form, filled in with these."""
    pairs = [(f"in-{role}", number_ranges(numbers)) for role, numbers in inputs.items()]
    pairs += [(f"p-{name}", str(value)) for name, value in parameters.items()]
    pairs += [("code", code)] if code else []
    return f"{reverse('run-recipe', args=[recipe])}?{urlencode(pairs)}"
