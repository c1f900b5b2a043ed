"""These must exist: the gaps of a night are filled round by round, each once, until nothing more can be made."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from archive.context import Context, context_of
from archive.models import Product
from dataserver.store import Store
from processing_units.contract import FaultKind
from processing_units.frontend.batch_status import batch_status
from processing_units.frontend.cancel import cancel_batch
from processing_units.frontend.commit import commit
from processing_units.frontend.models import Batch, Job, ProcessingUnit, Run
from processing_units.frontend.night_goals import Goal, continue_goals, pursue, survey
from processing_units.frontend.refusals import NotFound, TooLate
from processing_units.nights.gaps import Outlook
from recipes.catalogue import find_recipe
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import Claimed, claimed, make_product, make_user

GOAL = Goal("camera", "2024-05-11", ("BiasFrame",))

pytestmark = pytest.mark.django_db


@pytest.fixture
def raw(user: User, store: Store) -> list[Product]:
    """Three biases of a chip, and one of another that is too few."""
    return [make_product(user, "RawBias", store, attributes={"chip": chip}) for chip in ("1", "1", "1", "2")]


def finish(taken: Claimed, store: Store) -> None:
    """Commit a job with a product of each kind that its recipe makes."""
    attributes = {"instrument": "camera", "chip": "1", "night": "2024-05-11", "date_obs": "2024-05-12T03:01:00"}
    products = [
        taken.stage(store, f"{kind} {taken.spec.job}".encode(), kind=kind, name=kind, attributes=attributes)
        for kind in find_recipe(taken.spec.recipe).outputs
    ]
    commit(taken.attempt, taken.commit_message(*products))


def test_what_rests_on_a_gap_follows_when_it_is_filled(
    user: User, context: Context, unit: ProcessingUnit, store: Store, raw: list[Product]
) -> None:
    matrix, _ = survey(GOAL, context)
    assert (matrix.cells["ReadNoise"]["1"], matrix.cells["Bias"]["1"]) == ({Outlook.GAP: 1}, {Outlook.TO_COME: 1})
    assert matrix.cells["Bias"]["2"] == {Outlook.NOT_POSSIBLE: 1}
    batch = pursue(GOAL, context, "k")
    assert pursue(GOAL, context, "k") == batch
    assert [run.recipe for run in batch.runs.all()] == ["ReadNoise"]
    assert continue_goals() == 0
    finish(claimed(unit), store)
    status = batch_status(batch)
    assert (status.state, status.goes_on) == ("running", True)
    assert continue_goals() == 1
    assert [run.recipe for run in batch.runs.order_by("pk")] == ["ReadNoise", "Bias"]
    finish(claimed(unit), store)
    continue_goals()
    batch.refresh_from_db()
    assert (batch.goal_ended is not None, batch.goal_reason, continue_goals()) == (True, "", 0)
    assert batch_status(batch).state == "done"
    assert survey(GOAL, context)[0].is_complete
    with pytest.raises(TooLate, match="there is no gap"):
        pursue(GOAL, context)


def test_what_failed_is_not_tried_again_and_holds_up_only_what_needs_it(
    user: User, context: Context, unit: ProcessingUnit, store: Store, raw: list[Product]
) -> None:
    """A bias would like to have a read noise, and does without where there is none to be had."""
    batch = pursue(GOAL, context)
    claimed(unit).fail(FaultKind.USAGE, "no")
    continue_goals()
    assert [run.recipe for run in batch.runs.order_by("pk")] == ["ReadNoise", "Bias"]
    claimed(unit).fail(FaultKind.USAGE, "no")
    continue_goals()
    batch.refresh_from_db()
    assert (batch.runs.count(), batch.goal_ended is not None) == (2, True)
    assert batch_status(batch).state == "failed"


def test_cancelled_it_does_not_go_on(context: Context, unit: ProcessingUnit, store: Store, raw: list[Product]) -> None:
    batch = pursue(GOAL, context)
    cancel_batch(batch, context)
    assert (continue_goals(), batch_status(Batch.objects.get()).state) == (0, "cancelled")


def test_wrong_goals(context: Context, unit: ProcessingUnit, store: Store, raw: list[Product]) -> None:
    with pytest.raises(UsageError, match="no recipe makes a BaisFrame"):
        survey(Goal("camera", "2024-05-11", ("BaisFrame",)), context)
    for night, who in (("2024-05-12", context), ("2024-05-11", context_of(make_user("ben")))):
        with pytest.raises(NotFound, match="no raw frames"):
            survey(Goal("camera", night), who)
    assert (Run.objects.count(), Job.objects.count()) == (0, 0)
