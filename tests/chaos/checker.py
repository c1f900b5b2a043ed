"""What must be true after all faults, whatever they were: proved from the database, its history, and the files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import history
from tests.chaos.load import Submitted
from tests.chaos.stand_in import content_of


@dataclass
class Verdict:
    """What was found: lost and doubled jobs by number, and all else that must not be, in words."""

    jobs: int = 0
    done: int = 0
    cancelled: int = 0
    failed: int = 0
    attempts: int = 0
    late: int = 0
    collected: int = 0
    lost: dict[int, str] = field(default_factory=dict)
    double: dict[int, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    changes: dict[int, list[history.Change]] = field(default_factory=dict)


def check(submitted: Sequence[Submitted], files: Path) -> Verdict:
    """Check all that users were told and all that the database and the store hold."""
    from processing_units.frontend.models import Attempt, Job, Run

    verdict = Verdict(changes=history.read())
    runs = defaultdict(list)
    for run in Run.objects.all():
        runs[run.idempotency_key].append(run.pk)
    for one in submitted:
        _check_submission(one, runs[one.key], verdict)
    known = {one.key for one in submitted}
    verdict.wrong += [f"nobody asked for run {numbers}" for key, numbers in runs.items() if key not in known]
    for job in Job.objects.select_related("run").prefetch_related("inputs__product", "attempts"):
        _check_job(job, verdict)
    verdict.jobs = Job.objects.count()
    verdict.attempts = Attempt.objects.count()
    verdict.late = Attempt.objects.filter(outcome="expired").count()
    open_runs = list(Run.objects.filter(ended__isnull=True).values_list("pk", flat=True))
    if open_runs:
        verdict.wrong.append(f"runs {open_runs} have no end")
    _check_files(files, verdict)
    return verdict


def _check_submission(one: Submitted, runs: list[int], verdict: Verdict) -> None:
    from processing_units.frontend.models import Job

    if len(runs) > 1 or one.runs - set(runs):
        verdict.wrong.append(f"{one.key}: the user was told of runs {sorted(one.runs)}, there are {runs}")
    for run in runs:
        jobs = list(Job.objects.filter(run=run).values_list("state", flat=True))
        if len(jobs) != one.jobs:
            verdict.wrong.append(f"{one.key}: {one.jobs} jobs were asked for, run {run} has {len(jobs)}")
        if "cancelled" in jobs and not one.cancelled:
            verdict.wrong.append(f"run {run} was cancelled, and nobody wanted that")


def _check_job(job: object, verdict: Verdict) -> None:
    from archive.models import Product
    from processing_units.contract import MAXIMUM_FAILURES, MAXIMUM_LOST_NODES
    from processing_units.frontend.models import Job

    assert isinstance(job, Job)
    changes = verdict.changes.get(job.pk, [])
    for wrong in history.faults_of(changes) if changes else ["the database wrote nothing of it"]:
        verdict.wrong.append(f"job {job.pk}: {wrong}")
    products = list(Product.objects.filter(made_by_job=job.pk))
    commits = sum(change.new == "done" for change in changes)
    outcomes = [attempt.outcome for attempt in job.attempts.all()]
    expected = 1 if job.state == "done" else 0
    if commits > 1 or len(products) > expected or outcomes.count("done") > expected:
        verdict.double[job.pk] = f"job {job.pk} is {job.state}: {commits} commits, {len(products)} products, {outcomes}"
    if job.state == "done":
        verdict.done += 1
        inputs = [(used.role, used.product.sha256) for used in job.inputs.all()]
        content = content_of(job.run.recipe, job.run.parameters, inputs)
        if [product.sha256 for product in products] != [hashlib.sha256(content).hexdigest()]:
            verdict.lost[job.pk] = f"job {job.pk} is done, and its product is not what it should be"
    elif job.state == "cancelled":
        verdict.cancelled += 1
    elif job.state == "failed" and (job.failures >= MAXIMUM_FAILURES or job.lost_nodes >= MAXIMUM_LOST_NODES):
        verdict.failed += 1  # as R6 wants it: that often was it hit
    else:
        verdict.lost[job.pk] = f"job {job.pk} is {job.state}: {job.reason}; {outcomes}"
    if job.state in ("done", "failed") and "" in outcomes:
        verdict.wrong.append(f"job {job.pk} is {job.state}, an attempt of it has no end: {outcomes}")


def _check_files(files: Path, verdict: Verdict) -> None:
    """Every product has its file and every file its bytes; after the collection nothing else is there."""
    from archive.models import Product
    from dataserver.store import Store

    store = Store(files)
    wanted = set(Product.objects.values_list("sha256", flat=True))
    verdict.wrong += [f"the file {sha256} of a product is not there" for sha256 in wanted if not store.has(sha256)]
    verdict.wrong += [f"the file {bad.sha256} holds {bad.found}" for bad in store.scrub().damaged]
    gone = store.collect(wanted, older_than=0.0)  # what the keeper does a day later
    verdict.collected = gone.objects + gone.staged
    left = {stored.sha256 for stored in store.listing()} - wanted
    verdict.wrong += [f"the file {sha256} belongs to nothing" for sha256 in left]
    for folder in ("incoming", "staging"):
        verdict.wrong += [f"{path} is left" for path in (files / folder).iterdir()]


def leftovers(home: Path) -> list[str]:
    """Return the temporary files that nodes and servers have left."""
    places = [home / "tmp", *home.glob("node*/scratch"), home / "nodes" / "scratch"]
    places += [*home.glob("node*/cache/incoming"), home / "nodes" / "cache" / "incoming"]
    left = [path for place in places if place.is_dir() for path in place.iterdir()]
    return [str(path.relative_to(home)) for path in left if not _holds_sockets_alone(path)]


def _holds_sockets_alone(folder: Path) -> bool:
    """Whether it is of a fork server that was killed with all else of its node: docs/limits.md tells of it."""
    return (
        folder.name.startswith("awworker-") and folder.is_dir() and all(file.is_socket() for file in folder.iterdir())
    )
