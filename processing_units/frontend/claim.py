"""Claim: a free slot asks for a job and gets the next one by fair share, by one conditional update, or nothing."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Now

from archive.quality_limits import ForJob, limits_for
from dataserver.signing import sign
from processing_units.contract import CANARY, Claim, CodeFile, InputFile, JobSpec, JobState, Limits
from processing_units.frontend.attempts import begin_attempt, staging_key
from processing_units.frontend.changes import change, wanted_run
from processing_units.frontend.clock import lease_seconds, seconds_from_now
from processing_units.frontend.cluster_managers import seen
from processing_units.frontend.fitting import TimeLeft
from processing_units.frontend.locking import lock_unit
from processing_units.frontend.models import (
    Attempt,
    CachingDataServer,
    ClusterManagerRecord,
    CodeBundle,
    Job,
    JobInput,
    ProcessingUnit,
    Run,
)
from processing_units.frontend.permissions import runs_allowed_on
from processing_units.frontend.quotas import users_at_their_limit
from processing_units.named_points import reach
from recipes.catalogue import all_recipes

# How many of a run's next jobs are compared by what the node holds.
_WINDOW = 16
_RUNS_AT_ONCE = 8
_ROUNDS = 3
# URLs outlive the job's wall time by a day: a node may have to wait for a portal that is away before it hands in.
_URL_MARGIN_SECONDS = 24 * 3600


def claim(unit: ProcessingUnit, message: Claim) -> JobSpec | None:
    """Return the next job for a slot, taken, or None where there is none.

    The next job is one of the user with the fewest running on this unit, of that user's oldest run; within it one whose
    inputs the node already holds, else the first. What the unit's process manager has set holds from here on: a unit
    that drains gives nothing, and no more jobs run at a time than it has slots, whatever its cluster managers bring.
    """
    manager = seen(unit, message.cluster_manager, message.node)
    if manager.drain:
        return None
    for _ in range(_ROUNDS):
        found = False
        if not unit.accepting:
            return None
        for job_id, attempt in _candidates(unit, message.cached, TimeLeft.of(unit, message), shipped=manager.sandbox):
            found = True
            try:
                taken = _take(unit, job_id, attempt, manager)
            except _Changed as change_of_unit:
                unit = change_of_unit.unit
                break
            except _Full:
                return None
            if taken is not None:
                return job_spec(unit, *taken)
        if not found:
            return None
    return None  # others took all that we saw; whoever asks again gets the rest


class _Full(Exception):
    """All slots of the unit are taken."""


class _Changed(Exception):
    """The unit's rules are not those by which the job was chosen."""

    def __init__(self, unit: ProcessingUnit) -> None:
        super().__init__(unit.name)
        self.unit = unit


def _rules(unit: ProcessingUnit) -> tuple[object, ...]:
    """Return what decides whether a job may be taken, and what goes into its spec."""
    return (
        unit.accepting, unit.recipes_allowed, unit.user_types_allowed, unit.owner_id, unit.memory_mib,
        unit.wall_seconds, unit.data_server_id,
    )  # fmt: skip


def _has_room(unit: ProcessingUnit) -> bool:
    return not unit.slots or Job.objects.filter(unit=unit, state=JobState.RUNNING).count() < unit.slots


def job_spec(unit: ProcessingUnit, attempt: Attempt, token: str) -> JobSpec:
    """Return all that a node needs to run an attempt."""
    job = Job.objects.select_related("run").get(pk=attempt.job_id)
    expires = int(time.time()) + unit.wall_seconds + _URL_MARGIN_SECONDS
    # Products go to the archive's own data server, not through the unit's: a commit promises that they are safe there.
    staging = f"/staging/{staging_key(attempt)}"
    inputs = list(job.inputs.select_related("product"))
    held_to = _limits_of(job, inputs)
    return JobSpec(
        job=job.pk,
        label=job.label,
        attempt=attempt.ordinal,
        token=token,
        recipe=job.run.recipe,
        recipe_version=job.run.recipe_version,
        parameters=job.run.parameters,
        quality_limits=held_to.limits,
        limit_origins=held_to.origins,
        inputs=[_input_file(entry, unit.data_server, expires) for entry in inputs],
        code_digest=job.run.code_digest,
        code=_code_file(job.run, expires),
        limits=Limits(memory_mib=unit.memory_mib, wall_seconds=unit.wall_seconds),
        staging_url=f"{settings.DATA_URL}{staging}?{sign(settings.DATA_KEY, 'PUT', staging, expires)}",
    )


def _code_file(run: Run, expires: int) -> CodeFile | None:
    """Return where the shipped code of a run is: at the archive's own data server, which has it."""
    if not run.code_digest:
        return None
    size = CodeBundle.objects.get(owner=run.user_id, digest=run.code_digest).file_size
    path = f"/files/{run.code_digest}"
    url = f"{settings.DATA_URL}{path}?{sign(settings.DATA_KEY, 'GET', path, expires)}"
    return CodeFile(sha256=run.code_digest, size=size, url=url)


