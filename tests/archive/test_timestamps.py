"""Calibration timestamps: the parts in which each is chosen are those in which the archive would choose it."""

import datetime
import random
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from archive.calibration import Wanted, choose
from archive.context import Context
from archive.filter_texts import BadSelection
from archive.models import Privilege, Product
from archive.timestamps import KINDS_WITH_TIMES, Lane, set_timestamps, timestamps_of

Make = Callable[..., Product]
FIRST = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def day(number: float) -> datetime.datetime:
    """Return the time so many days after the first."""
    return FIRST + number * DAY


def test_the_newest_eclipses_and_a_bad_one_does_not(make_product: Make, context: Context) -> None:
    old = make_product(timestamp_start=day(0), timestamp_end=day(10), created=day(1))
    new = make_product(timestamp_start=day(4), timestamp_end=day(6), created=day(2))
    bad = make_product(timestamp_start=day(0), timestamp_end=day(5), created=day(3), is_valid=0)
    make_product(chip="another chip")
    make_product(kind="RawBias")
    found = timestamps_of(context, "cam", "ccd1")
    assert list(found.lanes) == [Lane("BiasFrame", "", "default")]
    (lane,) = found.lanes.values()
    assert [each.pk for each in lane] == [bad.pk, new.pk, old.pk], "the newest on top"
    assert [each.chosen for each in lane] == [
        [],
        [(day(4), day(6))],
        [(day(0), day(4)), (day(6), day(10))],
    ]


def test_it_is_as_the_archive_chooses(make_product: Make, context: Context) -> None:
    dice = random.Random(3)
    for _ in range(25):
        begin = dice.uniform(0, 40)
        make_product(
            timestamp_start=dice.choice([None, day(begin), day(begin)]),
            timestamp_end=dice.choice([None, day(begin + 8), day(begin + 8)]),
            created=day(dice.uniform(0, 60)), is_valid=dice.choice((0, 1, 2)), quality_flags=dice.choice((0, 0, 4)),
        )  # fmt: skip
    (lane,) = timestamps_of(context, "cam", "ccd1").lanes.values()
    for hour in range(0, 50 * 24, 7):
        at = day(hour / 24)
        drawn = [each.pk for each in lane if any(begin <= at <= end for begin, end in each.chosen)]
        chosen = choose(context, "BiasFrame", Wanted("cam", "ccd1"), at).product
        assert drawn == ([chosen.pk] if chosen else []), at


def test_filters_and_readout_modes_are_lanes_and_doubtful_maps_are_never_chosen(
    make_product: Make, context: Context
) -> None:
    make_product(kind="MasterFlatFrame", filter_name="V")
    make_product(kind="MasterFlatFrame", filter_name="R")
    make_product(readout_mode="fast")
    make_product(kind="FringeFrame", filter_name="z", quality_flags=1)
    lanes = timestamps_of(context, "cam", "ccd1").lanes
    assert list(lanes) == [
        Lane("BiasFrame", "", "fast"),
        Lane("MasterFlatFrame", "R", "default"),
        Lane("MasterFlatFrame", "V", "default"),
        Lane("FringeFrame", "z", "default"),
    ]
    assert [len(each.chosen) for lane in lanes.values() for each in lane] == [1, 1, 1, 0]
    assert list(timestamps_of(context, "cam", "ccd1", ["FringeFrame"]).lanes) == [Lane("FringeFrame", "z", "default")]


def test_within_a_span_of_time_and_no_more_than_can_be_drawn(
    make_product: Make, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        make_product(timestamp_start=day(10 * number), timestamp_end=day(10 * number + 5))
    (lane,) = timestamps_of(context, "cam", "ccd1", within=(day(12), day(31))).lanes.values()
    assert [each.start for each in reversed(lane)] == [day(10), day(20), day(30)]
    monkeypatch.setattr("archive.timestamps.MOST_BARS", 4)
    found = timestamps_of(context, "cam", "ccd1")
    assert (sum(map(len, found.lanes.values())), found.left_out) == (4, 2)


def test_timestamps_are_changed_by_who_may(make_product: Make, context: Context, bob: User) -> None:
    product = make_product(privilege=Privilege.ALL_USERS)
    set_timestamps(context, product, "2024-05-01", " ")
    product.refresh_from_db()
    assert (product.timestamp_start, product.timestamp_end) == (day(0.5), None)
    with pytest.raises(PermissionError, match="only its creator"):
        set_timestamps(Context(bob), product, "2024-06-01", "")
    for start, end, reason in (
        ("soon", "", "valid from: 'soon' is neither now nor a date"),
        ("2024-05-02", "2024-05-01", "the end lies before the beginning"),
    ):
        with pytest.raises(BadSelection, match=reason):
            set_timestamps(context, product, start, end)
    with pytest.raises(BadSelection, match="is no calibration"):
        set_timestamps(context, make_product(kind="RawBias"), "2024-05-01", "")
    assert "RawBias" not in KINDS_WITH_TIMES
