"""S8: what one user may have is counted before anything is made, and a full unit is shared between unequal users."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from archive.context import Context, context_of
from archive.models import Product
from dataserver.store import Store
from processing_units.contract import Claim, FaultKind, JobState
from processing_units.frontend import cluster_managers, keeping
from processing_units.frontend.claim import claim
from processing_units.frontend.models import Job, ProcessingUnit, Quota, Run
from processing_units.frontend.quotas import change_quota, require_bytes, require_room, set_quota, standing, told_bytes
from processing_units.frontend.refusals import NotAllowed, NotNow
from processing_units.frontend.retry import retry_failed
from processing_units.frontend.status import run_status
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import claimed, make_product, make_user, submitted, together

pytestmark = pytest.mark.django_db
ASK = Claim(cluster_manager="manager of node1", node="node1")


def waiting_jobs(unit: ProcessingUnit, user: User, runs: int, jobs: int) -> None:
    """Write so many runs of so many jobs that wait."""
    now = timezone.now()
    made = Run.objects.bulk_create(
        Run(user=user, unit=unit, recipe="ReadNoise", recipe_version="1", idempotency_key=str(number), submitted=now)
        for number in range(runs)
    )
    Job.objects.bulk_create(
        Job(run=run, unit=unit, ordinal=ordinal, label="x", created=now)
        for run in made
        for ordinal in range(1, jobs + 1)
    )


def test_too_many_waiting_jobs_are_refused_with_the_numbers(user: User, context: Context, unit: ProcessingUnit) -> None:
    set_quota(user, {"queued": "5"})
    submitted(context, jobs=3)
    with pytest.raises(NotNow, match="3 of your jobs wait already: with these 3 it would be more than the 5"):
        submitted(context, jobs=3)
    assert Job.objects.count() == 3
    claimed(unit)
    submitted(context, jobs=3)
    with pytest.raises(NotAllowed, match="these are 6 jobs, and at most 5 of yours may wait at a time"):
        submitted(context, jobs=6)
    submitted(context_of(make_user("ben")), jobs=6)


def test_a_billion_jobs_are_refused_by_counting(user: User) -> None:
    begin = time.process_time()
    with pytest.raises(NotAllowed, match="these are 1000000000 jobs, and at most 20000"):
        require_room(user.pk, 10**9)
    assert time.process_time() - begin < 1, "it takes a query or two, not a billion of anything"


@pytest.mark.django_db(transaction=True)
def test_two_submits_at_once_do_not_both_pass(user: User, context: Context, unit: ProcessingUnit) -> None:
    set_quota(user, {"queued": "4"})
    results = together(4, lambda place: submitted(context, jobs=2))
    assert sum(isinstance(result, Run) for result in results) == 2
    assert {type(result) for result in results} <= {Run, NotNow}
    assert Job.objects.count() == 4


def test_a_retry_is_counted_too(user: User, context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context, jobs=3)
    Job.objects.update(state=JobState.FAILED)
    set_quota(user, {"queued": "2"})
    with pytest.raises(NotAllowed, match="these are 3 jobs"):
        retry_failed(run, context)


def test_no_more_run_than_the_user_may(user: User, context: Context, unit: ProcessingUnit, store: Store) -> None:
    set_quota(user, {"running": "2"})
    run, other = submitted(context, jobs=4), submitted(context_of(make_user("ben")))
    first = claimed(unit)
    taken = [claimed(unit).job.run_id for _ in range(2)]
    assert sorted(taken) == [run.pk, other.pk]
    assert claim(unit, ASK) is None
    told = run_status(run, state=JobState.QUEUED).jobs[0].reason
    assert told == "waiting: as many jobs of this user run as may at a time: 2"
    first.commit(store)
    claimed(unit)
    assert claim(unit, ASK) is None


def test_files_beyond_the_limit_are_refused_and_jobs_wait(
    user: User, context: Context, unit: ProcessingUnit, store: Store, settings: Any
) -> None:
    settings.QUOTA_STORED_BYTES = 1_000_000
    run = submitted(context)
    require_bytes(user.pk)
    make_product(user, file_size=2_000_000)
    Quota.objects.update(counted_at=timezone.now() - timedelta(minutes=2))
    keeping.sweep()
    assert claim(unit, ASK) is None
    told = run_status(run).jobs[0].reason
    assert told == "waiting: this user's files hold 2 MB, and 1 MB may be kept"
    with pytest.raises(NotNow, match="your files hold 2 MB, and you may keep 1 MB"):
        submitted(context)
    with pytest.raises(NotNow):
        require_bytes(user.pk)
    set_quota(user, {"bytes": "1G"})
    assert standing(user).stored_bytes.limit == 10**9
    claimed(unit).fail(FaultKind.USAGE)


def test_the_defaults_are_the_settings(user: User, settings: Any) -> None:
    settings.QUOTA_RUNNING_JOBS = 7
    found = standing(user)
    assert (found.queued_jobs.limit, found.running_jobs.limit, found.stored_bytes.limit) == (20_000, 7, 0)
    assert not found.running_jobs.is_own
    set_quota(user, {"running_jobs": "0", "queued": "12"})
    found = standing(user)
    assert (found.queued_jobs.limit, found.running_jobs.limit, found.running_jobs.is_own) == (12, 0, True)
    set_quota(user, {"running": "default"})
    assert standing(user).running_jobs.limit == 7


@pytest.mark.parametrize(
    "wrong", [{"colour": "1"}, {"queued": "many"}, {"queued": "-1"}, {"bytes": "9" * 30}, {"jobs": "1"}]
)
def test_what_is_no_limit_is_refused(user: User, wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        set_quota(user, {"running": "5", **wrong})
    assert not Quota.objects.exists()


def test_administrators_alone_change_it(user: User, context: Context) -> None:
    manager = User.objects.create_user("mona", is_staff=True)
    for who in (context, context_of(manager)):
        with pytest.raises(NotAllowed, match="only an administrator"):
            change_quota(user, {"queued": "7"}, who)
    manager.is_superuser = True
    change_quota(user, {"queued": "7"}, Context(manager))
    assert standing(user).queued_jobs.limit == 7


def test_bytes_are_told_for_people() -> None:
    assert [told_bytes(size) for size in (0, 999, 1_500, 2 * 10**9, 1_234_567_890_123)] == [
        "0 bytes", "999 bytes", "1.5 kB", "2 GB", "1.235 TB",
    ]  # fmt: skip


def test_very_unequal_users_share_a_full_unit(unit: ProcessingUnit, store: Store) -> None:
    greedy, modest = make_user("greedy"), make_user("modest")
    ProcessingUnit.objects.update(slots=10)
    waiting_jobs(unit, greedy, runs=30, jobs=100)
    for _ in range(10):
        claimed(unit)
    waiting_jobs(unit, modest, runs=1, jobs=40)  # comes late, with 3,000 before
    whose: Counter[str] = Counter()
    for _ in range(40):
        oldest = Job.objects.filter(state=JobState.RUNNING).order_by("started", "pk")[0]
        Job.objects.filter(pk=oldest.pk).update(state=JobState.DONE, ended=timezone.now())
        claimed(unit)
        whose.update(Job.objects.filter(state=JobState.RUNNING).values_list("run__user__username", flat=True))
    running = Counter(Job.objects.filter(state=JobState.RUNNING).values_list("run__user__username", flat=True))
    assert running == {"greedy": 5, "modest": 5}, "half of the slots each, however long the queues"
    # From the fifth claim on each has half: 35 of 40 rounds at 5, and 1 + 2 + 3 + 4 + 5 in the first five at most.
    assert abs(whose["modest"] - 5 * 40) <= 15


def test_a_claim_asks_as_little_of_a_long_queue_as_of_a_short_one(
    unit: ProcessingUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_managers, "_JUST_NOW_SECONDS", 3600)  # nor does it matter when one was last heard of
    users = [make_user(f"user{number}") for number in range(20)]
    waiting_jobs(unit, users[0], runs=2, jobs=1)
    claimed(unit)
    with CaptureQueriesContext(connection) as short:
        claimed(unit)
    for user in users[1:]:
        waiting_jobs(unit, user, runs=50, jobs=2)
    with CaptureQueriesContext(connection) as long:
        claimed(unit)
    assert len(long) == len(short)
    assert Product.objects.count() == 0
