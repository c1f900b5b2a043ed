"""Chains: each recipe runs on what the one before has made, once, whatever dies in between."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from archive.context import Context
from archive.models import Product
from dataserver.store import Store
from processing_units.contract import FaultKind, Submission
from processing_units.frontend import keeping
from processing_units.frontend.cancel import cancel_run
from processing_units.frontend.chains import continue_chains
from processing_units.frontend.commit import commit
from processing_units.frontend.models import Chain, ProcessingUnit, Run
from processing_units.frontend.status import run_status
from processing_units.frontend.submit import plan, submit
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import claimed, make_product, together

CHAIN = "Reduce>SourceList"


def chained(user: User, context: Context, store: Store, frames: int = 2, **more: object) -> Run:
    """Submit a chain on some raw frames."""
    ids = [make_product(user, "RawScience", store).pk for _ in range(frames)]
    return submit(Submission(recipe=CHAIN, inputs={"": ids}, **more), context)  # type: ignore[arg-type]


def reduce_one(unit: ProcessingUnit, store: Store) -> list[int]:
    """Claim a job of Reduce and commit a reduced frame."""
    taken = claimed(unit)
    product = taken.stage(
        store, f"reduced by {taken.spec.job}".encode(), kind="ReducedScienceFrame", name=f"r{taken.spec.job}"
    )
    return commit(taken.attempt, taken.commit_message(product))


def states(run: Run) -> list[tuple[str, str]]:
    run = Run.objects.get(pk=run.pk)
    return [(step.recipe, step.state) for step in run_status(run).chain]


@pytest.mark.django_db
def test_the_next_recipe_runs_on_what_was_made(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    run = chained(user, context, store)
    assert states(run) == [("Reduce", "queued"), ("SourceList", "waiting")]
    first = reduce_one(unit, store)
    assert Run.objects.count() == 1
    second = reduce_one(unit, store)
    following = Run.objects.get(recipe="SourceList")
    used = {entry.product_id for job in following.jobs.all() for entry in job.inputs.filter(role="frame")}
    assert used == {*first, *second}
    assert states(run) == [("Reduce", "done"), ("SourceList", "queued")]
    assert (following.user, following.privilege, following.unit) == (run.user, run.privilege, run.unit)
    for number in range(2):
        taken = claimed(unit)
        staged = taken.stage(store, f"list {number}".encode(), kind="SourceList", name=f"s{number}")
        commit(taken.attempt, taken.commit_message(staged))
    assert states(run) == [("Reduce", "done"), ("SourceList", "done")]
    chain = Chain.objects.get()
    assert chain.ended is not None
    assert chain.reason == ""


@pytest.mark.django_db
def test_parameters_go_to_the_recipe_that_knows_them(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    parameters = {"detect_thresh": 3, "back_size": 32, "SourceList.back_size": 128}
    run = chained(user, context, store, frames=1, parameters=parameters)
    assert run.parameters["back_size"] == 32
    reduce_one(unit, store)
    following = Run.objects.get(recipe="SourceList").parameters
    assert (following["detect_thresh"], following["back_size"]) == (3, 128)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "Reduce>Bias"}, "Bias takes nothing that Reduce makes"),
        ({"recipe": "Reduce>Nothing"}, "there is no recipe 'Nothing'"),
        ({"recipe": "Reduce>>SourceList"}, "there is no recipe ''"),
        ({"parameters": {"detect_tresh": 3}}, "none of Reduce, SourceList knows the parameter 'detect_tresh'"),
        ({"parameters": {"Reduce.detect_thresh": 3}}, "Reduce has no parameter 'detect_thresh'"),
        ({"inputs": {"flat": [1]}}, "none of Reduce, SourceList knows the input 'flat'"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_before_anything_runs(
    user: User, context: Context, unit: ProcessingUnit, store: Store, change: dict[str, object], message: str
) -> None:
    ids = [make_product(user, "RawScience", store).pk]
    wanted = Submission.model_validate({"recipe": CHAIN, "inputs": {"": ids}, **change})
    with pytest.raises(UsageError, match=message.replace("'", ".")):
        submit(wanted, context)
    assert not Run.objects.exists()
    assert not Chain.objects.exists()


@pytest.mark.django_db
def test_a_later_steps_wrong_parameter_is_refused_at_once(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    with pytest.raises(UsageError, match="detect_thresh"):
        chained(user, context, store, parameters={"detect_thresh": "many"})
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_it_goes_on_with_what_was_made_and_stops_where_nothing_was(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    run = chained(user, context, store)
    claimed(unit).fail(FaultKind.USAGE)
    made = reduce_one(unit, store)
    following = Run.objects.get(recipe="SourceList")
    assert [entry.product_id for job in following.jobs.all() for entry in job.inputs.filter(role="frame")] == made
    other = chained(user, context, store, frames=1, idempotency_key="other")
    Run.objects.filter(pk=following.pk).update(cancel_requested=following.submitted)
    claimed(unit).fail(FaultKind.USAGE)
    keeping.sweep()
    assert states(other) == [("Reduce", "failed"), ("SourceList", "not run")]
    status = run_status(Run.objects.get(pk=other.pk))
    assert status.chain_reason == f"Reduce (run {other.pk}) failed, so there is nothing for SourceList"
    assert states(run)[0] == ("Reduce", "failed")


@pytest.mark.django_db
def test_a_cancelled_step_is_the_last(user: User, context: Context, unit: ProcessingUnit, store: Store) -> None:
    run = chained(user, context, store)
    cancel_run(run, context)
    assert continue_chains() == 1
    assert states(run) == [("Reduce", "cancelled"), ("SourceList", "not run")]
    assert continue_chains() == 0


@pytest.mark.django_db
def test_the_same_key_gives_the_same_chain(user: User, context: Context, unit: ProcessingUnit, store: Store) -> None:
    ids = [make_product(user, "RawScience", store).pk]
    wanted = Submission(recipe=CHAIN, inputs={"": ids}, idempotency_key="k")
    assert submit(wanted, context) == submit(wanted, context)
    assert Chain.objects.count() == Run.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_that_go_on_at_once_make_one_run(user: User, context: Context, unit: ProcessingUnit, store: Store) -> None:
    chained(user, context, store, frames=1)
    taken = claimed(unit)
    commit(taken.attempt, taken.commit_message(taken.stage(store, kind="ReducedScienceFrame", name="r")))
    Run.objects.filter(recipe="SourceList").delete()  # as if whoever committed had died before it went on
    results = together(4, lambda _: continue_chains())
    assert [result for result in results if isinstance(result, Exception)] == []
    assert Run.objects.filter(recipe="SourceList").count() == 1


@pytest.mark.django_db
def test_what_takes_reduced_frames_reduces_raw_ones_first(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    ids = [make_product(user, "RawScience", store).pk]
    run = submit(Submission(recipe="SourceList", inputs={"": ids}), context)
    assert [step.recipe for step in run_status(run).chain] == ["Reduce", "SourceList"]
    assert run.recipe == "Reduce"


@pytest.mark.django_db
def test_the_plan_tells_what_follows(user: User, context: Context, unit: ProcessingUnit, store: Store) -> None:
    ids = [make_product(user, "RawScience", store).pk]
    planned = plan(Submission(recipe=CHAIN, inputs={"": ids}), context)
    assert (planned.recipe, planned.then, len(planned.jobs)) == ("Reduce", ["SourceList"], 1)
    assert not Product.objects.filter(made_by_run__isnull=False).exists()
