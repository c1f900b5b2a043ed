"""Batches: what a script asks for is planned, shown, and made in one piece or not at all."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from archive.context import Context, context_of
from archive.models import Product, Validity
from archive.queries import NAMES
from archive.saved_selections import save
from dataserver.store import Store
from processing_units.batch_scripts.wishes import FILTERS
from processing_units.contract import BatchMakeRequest, BatchRequest, FaultKind, JobState
from processing_units.frontend.batch_status import batch_status, retry_batch
from processing_units.frontend.batches import draft, draft_again, make, plan_batch
from processing_units.frontend.cancel import cancel_batch
from processing_units.frontend.commit import commit
from processing_units.frontend.models import Batch, Chain, Job, ProcessingUnit, Run
from processing_units.frontend.permissions import find_batch
from processing_units.frontend.refusals import NotAllowed, NotFound, ScriptWrong, TooLate
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import biases, claimed, in_process, make_product, make_user, together

LOOP = "for frame in frames(kind = 'ReducedScienceFrame'):\n    run('SourceList', frame, detect_thresh = 2.5)\n"
TWO_CHIPS = """
for chip in ["1", "2"]:
    run("ReadNoise", frames(kind = "RawBias", chip = chip), comment = "chip " + chip)
"""

pytestmark = pytest.mark.django_db


def reduced(user: User, number: int = 3) -> list[int]:
    return [make_product(user, "ReducedScienceFrame").pk for _ in range(number)]


def two_chips(user: User) -> None:
    for chip in "12":
        biases(user, 3, attributes={"chip": chip})


def drafted(text: str, context: Context, key: str = "") -> Batch:
    return draft(BatchRequest(text=text, idempotency_key=key), context)


def made(text: str, context: Context) -> Batch:
    batch = drafted(text, context)
    return make(batch, BatchMakeRequest(digest=batch.plan["digest"]), context)


def test_frames_in_a_loop_are_one_run_of_many_jobs(user: User, context: Context, unit: ProcessingUnit) -> None:
    numbers = reduced(user)
    batch = drafted(LOOP, context)
    assert (Run.objects.count(), batch.made) == (0, None)
    assert [(run["recipe"], run["jobs"], run["line"]) for run in batch.plan["runs"]] == [("SourceList", 3, 2)]
    make(batch, BatchMakeRequest(digest=batch.plan["digest"]), context)
    run = Run.objects.get()
    assert (run.batch, run.parameters["detect_thresh"]) == (batch, 2.5)
    used = {entry.product_id for job in run.jobs.all() for entry in job.inputs.filter(role="frame")}
    assert used == set(numbers)
    status = batch_status(batch)
    assert (status.state, status.counts[JobState.QUEUED]) == ("queued", 3)


def test_a_script_sees_what_its_user_sees_and_nothing_bad(context: Context, user: User, unit: ProcessingUnit) -> None:
    good, bad = reduced(user, 2)
    Product.objects.filter(pk=bad).update(is_valid=Validity.BAD)
    make_product(make_user("ben"), "ReducedScienceFrame")
    plan = plan_batch(BatchRequest(text=LOOP), context)
    assert (plan.jobs, Batch.objects.count()) == (1, 0)
    with pytest.raises(NotFound, match=r"^line 1: SourceList: there is no product"):
        plan_batch(BatchRequest(text=f"run('SourceList', {good + 1000})"), context)


def test_a_saved_selection_is_what_a_script_begins_with(user: User, context: Context, unit: ProcessingUnit) -> None:
    reduced(user, 2)
    save(context, "mine", {"kind": "ReducedScienceFrame"})
    assert plan_batch(BatchRequest(text="run('SourceList', frames(selection = 'mine'))"), context).jobs == 2
    assert {*FILTERS} == NAMES - {"sha256", "job", "order"} | {"selection"}


def test_made_twice_it_is_made_once(user: User, context: Context, unit: ProcessingUnit) -> None:
    two_chips(user)
    batch = drafted(TWO_CHIPS, context, key="k1")
    assert drafted(TWO_CHIPS, context, key="k1") == batch
    with pytest.raises(UsageError, match="used before"):
        drafted(LOOP, context, key="k1")
    asked = BatchMakeRequest(digest=batch.plan["digest"])
    assert make(batch, asked, context).made == make(Batch.objects.get(), asked, context).made
    assert [run.remark for run in Run.objects.order_by("pk")] == ["chip 1", "chip 2"]


@pytest.mark.django_db(transaction=True)
def test_made_at_the_same_moment_it_is_made_once(user: User, context: Context, unit: ProcessingUnit) -> None:
    two_chips(user)
    batch = drafted(TWO_CHIPS, context)
    asked = BatchMakeRequest(digest=batch.plan["digest"])
    outcomes = together(3, lambda _: make(Batch.objects.get(), asked, context_of(user)).pk)
    assert outcomes == [batch.pk] * 3
    assert (Run.objects.count(), Job.objects.count()) == (2, 2)


MAKE = """
from django.contrib.auth.models import User
from archive.context import context_of
from processing_units.contract import BatchMakeRequest
from processing_units.frontend.batches import make
from processing_units.frontend.models import Batch
batch = Batch.objects.get()
make(batch, BatchMakeRequest(digest=batch.plan["digest"]), context_of(User.objects.get()))
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("point", "runs"), [("batch.planned", 0), ("batch.written", 0), ("batch.committed", 2)])
def test_killed_while_it_is_made_it_is_made_whole_or_not_at_all(
    user: User, context: Context, unit: ProcessingUnit, point: str, runs: int
) -> None:
    two_chips(user)
    drafted(TWO_CHIPS, context)
    assert in_process(MAKE, AWPORTAL_FAULT=f"{point}:kill").returncode == -9
    assert (Run.objects.count(), Job.objects.count(), Batch.objects.get().made is not None) == (runs, runs, runs > 0)
    again = in_process(MAKE)
    assert again.returncode == 0, again.stderr
    assert (Run.objects.count(), Job.objects.count()) == (2, 2)


