"""A dry run shows what would be made, is there already, moves and takes; and just that can then be run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from archive.context import Context
from archive.models import Product, Validity
from dataserver.store import Store
from processing_units.contract import JobState, Plan, PlannedUnit, Submission
from processing_units.frontend.attempts import hash_of
from processing_units.frontend.commit import commit
from processing_units.frontend.models import ClusterManagerRecord, Job, ProcessingUnit, Run
from processing_units.frontend.refusals import PlanChanged
from processing_units.frontend.submit import plan, submit
from tests.processing_units.frontend.conftest import NIGHT, biases, claimed, make_product

pytestmark = pytest.mark.django_db


def asked(recipe: str, ids: list[int], **more: object) -> Submission:
    return Submission(recipe=recipe, inputs={"": ids}, **more)  # type: ignore[arg-type]


def made_before(found: Plan) -> list[tuple[int, str] | None]:
    return [job.made_before and (job.made_before.product, job.made_before.differs) for job in found.jobs]


def test_what_is_there_would_be_made_twice(user: User, context: Context, unit: ProcessingUnit, store: Store) -> None:
    wanted = asked("ReadNoise", biases(user, 2, store=store))
    assert plan(wanted, context).counts.made_before == 0
    submit(wanted, context)
    (made,) = claimed(unit).commit(store)
    again = plan(wanted, context)
    assert made_before(again) == [(made, "")]
    assert again.counts.made_before == 1
    other = wanted.model_copy(update={"parameters": {"rejection_threshold": 4.5}})
    assert made_before(plan(other, context)) == [(made, "other parameters")]
    more = asked("ReadNoise", [*wanted.inputs[""], *biases(user, 1)])
    assert made_before(plan(more, context)) == [None], "of other frames it is another product"
    Product.objects.filter(pk=made).update(is_valid=Validity.BAD, recipe_version="0")
    bad = plan(wanted, context)
    assert made_before(bad) == [(made, "called bad, version 0")]
    assert bad.counts.made_before == 0


def test_other_calibrations_make_another_product(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    wanted = asked("Bias", biases(user, 3, store=store))
    submit(wanted, context)
    taken = claimed(unit)
    attributes = {"instrument": "camera", "chip": "1", "night": "2024-05-11"}
    commit(taken.attempt, taken.commit_message(taken.stage(store, kind="BiasFrame", name="b", attributes=attributes)))
    assert made_before(plan(wanted, context)) == [(Product.objects.get(name="b").pk, "")]
    noise = make_product(user, "ReadNoise")
    (job,) = plan(wanted, context).jobs
    assert [choice.product for choice in job.calibrations if choice.role == "read_noise"] == [noise.pk]
    assert job.made_before is not None
    assert job.made_before.differs == "other calibrations"


def test_a_file_that_many_jobs_need_is_counted_once(user: User, context: Context, unit: ProcessingUnit) -> None:
    bias = make_product(user, "BiasFrame", overscan_correction=6, file_size=1000)
    frames = [make_product(user, "RawScience", file_size=10, attributes={"filter": "V"}).pk for _ in range(3)]
    found = plan(asked("Reduce", frames), context)
    assert {c.product for job in found.jobs for c in job.calibrations if c.role == "bias_frame"} == {bias.pk}
    assert [job.bytes for job in found.jobs] == [1010] * 3
    assert (found.counts.files, found.counts.bytes) == (4, 1030)


def test_rivals_of_other_times_are_told(user: User, context: Context, unit: ProcessingUnit) -> None:
    day = timedelta(days=1)
    for name, days in (("long_before", -90), ("before", -60), ("after", 60)):
        times = {"timestamp_start": NIGHT + (days - 5) * day, "timestamp_end": NIGHT + (days + 5) * day}
        make_product(user, "ReadNoise", name=name, **times)
    chosen = make_product(user, "ReadNoise")
    (job,) = plan(asked("Bias", biases(user, 3)), context).jobs
    choice = next(choice for choice in job.calibrations if choice.role == "read_noise")
    assert choice.product == chosen.pk
    assert choice.rivals == [
        "before: not valid at that time, but 2024-03-08 to 2024-03-18",
        "after: not valid at that time, but 2024-07-06 to 2024-07-16",
    ]


def times(found: Plan) -> dict[str, PlannedUnit]:
    return {unit.name: unit for unit in found.units}


def test_the_time_on_each_unit_is_that_of_its_own_jobs(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    now = timezone.now()
    other = ProcessingUnit.objects.create(
        name="other", port=8002, key_hash=hash_of("x"), alive_at=now, recipes_allowed=["Bias"]
    )
    run = submit(asked("ReadNoise", biases(user, 2, store=store)), context)
    claimed(unit).commit(store)
    ClusterManagerRecord.objects.update(slots=2)
    Job.objects.all().delete()
    for place, seconds in enumerate((50, 60, 400), 1):
        Job.objects.create(
            run=run, unit=unit, ordinal=place, label="x", state=JobState.DONE, created=now,
            started=now - timedelta(seconds=seconds), ended=now,
        )  # fmt: skip
    cache.clear()
    ids = [pk for chip in range(5) for pk in biases(user, 2, attributes={"chip": str(chip)})]
    found = times(plan(asked("ReadNoise", ids), context))
    here = found["local"]
    assert (here.chosen, here.seconds_a_job, here.jobs_known) == (True, 60.0, 3)
    assert (here.slots, here.seconds_to_start, here.seconds) == (2, 0.0, 180.0)  # 5 jobs: three rounds of two slots
    assert found["other"].why_not == "unit other does not run ReadNoise"
    biases_of_it = times(plan(asked("Bias", biases(user, 3)), context))
    assert (biases_of_it["other"].seconds_a_job, biases_of_it["local"].seconds) == (None, None)
    assert other.name in biases_of_it


def test_a_chains_steps_are_counted_as_far_as_is_known(user: User, context: Context, unit: ProcessingUnit) -> None:
    frames = [
        make_product(user, "RawScience", attributes={"filter": band, "chip": chip}).pk
        for band in "VR"
        for chip in "123"
    ]
    found = plan(asked("Reduce>Science>Coadd>SourceList", frames), context)
    assert [(step.recipe, step.jobs) for step in found.steps] == [
        ("Reduce", 6), ("Science", 6), ("Coadd", None), ("SourceList", None),
    ]  # fmt: skip


def test_exactly_what_was_shown_is_run_or_nothing(user: User, context: Context, unit: ProcessingUnit) -> None:
    wanted = asked("Bias", biases(user, 3))
    shown = plan(wanted, context)
    make_product(user, "ReadNoise")  # a calibration that was not there then
    with pytest.raises(PlanChanged, match="calibrations"):
        submit(wanted.model_copy(update={"plan": shown.fingerprint}), context)
    assert not Run.objects.exists()
    now = plan(wanted, context).fingerprint
    other = wanted.model_copy(update={"plan": now, "parameters": {"sigma_clip": 4.0}})
    with pytest.raises(PlanChanged):
        submit(other, context)
    exact = wanted.model_copy(update={"plan": now, "idempotency_key": "k", "comment": "a remark"})
    run = submit(exact, context)
    make_product(user, "ReadNoise")
    assert submit(exact, context) == run, "sent twice it is the same run, whatever has come since"
    assert "plan" not in run.submission


def test_a_chain_is_run_as_it_was_shown(user: User, context: Context, unit: ProcessingUnit) -> None:
    make_product(user, "BiasFrame", overscan_correction=6)
    wanted = asked("Reduce>SourceList", [make_product(user, "RawScience").pk])
    shown = plan(wanted, context).fingerprint
    longer = wanted.model_copy(update={"recipe": "Reduce>Science>SourceList", "plan": shown})
    with pytest.raises(PlanChanged):
        submit(longer, context)
    assert submit(wanted.model_copy(update={"plan": shown}), context).recipe == "Reduce"


def test_a_large_plan_is_cut_and_counted_whole(user: User, context: Context, unit: ProcessingUnit) -> None:
    def of(jobs: int) -> tuple[Plan, int]:
        ids = [pk for chip in range(jobs) for pk in biases(user, 2, attributes={"chip": f"{jobs}-{chip:04d}"})]
        ids += biases(user, 1, attributes={"chip": f"{jobs}-alone"})  # one frame is too few
        with CaptureQueriesContext(connection) as queries:
            found = plan(asked("ReadNoise", ids), context, 5)
        return found, len(queries)

    of(2)
    small, few = of(52)  # calibrations of other times are told of 50 chips and kinds at most
    large, many = of(75)
    assert (small.counts.jobs, large.counts.jobs, large.counts.not_possible) == (53, 76, 1)
    assert len(large.jobs) == 5
    assert large.jobs[0].problem.startswith("ReadNoise needs at least 2")
    assert large.jobs[0].hint
    assert many == few, "the same questions, however many jobs"