def _limits_of(job: Job, inputs: list[JobInput]) -> ForJob:
    """Return the limits that go before the published ones: those of the chip and filter of its primary inputs."""
    recipe = all_recipes().get(job.run.recipe)
    primary = {entry.role for entry in recipe.primary_inputs} if recipe else set()
    products = [entry.product for entry in inputs if entry.role in primary]
    if recipe is None or not products:
        return ForJob()
    instruments, chips, filters = (
        {getattr(product, column) for product in products} for column in ("instrument", "chip", "filter_name")
    )
    if len(instruments) != 1:
        return ForJob()
    one_chip, one_filter = (values.pop() if len(values) == 1 else "" for values in (chips, filters))
    return limits_for(recipe.outputs, instruments.pop(), one_chip, one_filter or "")


def _input_file(entry: JobInput, cache: CachingDataServer | None, expires: int) -> InputFile:
    product = entry.product
    path = f"/files/{product.sha256}"
    base, via = (cache.address, cache.peer) if cache else (settings.DATA_URL, "")
    return InputFile(
        role=entry.role,
        kind=product.kind,
        product=product.pk,
        name=product.name,
        sha256=product.sha256,
        size=product.file_size,
        url=f"{base}{path}?{sign(settings.DATA_KEY, 'GET', path, expires, via=via)}",
        attributes=product.attributes,
    )


def _candidates(
    unit: ProcessingUnit, cached: list[str], time_left: TimeLeft | None, *, shipped: bool
) -> Iterator[tuple[int, int]]:
    """Yield (job, attempt so far) of waiting jobs, the one to take first first; `shipped`: also users' own code."""
    for run_id, recipe in _runs_by_fair_share(unit, shipped=shipped):
        window = list(_ready(unit).filter(run=run_id).order_by("ordinal").values_list("pk", "attempt")[:_WINDOW])
        if time_left is not None and recipe != CANARY:
            window = time_left.fitting(recipe, window)
        if cached and len(window) > 1:
            held = _bytes_held([pk for pk, _ in window], cached)
            window.sort(key=lambda row: -held.get(row[0], 0))  # stable: the order of the run among equals
        yield from window


def _ready(unit: ProcessingUnit) -> QuerySet[Job]:
    """Return the waiting jobs that do not pause after a fault of a machine."""
    no_pause = Q(not_before__isnull=True) | Q(not_before__lte=Now())
    return Job.objects.filter(no_pause, unit=unit, state=JobState.QUEUED)


def _runs_by_fair_share(unit: ProcessingUnit, *, shipped: bool) -> Iterator[tuple[int, str]]:
    """Yield runs with ready jobs, and their recipes: of the user with the fewest running here first, the oldest first.

    Users are looked at group by group, so that thousands of runs that wait are not all read for each claim.
    """
    if not _ready(unit).exists():
        return
    users = set(Run.objects.filter(ended__isnull=True).order_by().values_list("user", flat=True).distinct())
    here, everywhere = _running()
    if unit.slots and sum(number for (_, where), number in here.items() if where == unit.pk) >= unit.slots:
        return  # full; looked at once more when a job is taken, where nobody else can
    at_limit = users_at_their_limit(everywhere)
    ready = _ready(unit).filter(run=OuterRef("pk"))
    runs = Run.objects.filter(runs_allowed_on(unit), Exists(ready), ended__isnull=True, cancel_requested__isnull=True)
    if not shipped:
        runs = runs.filter(code_digest="")
    by_share: dict[int, list[int]] = defaultdict(list)
    for user in users - at_limit.keys():
        by_share[here[user, unit.pk]].append(user)
    for _, group in sorted(by_share.items()):
        last, of_group = 0, runs if len(group) == len(users) else runs.filter(user__in=group)
        while some := list(of_group.filter(pk__gt=last).order_by("pk").values_list("pk", "recipe")[:_RUNS_AT_ONCE]):
            yield from some
            last = some[-1][0]


def _running() -> tuple[Counter[tuple[int, int]], Counter[int]]:
    """Return how many jobs run, by user and unit, and by user."""
    here: Counter[tuple[int, int]] = Counter()
    everywhere: Counter[int] = Counter()
    rows = Job.objects.filter(state=JobState.RUNNING).order_by().values_list("run__user", "unit").annotate(Count("pk"))
    for user, unit, number in rows:
        here[user, unit] = number
        everywhere[user] += number
    return here, everywhere


def _bytes_held(job_ids: list[int], cached: list[str]) -> dict[int, int]:
    """Return by job how many bytes of its inputs the node holds."""
    held = JobInput.objects.filter(job__in=job_ids, product__sha256__in=cached).order_by()
    return dict(held.values_list("job").annotate(Sum("product__file_size")))


def _take(unit: ProcessingUnit, job_id: int, attempt: int, manager: ClusterManagerRecord) -> tuple[Attempt, str] | None:
    """Take a job if it is still free; return the new attempt and its token.

    Claims of one unit follow each other here, because only then does a count of what runs hold until the job is taken.
    """
    with transaction.atomic():
        row = lock_unit(unit.pk)
        if _rules(row) != _rules(unit):
            raise _Changed(row)
        if not _has_room(row):
            raise _Full
        jobs = Job.objects.filter(pk=job_id, attempt=attempt, unit=unit.pk, run__in=wanted_run(job_id))
        changed = change(
            jobs,
            JobState.QUEUED,
            JobState.RUNNING,
            attempt=F("attempt") + 1,
            lease_until=seconds_from_now(lease_seconds()),
            cluster_manager=manager,
            started=Now(),
            progress=0.0,
            stage="",
            not_before=None,
        )
        if not changed:
            return None
        begun = begin_attempt(job_id, attempt + 1, manager)
        reach("claim.written")
    reach("claim.committed")
    return begun