def test_what_was_not_seen_is_not_made(user: User, context: Context, unit: ProcessingUnit) -> None:
    """A calibration that came meanwhile makes it another plan: the new one is shown before anything is made."""
    two_chips(user)
    batch = drafted(TWO_CHIPS, context)
    make_product(user, "ReadNoise", attributes={"chip": "1"})
    digest = batch.plan["digest"]
    with pytest.raises(TooLate, match="has changed"):
        make(batch, BatchMakeRequest(digest=digest), context)
    assert Run.objects.count() == 0
    batch.refresh_from_db()
    assert batch.plan["digest"] != digest
    make(batch, BatchMakeRequest(digest=batch.plan["digest"]), context)
    assert Run.objects.count() == 2


def test_read_again_it_gives_the_same_plan(user: User, context: Context, unit: ProcessingUnit) -> None:
    """What has come into the archive since is not in it: the answers of then are kept with the batch."""
    reduced(user)
    batch = made(LOOP, context)
    reduced(user, 2)
    again = draft_again(batch, context)
    assert again.plan["digest"] == batch.plan["digest"]
    assert (again.wishes, again.answers, again.digest) == (batch.wishes, batch.answers, batch.digest)
    assert drafted(LOOP, context).plan["jobs"] == 5


def test_jobs_that_cannot_run_are_left_out_when_that_is_wanted(
    user: User, context: Context, unit: ProcessingUnit
) -> None:
    biases(user, 3, attributes={"chip": "1"})
    biases(user, 1, attributes={"chip": "2"})
    batch = drafted("run('ReadNoise', frames(kind = 'RawBias'))", context)
    assert batch.plan["problems"] == 1
    assert "needs at least 2" in batch.plan["runs"][0]["first_problems"][0]
    digest = batch.plan["digest"]
    with pytest.raises(UsageError, match="needs at least 2"):
        make(batch, BatchMakeRequest(digest=digest), context)
    make(batch, BatchMakeRequest(digest=digest, leave_out=True), context)
    assert "1 job not possible" in Run.objects.get().remark


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nrun('Readnoise', 1)", "line 2: Readnoise: there is no recipe"),
        ("x = 1\nrun('ReadNoise', frames(kind = 'RawBais'))", "line 2: kind: there is no kind 'RawBais'"),
        ("run('ReadNoise', frames(kind = 'RawBias'), sigma = 3)", "line 1: ReadNoise: "),
        ("x = 1", "asks for no run"),
        ("x = 1\nfor i in range(1000000000):\n    run('ReadNoise', [1, 2])", "line 3: more than 10000 runs"),
    ],
)
def test_errors_carry_the_line(text: str, words: str, user: User, context: Context, unit: ProcessingUnit) -> None:
    biases(user)
    with pytest.raises(ScriptWrong) as caught:
        drafted(text, context)
    assert words in str(caught.value)
    assert Batch.objects.count() == 0


def test_all_jobs_are_counted_before_any_is_made(
    user: User, context: Context, unit: ProcessingUnit, settings: object
) -> None:
    two_chips(user)
    settings.QUOTA_QUEUED_JOBS = 1  # type: ignore[attr-defined]
    with pytest.raises(NotAllowed, match="these are 2 jobs"):
        drafted(TWO_CHIPS, context)


def test_another_users_batch_is_not_there_and_not_made(user: User, context: Context, unit: ProcessingUnit) -> None:
    reduced(user)
    batch = drafted(LOOP, context)
    others = context_of(make_user("ben"))
    with pytest.raises(NotFound):
        find_batch(batch.pk, others)
    for forbidden in (
        lambda: make(batch, BatchMakeRequest(digest=batch.plan["digest"]), others),
        lambda: cancel_batch(batch, others),
    ):
        with pytest.raises(NotAllowed):
            forbidden()


def test_cancel_retry_and_the_whole(user: User, context: Context, unit: ProcessingUnit, store: Store) -> None:
    two_chips(user)
    batch = made(TWO_CHIPS, context)
    claimed(unit).fail(FaultKind.USAGE, "no")
    assert batch_status(batch).counts[JobState.FAILED] == 1
    (again,) = retry_batch(batch, context)
    assert again.batch == batch
    status = batch_status(batch)
    assert status.counts == {**dict.fromkeys(JobState, 0), JobState.QUEUED: 2}
    assert [run.state for run in status.runs] == ["failed", "queued", "queued"]
    with pytest.raises(TooLate):
        retry_batch(batch, context)
    assert str(cancel_batch(batch, context)) == "2 jobs of 2 runs"
    assert batch_status(batch).state == "cancelled"


def test_chains_go_on_within_the_batch(user: User, context: Context, unit: ProcessingUnit, store: Store) -> None:
    numbers = [make_product(user, "RawScience", store).pk for _ in range(2)]
    batch = made(f"run('Reduce>SourceList', {numbers[:1]})\nrun('Reduce>SourceList', {numbers[1:]})", context)
    assert (Chain.objects.count(), batch_status(batch).to_come) == (2, 2)
    taken = claimed(unit)
    commit(taken.attempt, taken.commit_message(taken.stage(store, kind="ReducedScienceFrame", name="r")))
    assert [run.recipe for run in Run.objects.filter(batch=batch).order_by("pk")] == ["Reduce", "Reduce", "SourceList"]
    cancel_batch(batch, context)
    assert not Chain.objects.filter(ended__isnull=True).exists()
    assert batch_status(batch).state == "cancelled"
