"""A night's log: exposures in the order of time, their chips together, what was made of them and what is in doubt."""

import datetime
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from archive.context import VISITOR, Context
from archive.facets import gather
from archive.models import Lineage, Privilege, Product
from archive.night_log import Made, Night, Tally, exposures, nights, tallies, times_of

Make = Callable[..., Product]
NIGHT = datetime.date(2024, 5, 12)
LOG = Night("cam", NIGHT)


def at(minute: int) -> datetime.datetime:
    """Return a time of the night."""
    return datetime.datetime(2024, 5, 13, 1, minute, tzinfo=datetime.UTC)


@pytest.fixture
def frames(make_product: Make) -> dict[str, Product]:
    """A bias and a science exposure of two chips each; a reduced frame of one, its source list, and the bias made."""
    usual = {"night": NIGHT, "timestamp_start": None, "timestamp_end": None, "instrument": "cam"}
    made = {
        "bias 1": make_product(kind="RawBias", chip="1", name="b_1.fits", date_obs=at(0), exposure_time=0.0, **usual),
        "bias 2": make_product(kind="RawBias", chip="2", name="b_2.fits", date_obs=at(0), exposure_time=0.0, **usual),
        "science 2": make_product(kind="RawScience", chip="2", name="s_2.fits", date_obs=at(9), exposure_time=30.0,
                                  filter_name="V", object_name="M 67", is_valid=0, **usual),
        "science 1": make_product(kind="RawScience", chip="1", name="s_1.fits", date_obs=at(9), exposure_time=30.0,
                                  filter_name="V", object_name="M 67",
                                  attributes={"airmass": 1.234, "notes": ["the time is the shutter's"]}, **usual),
        "master": make_product(kind="BiasFrame", chip="1"),
        "reduced": make_product(kind="ReducedScienceFrame", chip="1", quality_flags=2),
        "sources": make_product(kind="SourceList", chip="1", is_valid=0),
    }  # fmt: skip
    for product, source in (("master", "bias 1"), ("reduced", "science 1"), ("reduced", "master"),
                            ("sources", "reduced")):  # fmt: skip
        Lineage.objects.create(product=made[product], source=made[source], role=source)
    return made


def test_exposures_with_their_chips_remarks_and_products(
    frames: dict[str, Product], context: Context, django_assert_max_num_queries: Callable[..., object]
) -> None:
    with django_assert_max_num_queries(9):
        bias, science = exposures(context, LOG)
    assert (bias.time, bias.kind, bias.name, bias.chips) == (at(0), "RawBias", "b_…", ["1", "2"])
    assert bias.made == [Made("BiasFrame", 1, 0, 0, frames["master"].pk)], "what a bias serves is not made of it alone"
    assert (science.object, science.filter, science.exposure_time, science.airmass) == ("M 67", "V", 30.0, 1.234)
    assert science.remarks == ["the time is the shutter's", "chip 2 called bad"]
    assert science.made == [
        Made("ReducedScienceFrame", 1, 1, 0, frames["reduced"].pk),
        Made("SourceList", 1, 0, 1, frames["sources"].pk),
    ]
    assert times_of(context, LOG) == [at(0), at(9)]
    assert [each.kind for each in exposures(context, LOG, at(5), at(9))] == ["RawScience"]


@pytest.mark.parametrize("is_gathered", [False, True])
def test_nights_with_what_was_exposed(
    frames: dict[str, Product], make_product: Make, context: Context, is_gathered: bool
) -> None:
    make_product(kind="RawDark", instrument="other cam", night=NIGHT + datetime.timedelta(days=1), date_obs=at(0))
    if is_gathered:
        Product.objects.update(created=at(0))
        gather()
    later = Night("other cam", NIGHT + datetime.timedelta(days=1))
    assert nights(context) == [later, LOG]
    assert nights(context, "cam") == [LOG]
    assert tallies(context, [later, LOG]) == {
        LOG: [Tally("RawBias", "", 2, 1), Tally("RawScience", "V", 2, 1)],
        later: [Tally("RawDark", "", 1, 1)],
    }


def test_what_may_not_be_seen_is_not_in_the_log(frames: dict[str, Product], bob: User) -> None:
    assert nights(VISITOR) == []
    assert exposures(Context(bob), LOG) == []
    Product.objects.filter(pk=frames["science 1"].pk).update(privilege=Privilege.ALL_USERS)
    (science,) = exposures(Context(bob), LOG)
    assert (science.chips, science.made) == (["1"], [])


def test_a_frame_without_a_time_comes_last(frames: dict[str, Product], make_product: Make, context: Context) -> None:
    make_product(kind="RawScience", name="timeless.fits", night=NIGHT)
    assert [each.name for each in exposures(context, LOG)] == ["b_…", "s_…", "timeless.fits"]
