"""What is stale is made anew in order: each job once, with what is valid now, on what was made anew before it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from archive.context import Context
from archive.models import Product, Validity
from archive.staleness import judge
from dataserver.store import Store
from processing_units.contract import FaultKind, Submission
from processing_units.frontend.commit import commit
from processing_units.frontend.models import Chain, Job, ProcessingUnit, Run
from processing_units.frontend.refusals import PlanChanged
from processing_units.frontend.reprocess import plan_reprocessing, reprocess
from processing_units.frontend.run_rows import Prepared, submit_prepared
from processing_units.frontend.status import run_status
from processing_units.frontend.submit import submit
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import biases, claimed, make_product

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = {"Bias": "BiasFrame", "Reduce": "ReducedScienceFrame", "SourceList": "SourceList"}


def work(unit: ProcessingUnit, store: Store) -> Product:
    """Claim the next job and commit the product that its recipe makes, named by its first input's chip."""
    taken = claimed(unit)
    chip = str(taken.spec.inputs[0].attributes["chip"])
    attributes = {"instrument": "camera", "chip": chip, "night": "2024-05-11", "filter": "V", "overscan_correction": 6}
    content = f"{taken.spec.job}".encode()
    name = f"{taken.spec.recipe}-{chip}"
    kind = KINDS[taken.spec.recipe]
    product = taken.stage(store, content, kind=kind, name=name, attributes=attributes, measurements=[])
    (made,) = commit(taken.attempt, taken.commit_message(product))
    return Product.objects.get(pk=made)


@pytest.fixture
def bias(user: User, context: Context, unit: ProcessingUnit, store: Store) -> Product:
    """A bias from which two frames were reduced, of each of which there is a source list."""
    submit(Submission(recipe="Bias", inputs={"": biases(user, 3, store=store)}), context)
    bias = work(unit, store)
    frames = [make_product(user, "RawScience", store, attributes={"filter": "V"}).pk for _ in range(2)]
    submit(Submission(recipe="Reduce>SourceList", inputs={"": frames}), context)
    for _ in range(4):
        work(unit, store)
    assert bias.descendants.filter(role="bias_frame").count() == 2
    return bias


def test_it_goes_generation_by_generation(
    user: User, context: Context, unit: ProcessingUnit, store: Store, bias: Product
) -> None:
    with pytest.raises(UsageError, match="nothing that rests on"):
        reprocess(bias, context, "0" * 64, "k")
    assert judge(bias, Validity.BAD) == 4
    other = make_product(user, "BiasFrame", store, overscan_correction=6)
    plan = plan_reprocessing(bias, context)
    assert [(step.recipe, step.counts.jobs, step.counts.not_possible) for step in plan.steps] == [
        ("Reduce", 2, 0),
        ("SourceList", 2, 0),
    ]
    assert {
        choice.product for job in plan.steps[0].jobs for choice in job.calibrations if choice.role == "bias_frame"
    } == {other.pk}
    assert Run.objects.count() == 3, "nothing is made by a plan"
    run = reprocess(bias, context, plan.fingerprint, "k")
    assert reprocess(bias, context, plan.fingerprint, "k") == run
    assert [(step.recipe, step.state) for step in run_status(run).chain] == [
        ("Reduce", "queued"),
        ("SourceList", "waiting"),
    ]
    anew = [work(unit, store), work(unit, store)]
    following = Run.objects.get(chain=run.chain, chain_step=1)
    used = {entry.product_id for job in following.jobs.all() for entry in job.inputs.filter(role="frame")}
    assert used == {product.pk for product in anew}
    lists = [work(unit, store), work(unit, store)]
    assert all(Product.objects.get(pk=made.pk).stale_because is None for made in anew + lists)
    assert Chain.objects.get(pk=run.chain_id).ended is not None
    again = plan_reprocessing(bias, context)
    assert again.steps == []
    assert len(again.left_out) == 4
    assert all("made anew already" in line for line in again.left_out)


def test_one_stale_product_is_made_anew_with_what_it_needs(
    user: User, context: Context, unit: ProcessingUnit, store: Store, bias: Product
) -> None:
    judge(bias, Validity.BAD)
    one = Product.objects.filter(kind="SourceList").order_by("pk")[0]
    plan = plan_reprocessing(one, context)
    assert [(step.recipe, step.counts.jobs) for step in plan.steps] == [("Reduce", 1), ("SourceList", 1)]


def test_what_changed_since_is_shown_anew(
    user: User, context: Context, unit: ProcessingUnit, store: Store, bias: Product
) -> None:
    judge(bias, Validity.BAD)
    shown = plan_reprocessing(bias, context)
    make_product(user, "BiasFrame", store, overscan_correction=6)
    with pytest.raises(PlanChanged):
        reprocess(bias, context, shown.fingerprint, "k")


def test_what_could_not_be_made_anew_holds_up_its_own_alone(
    user: User, context: Context, unit: ProcessingUnit, store: Store, bias: Product
) -> None:
    judge(bias, Validity.BAD)
    run = reprocess(bias, context, plan_reprocessing(bias, context).fingerprint, "k")
    claimed(unit).fail(FaultKind.USAGE, "broken")
    work(unit, store)
    following = Run.objects.get(chain=run.chain, chain_step=1)
    assert following.jobs.count() == 1
    assert "could not be made anew" in (following.remark or "")
    assert Job.objects.filter(again_of__isnull=False).count() == 3


def test_a_bad_raw_frame_is_left_out(
    user: User, context: Context, unit: ProcessingUnit, store: Store, bias: Product
) -> None:
    raw = Product.objects.filter(kind="RawBias").order_by("pk")[0]
    assert judge(raw, Validity.BAD) == 5
    (step, *_) = plan_reprocessing(raw, context).steps
    assert step.recipe == "Bias"
    assert step.jobs[0].problem.startswith("Bias needs at least 3")


def test_a_step_that_two_processes_submit_at_once_is_one_run(
    user: User, context: Context, unit: ProcessingUnit, store: Store, bias: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_another(prepared: Prepared, context: Context, key: str) -> Run:
        """Submit after another process, which read what is to be made anew a moment before and asked for more."""
        first = submit_prepared(prepared, context, key)
        Run.objects.filter(pk=first.pk).update(submission={**first.submission, "comment": "of another process"})
        return submit_prepared(prepared, context, key)

    judge(bias, Validity.BAD)
    run = reprocess(bias, context, plan_reprocessing(bias, context).fingerprint, "k")
    monkeypatch.setattr("processing_units.frontend.reprocess.submit_prepared", after_another)
    for _ in range(4):
        work(unit, store)
    assert [step.state for step in run_status(run).chain] == ["done", "done"]
    ended = Chain.objects.get(pk=run.chain_id)
    assert (ended.ended is not None, ended.reason) == (True, "")
