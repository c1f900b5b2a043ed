"""A submission is checked as a whole, split, given its calibrations, and written; or refused in words that help."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from archive.context import VISITOR, Context, context_of
from archive.models import Membership, Privilege, Product, Profile, Project
from processing_units.contract import Plan, Submission
from processing_units.frontend.models import Job, JobInput, Outbox, ProcessingUnit, Run
from processing_units.frontend.refusals import NotAllowed, NotFound
from processing_units.frontend.submit import plan, submit
from recipes.catalogue import find_recipe
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import biases, make_product, make_user

pytestmark = pytest.mark.django_db

VERSION = find_recipe("ReadNoise").version


def asked(recipe: str, ids: list[int], **more: object) -> Submission:
    return Submission(recipe=recipe, inputs={"": ids}, **more)


def test_it_writes_run_jobs_inputs_and_a_hint(user: User, context: Context, unit: ProcessingUnit) -> None:
    first, second = biases(user, 2, attributes={"chip": "1"}), biases(user, 3, attributes={"chip": "2"})
    run = submit(asked("ReadNoise", first + second, comment="a try"), context)
    jobs = list(run.jobs.order_by("ordinal"))
    assert [(job.label, job.state, job.attempt) for job in jobs] == [("1", "queued", 0), ("2", "queued", 0)]
    inputs = JobInput.objects.filter(job=jobs[1]).order_by("ordinal").values_list("role", "product", "ordinal")
    assert list(inputs) == [("raw_bias", pk, place) for place, pk in enumerate(second)]
    assert (run.user, run.recipe, run.recipe_version, run.unit, run.remark) == (
        user,
        "ReadNoise",
        VERSION,
        unit,
        "a try",
    )
    assert run.parameters == {"rejection_threshold": 5.0, "maximum_iterations": 5}
    assert run.unit_reason == "the only unit that takes it"
    assert Outbox.objects.get().hints == 2


def test_a_plan_writes_nothing(user: User, context: Context, unit: ProcessingUnit) -> None:
    ids = biases(user, 2)
    planned = plan(asked("ReadNoise", ids, parameters={"maximum_iterations": "7"}), context)
    assert isinstance(planned, Plan)
    assert planned.parameters["maximum_iterations"] == 7
    (job,) = planned.jobs
    assert (job.label, job.inputs, job.problem) == ("1", {"raw_bias": ids}, "")
    assert job.bytes == sum(Product.objects.values_list("file_size", flat=True))
    assert [(choice.role, choice.product) for choice in job.calibrations] == [("previous", None)]
    assert Run.objects.count() == Job.objects.count() == Outbox.objects.count() == 0


def test_the_order_of_the_request_does_not_matter(user: User, context: Context, unit: ProcessingUnit) -> None:
    ids = biases(user, 4)
    assert plan(asked("ReadNoise", ids), context) == plan(asked("ReadNoise", ids[::-1]), context)


def test_calibrations_are_chosen_for_each_chip_with_the_reason(
    user: User, context: Context, unit: ProcessingUnit
) -> None:
    noises = {chip: make_product(user, "ReadNoise", attributes={"chip": chip}) for chip in "12"}
    ids = [pk for chip in "12" for pk in biases(user, 3, attributes={"chip": chip})]
    run = submit(asked("Bias", ids), context)
    for job in run.jobs.all():
        used = job.inputs.get(role="read_noise").product
        assert used == noises[job.label]
        told = next(choice for choice in job.choices_made if choice["role"] == "read_noise")
        assert (told["product"], told["name"]) == (used.pk, used.name)
        assert "the only one that serves" in told["reason"]


def test_a_missing_calibration_that_may_be_missing_is_told(user: User, context: Context, unit: ProcessingUnit) -> None:
    (job,) = plan(asked("Bias", biases(user, 3)), context).jobs
    told = next(choice for choice in job.calibrations if choice.role == "read_noise")
    assert told.product is None
    assert told.reason.startswith("no ReadNoise serves camera chip 1")
    assert job.problem == ""


def test_too_few_frames_of_one_chip_are_named(user: User, context: Context, unit: ProcessingUnit) -> None:
    enough, few = biases(user, 3, attributes={"chip": "1"}), biases(user, 2, attributes={"chip": "2"})
    planned = plan(asked("Bias", enough + few), context)
    assert [bool(job.problem) for job in planned.jobs] == [False, True]
    with pytest.raises(UsageError, match=r"job 2: Bias needs at least 3 raw_bias and got 2 \(RawBias_4") as refused:
        submit(asked("Bias", enough + few), context)
    assert "add more RawBias" in refused.value.hint
    assert Run.objects.count() == 0


def test_too_many_are_named(user: User, context: Context, unit: ProcessingUnit) -> None:
    flats = [make_product(user, "DomeFlatFrame", attributes={"filter": "V"}).pk for _ in range(2)]
    with pytest.raises(UsageError, match="MasterFlat takes at most 1 dome_flat and got 2"):
        submit(asked("MasterFlat", flats), context)


def reduced(user: User, number: int) -> tuple[Product, Product]:
    """Return what a job of Reduce made: a frame and its weight."""
    given = {"attributes": {"filter": "V"}, "made_by_job": number, "made_by_run": 1}
    frame = make_product(user, "ReducedScienceFrame", identity=f"job {number}: frame", **given)
    return frame, make_product(user, "WeightFrame", identity=f"job {number}: weight", **given)


def test_a_frame_gets_its_own_weight_and_no_others(user: User, context: Context, unit: ProcessingUnit) -> None:
    pairs = [reduced(user, number) for number in (101, 102, 103)]
    frames, weights = [frame.pk for frame, _ in pairs], [weight.pk for _, weight in pairs]
    run = submit(Submission(recipe="SourceList", inputs={"frame": frames}), context)
    named = submit(Submission(recipe="SourceList", inputs={"frame": frames, "weight": weights}), context)
    for some in (run, named):
        assert [job.inputs.get(role="weight").product_id for job in some.jobs.order_by("ordinal")] == weights
        assert not JobInput.objects.filter(job__run=some, role="detection_frame").exists()


def test_one_of_several_roles_is_enough(user: User, context: Context, unit: ProcessingUnit) -> None:
    dome = make_product(user, "DomeFlatFrame", attributes={"filter": "V", "chip": "1"})
    twilight = make_product(user, "TwilightFlatFrame", attributes={"filter": "R", "chip": "1"})
    run = submit(asked("MasterFlat", [dome.pk, twilight.pk]), context)
    assert [(job.label, job.inputs.get().product) for job in run.jobs.order_by("ordinal")] == [
        ("1 R", twilight), ("1 V", dome),
    ]  # fmt: skip


def test_a_wrong_kind_is_named(user: User, context: Context, unit: ProcessingUnit) -> None:
    flat = make_product(user, "RawDomeFlat", attributes={"filter": "V"})
    with pytest.raises(UsageError, match=f"{flat.name} is a RawDomeFlat, which Bias does not take"):
        submit(asked("Bias", [*biases(user, 3), flat.pk]), context)
    with pytest.raises(UsageError, match=f"{flat.name} is a RawDomeFlat, which cannot be the raw_bias of Bias"):
        submit(Submission(recipe="Bias", inputs={"raw_bias": [flat.pk]}), context)


def test_a_product_given_twice_is_refused(user: User, context: Context, unit: ProcessingUnit) -> None:
    ids = biases(user, 2)
    with pytest.raises(UsageError, match=r"RawBias_1\.fits was given twice as raw_bias"):
        submit(asked("ReadNoise", [*ids, ids[0]]), context)


def test_other_peoples_frames_look_as_if_they_do_not_exist(user: User, context: Context, unit: ProcessingUnit) -> None:
    theirs = make_product(make_user("bob"))
    ids = biases(user, 2)
    with pytest.raises(NotFound) as hidden:
        submit(asked("ReadNoise", [*ids, theirs.pk]), context)
    with pytest.raises(NotFound) as missing:
        submit(asked("ReadNoise", [*ids, 999_999]), context)
    assert str(hidden.value).replace(str(theirs.pk), "N") == str(missing.value).replace("999999", "N")


def test_a_named_calibration_is_used(user: User, context: Context, unit: ProcessingUnit) -> None:
    old, _new = make_product(user, "ReadNoise"), make_product(user, "ReadNoise")
    run = submit(Submission(recipe="Bias", inputs={"raw_bias": biases(user, 3), "read_noise": [old.pk]}), context)
    job = run.jobs.get()
    assert job.inputs.get(role="read_noise").product == old
    assert [choice["reason"] for choice in job.choices_made if choice["role"] == "read_noise"] == ["you named it"]


def test_a_named_calibration_of_another_chip_is_refused(user: User, context: Context, unit: ProcessingUnit) -> None:
    other = make_product(user, "ReadNoise", attributes={"chip": "2"})
    asked_for = Submission(recipe="Bias", inputs={"raw_bias": biases(user, 3), "read_noise": [other.pk]})
    with pytest.raises(UsageError, match=f"{other.name} is of chip 2, not 1"):
        submit(asked_for, context)


def test_a_bias_of_another_overscan_method_is_refused(user: User, context: Context, unit: ProcessingUnit) -> None:
    bias = make_product(user, "BiasFrame", attributes={"overscan_correction": 6})
    flats = [make_product(user, "RawDomeFlat", attributes={"filter": "V"}).pk for _ in range(2)]
    named = Submission(
        recipe="Gain", inputs={"raw_flat": flats, "bias_frame": [bias.pk]}, parameters={"overscan_correction": 2}
    )
    with pytest.raises(UsageError, match=f"{bias.name} was made with overscan method 6, RawDomeFlat_2.fits would"):
        submit(named, context)
    (job,) = plan(asked("Gain", flats, parameters={"overscan_correction": 2}), context).jobs
    told = next(choice for choice in job.calibrations if choice.role == "bias_frame")
    assert told.product is None
    assert "overscan method 6, not 2" in told.reason
    assert job.problem.startswith(f"{bias.name} was made with overscan method 6, RawDomeFlat_2.fits would")
    with pytest.raises(UsageError, match="was made with overscan method 6") as refused:
        submit(asked("Gain", flats, parameters={"overscan_correction": 2}), context)
    assert refused.value.hint == "set overscan_correction to 6, or make a BiasFrame with 2 first"
    other_night = make_product(user, "RawBias", attributes={"date_obs": "2024-06-30T03:00:00", "night": "2024-06-29"})
    assert plan(asked("Bias", [other_night.pk], parameters={"overscan_correction": 2}), context).jobs[0].problem == (
        f"Bias needs at least 3 raw_bias and got 1 ({other_night.name})"
    )
    same = submit(named.model_copy(update={"parameters": {"overscan_correction": 6}}), context)
    assert same.jobs.get().inputs.get(role="bias_frame").product == bias


def test_wrong_names_and_values_are_told_with_the_right_ones(
    user: User, context: Context, unit: ProcessingUnit
) -> None:
    ids = biases(user, 2)
    with pytest.raises(UsageError, match="there is no recipe 'Bies'") as recipe:
        submit(asked("Bies", ids), context)
    assert "ReadNoise" in recipe.value.hint
    with pytest.raises(UsageError, match="maximum_iterations: 'many' is not a whole number from 1 to 50"):
        submit(asked("ReadNoise", ids, parameters={"maximum_iterations": "many"}), context)
    with pytest.raises(UsageError, match="ReadNoise has no input 'flat'"):
        submit(Submission(recipe="ReadNoise", inputs={"flat": ids}), context)
    with pytest.raises(UsageError, match="ReadNoise: no inputs were given"):
        submit(asked("ReadNoise", []), context)
    with pytest.raises(NotFound, match="there is no unit 'hpc'") as wrong_unit:
        submit(asked("ReadNoise", ids, unit="hpc"), context)
    assert wrong_unit.value.hint == "the units are: local"


def test_visitors_submit_nothing(user: User, unit: ProcessingUnit) -> None:
    with pytest.raises(NotAllowed, match="visitors"):
        submit(asked("ReadNoise", biases(user, 2)), VISITOR)


def test_users_of_type_1_change_neither_parameters_nor_units(unit: ProcessingUnit) -> None:
    ProcessingUnit.objects.create(name="other", port=8002, key_hash="x", slots=2)
    user = make_user("eve", Profile.UserType.STANDARD)
    context, ids = context_of(user), biases(user, 2)
    with pytest.raises(NotAllowed, match="maximum_iterations: users of type 1"):
        submit(asked("ReadNoise", ids, parameters={"maximum_iterations": 7}), context)
    with pytest.raises(NotAllowed, match="users of type 1 do not choose units"):
        submit(asked("ReadNoise", ids, unit="other"), context)
    assert submit(asked("ReadNoise", ids, parameters={"maximum_iterations": 5}), context).unit == unit


@pytest.mark.parametrize(
    ("closed", "why"),
    [
        ({"accepting": False}, "accepts no jobs"),
        ({"recipes_allowed": ["Bias"]}, "does not run ReadNoise"),
        ({"user_types_allowed": [3, 4]}, "not open to users of type 2"),
    ],
)
def test_a_closed_unit_says_why(
    user: User, context: Context, unit: ProcessingUnit, closed: dict[str, object], why: str
) -> None:
    ProcessingUnit.objects.filter(pk=unit.pk).update(**closed)
    for name in (None, "local"):
        with pytest.raises(NotAllowed, match=why):
            submit(asked("ReadNoise", biases(user, 2), unit=name), context)


def test_an_own_unit_runs_its_owners_jobs_into_mydb(user: User, unit: ProcessingUnit) -> None:
    project = Project.objects.create(name="survey")
    for member in (user, bob := make_user("bob")):
        Membership.objects.create(user=member, project=project)
        Profile.objects.filter(user=member).update(project=project, privilege=Privilege.PROJECT)
    own = ProcessingUnit.objects.create(name="anns", port=8002, key_hash="x", owner=user)
    run = submit(asked("ReadNoise", biases(user, 2), unit="anns"), context_of(user))
    assert (run.unit, run.privilege) == (own, Privilege.MYDB)
    with pytest.raises(NotFound, match="there is no unit 'anns'"):
        submit(asked("ReadNoise", biases(bob, 2), unit="anns"), context_of(bob))
    assert submit(asked("ReadNoise", biases(bob, 2)), context_of(bob)).privilege == Privilege.PROJECT


def test_results_go_where_the_user_may_put_them(user: User, context: Context, unit: ProcessingUnit) -> None:
    with pytest.raises(NotAllowed, match="you work in no project"):
        submit(asked("ReadNoise", biases(user, 2), privilege=2), context)
    with pytest.raises(NotAllowed, match="cannot be published"):
        submit(asked("ReadNoise", biases(user, 2), privilege=4), context)
    assert submit(asked("ReadNoise", biases(user, 2), privilege=3), context).privilege == Privilege.ALL_USERS
