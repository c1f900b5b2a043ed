"""Which calibration is chosen, and what is said of the others."""

import datetime
import itertools
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User

from archive.calibration import Request, Wanted, choose, choose_many, effective_overscan
from archive.context import Context
from archive.models import Privilege, Product, Validity
from recipes.attributes import FrameAttributes
from recipes.ccd.raw import effective_method

NOON = datetime.datetime(2024, 5, 13, 4, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
WANTED = Wanted("cam", "ccd1", "V", overscan_correction=6)
Make = Callable[..., Product]


def test_the_newest_that_is_valid_wins(context: Context, make_product: Make) -> None:
    older = make_product(name="older.fits", created=NOON)
    newer = make_product(name="newer.fits", created=NOON + DAY)
    choice = choose(context, "BiasFrame", WANTED, NOON)
    assert choice.product == newer
    assert choice.reason == "valid 2024-05-03 to 2024-05-23; the newest of 2 that serve"
    assert choice.rivals == [f"{older.name}: older, made 2024-05-13 04:00:00"]


def test_what_is_flagged_stands_back(context: Context, make_product: Make) -> None:
    good = make_product(name="good.fits", created=NOON)
    make_product(name="flagged.fits", created=NOON + DAY, quality_flags=4)
    choice = choose(context, "BiasFrame", WANTED, NOON)
    assert choice.product == good
    assert choice.rivals == ["flagged.fits: quality flags 4"]


def test_what_is_flagged_serves_where_nothing_else_does(context: Context, make_product: Make) -> None:
    flagged = make_product(quality_flags=4)
    choice = choose(context, "BiasFrame", WANTED, NOON)
    assert choice.product == flagged
    assert choice.reason.endswith("although its quality flags are 4: there is none without")


@pytest.mark.parametrize("kind", ["IlluminationCorrectionFrame", "FringeFrame"])
def test_a_doubtful_correction_is_worse_than_none(context: Context, make_product: Make, kind: str) -> None:
    flagged = make_product(kind=kind, filter_name="V", quality_flags=32)
    choice = choose(context, kind, WANTED, NOON)
    assert choice.product is None
    assert choice.rivals == [f"{flagged.name}: its quality flags are 32: none is better, unless you name it"]
    trusted = make_product(kind=kind, filter_name="V", quality_flags=32, is_valid=Validity.GOOD)
    assert choose(context, kind, WANTED, NOON).product == trusted


@pytest.mark.parametrize(
    ("given", "lack"),
    [
        ({"is_valid": Validity.BAD}, "was called bad"),
        ({"readout_mode": "fast"}, "readout mode fast, not default"),
        ({"overscan_correction": 0}, "overscan method 0, not 6"),
        ({"overscan_correction": None}, "overscan method unknown, not 6"),
    ],
)
def test_what_it_lacks_is_said(context: Context, make_product: Make, given: dict[str, object], lack: str) -> None:
    make_product(name="rival.fits", **given)
    choice = choose(context, "BiasFrame", WANTED, NOON)
    assert choice.product is None
    assert choice.reason == (f"no BiasFrame serves cam chip ccd1 on 2024-05-13 04:00; nearest is rival.fits: {lack}")


@pytest.mark.parametrize("given", [{"chip": "ccd2"}, {"instrument": "cam2"}])
def test_other_chips_and_cameras_are_no_rivals(context: Context, make_product: Make, given: dict[str, str]) -> None:
    make_product(**given)
    choice = choose(context, "BiasFrame", WANTED, NOON)
    assert (choice.product, choice.rivals) == (None, [])
    assert choice.reason.endswith("there is none at any time")


def test_the_nearest_in_time_is_named(context: Context, make_product: Make) -> None:
    make_product(name="before.fits", timestamp_start=NOON - 30 * DAY, timestamp_end=NOON - 5 * DAY)
    make_product(name="after.fits", timestamp_start=NOON + 2 * DAY, timestamp_end=NOON + 9 * DAY)
    choice = choose(context, "BiasFrame", WANTED, NOON)
    assert choice.product is None
    assert choice.reason.endswith("nearest is after.fits, valid 2024-05-15 to 2024-05-22, 2.0 days off")


def test_a_flat_is_of_its_filter_and_a_bias_of_none(context: Context, make_product: Make) -> None:
    make_product(kind="MasterFlatFrame", filter_name="z")
    flat = make_product(kind="MasterFlatFrame", filter_name="V")
    bias = make_product(kind="BiasFrame", filter_name="")
    assert choose(context, "MasterFlatFrame", WANTED, NOON).product == flat
    assert choose(context, "BiasFrame", WANTED, NOON).product == bias
    assert "filter R" in choose(context, "MasterFlatFrame", Wanted("cam", "ccd1", "R"), NOON).reason


def test_a_camera_without_filters_finds_its_flat(context: Context, make_product: Make) -> None:
    flat = make_product(kind="MasterFlatFrame", filter_name="")
    assert choose(context, "MasterFlatFrame", Wanted("cam", "ccd1"), NOON).product == flat


@pytest.mark.parametrize(("temperature", "serves"), [(-5.0, True), (-6.9, True), (-10.0, False), (None, True)])
def test_a_dark_serves_within_two_degrees(
    context: Context, make_product: Make, temperature: float | None, serves: bool
) -> None:
    dark = make_product(kind="DarkFrame", temperature=-5.0)
    choice = choose(context, "DarkFrame", Wanted("cam", "ccd1", temperature=temperature), NOON)
    assert choice.product == (dark if serves else None)
    if not serves:
        assert choice.rivals == [f"{dark.name}: taken at -5.0 °C, 5.0 °C away from -10.0 °C"]


def test_the_first_kind_that_has_one_wins(context: Context, make_product: Make) -> None:
    twilight = make_product(kind="TwilightFlatFrame", filter_name="V", created=NOON + DAY)
    kinds = ("DomeFlatFrame", "TwilightFlatFrame")
    assert choose(context, kinds, WANTED, NOON).product == twilight
    dome = make_product(kind="DomeFlatFrame", filter_name="V", created=NOON)
    assert choose(context, kinds, WANTED, NOON).product == dome


def test_what_may_not_be_seen_is_neither_chosen_nor_named(bob: User, make_product: Make) -> None:
    make_product(privilege=Privilege.MYDB)
    choice = choose(Context(bob), "BiasFrame", WANTED, NOON)
    assert (choice.product, choice.rivals) == (None, [])
    assert choice.reason.endswith("there is none at any time")


def test_without_a_time_nothing_is_chosen(context: Context, make_product: Make) -> None:
    make_product()
    assert choose(context, "BiasFrame", WANTED, None).reason == (
        "no BiasFrame: the time of the observation is not known"
    )


def test_attributes_of_a_frame_say_what_is_wanted(context: Context, make_product: Make) -> None:
    bias = make_product(overscan_correction=0)
    frame = {"instrument": "cam", "chip": "ccd1", "filter": "V", "date_obs": "2024-05-13T04:00:00",
             "overscan_correction": 6}  # fmt: skip
    assert choose(context, "BiasFrame", frame, frame["date_obs"]).product == bias  # it has no overscan: method 0
    frame["overscan_x"] = "[1025:1056,1:1024]"
    assert choose(context, "BiasFrame", frame, frame["date_obs"]).product is None


def test_a_run_of_a_thousand_jobs_takes_few_queries_and_little_time(
    context: Context, make_product: Make, django_assert_num_queries
) -> None:
    chips = [f"ccd{number}" for number in range(32)]
    kinds = ("BiasFrame", "MasterFlatFrame", "HotPixelMap", "ColdPixelMap", "GainLinearity")
    for chip, kind in itertools.product(chips, kinds):
        filter_name = "V" if kind in {"MasterFlatFrame", "ColdPixelMap"} else ""
        make_product(kind=kind, chip=chip, filter_name=filter_name)
    requests = [
        Request((kind,), Wanted("cam", chips[number % 32], "V", overscan_correction=6), NOON + number * DAY / 2000)
        for number in range(1000)
        for kind in kinds
    ]
    begun = time.process_time()
    with django_assert_num_queries(2):
        choices = choose_many(context, requests)
    assert all(choice.product for choice in choices)
    assert time.process_time() - begun < 1.0
    assert [choice.product.chip for choice in choices[::5]] == [chips[number % 32] for number in range(1000)]


def test_what_is_missing_costs_two_queries_a_chip_and_kind(
    context: Context, make_product: Make, django_assert_num_queries
) -> None:
    requests = [
        Request(("BiasFrame",), Wanted("cam", f"ccd{number % 4}"), NOON + number * DAY / 2000) for number in range(1000)
    ]
    with django_assert_num_queries(1 + 2 * 4):
        assert not any(choice.product for choice in choose_many(context, requests))


SECTIONS = ("prescan_x", "overscan_x", "prescan_y", "overscan_y")


@pytest.mark.parametrize("method", range(9))
def test_the_overscan_method_is_reckoned_as_the_recipes_do(method: int) -> None:
    amplifier = {"name": "A", "data_section": "[1:4,1:4]"}
    for there in itertools.product((None, "[1:4,1:4]"), repeat=4):
        for own in ([], [{}, {}], [{"overscan_x": "[5:8,1:4]"}, {}], [{"overscan_x": "[5:8,1:4]"}] * 2):
            attributes = FrameAttributes(
                **dict(zip(SECTIONS, there, strict=True)), amplifiers=[amplifier | sections for sections in own]
            )
            frame = SimpleNamespace(attributes=attributes)
            assert effective_overscan(method, attributes.model_dump()) == effective_method(frame, method)
