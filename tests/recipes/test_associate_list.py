"""AssociateList on lists whose truth is known."""

import numpy as np
import pytest

from recipes.associate_list import associate_list
from recipes.attributes import FrameAttributes
from recipes.errors import UsageError
from recipes.tables import Column, Table

RANDOM = np.random.default_rng(8)
ARCSEC = 1 / 3600


def source_list(ra, dec, name="list.fits", flags=None, sid=None, **attributes):
    ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
    columns = {
        "SID": Column(np.arange(1, len(ra) + 1) if sid is None else np.asarray(sid)),
        "ALPHAWIN_J2000": Column(ra, "deg"),
        "DELTAWIN_J2000": Column(dec, "deg"),
        "FLAGS": Column(np.zeros(len(ra), np.int16) if flags is None else np.asarray(flags, np.int16)),
    }
    return Table(columns, "SOURCES", FrameAttributes(instrument="x", file_name=name, **attributes))


def rows(outcome):
    """Return (AID, SLID, SID) of each row."""
    columns = outcome.products[0].content.columns
    return [
        tuple(int(columns[name].values[i]) for name in ("AID", "SLID", "SID"))
        for i in range(len(columns["AID"].values))
    ]


def column(outcome, name):
    return outcome.products[0].content.columns[name].values


def value(outcome, name):
    return next(entry.value for entry in outcome.products[0].measured if entry.name == name)


def test_a_chain_takes_each_list_to_all_before_it() -> None:
    first = source_list([10, 20], [0, 0])
    second = source_list([20 + 0.3 * ARCSEC, 30], [0, 0])
    third = source_list([30 + 0.4 * ARCSEC, 10], [0, 0])
    outcome = associate_list([first, second, third])
    assert rows(outcome) == [(1, 1, 1), (1, 3, 2), (2, 1, 2), (2, 2, 1), (3, 2, 2), (3, 3, 1)]
    assert column(outcome, "DISTANCE") == pytest.approx([0, 0, 0, 0.3, 0, 0.4], abs=1e-6)
    assert not np.any(column(outcome, "FLAG"))


def test_a_chain_keeps_singles() -> None:
    outcome = associate_list([source_list([10, 50], [0, 0]), source_list([30], [0])])
    assert rows(outcome) == [(1, 1, 1), (2, 1, 2), (3, 2, 1)]
    assert column(outcome, "FLAG").tolist() == [1, 1, 1]
    assert value(outcome, "single_count") == 3
    assert value(outcome, "unmatched_count") == 1
    assert value(outcome, "matched_count") == 0


@pytest.mark.parametrize(("ra", "dec"), [((10, 10.2), (0, 0)), ((359.9, 0.1), (0, 0)), ((0, 120), (89.9, 89.9))])
def test_lists_of_which_no_two_overlap_are_refused(ra, dec) -> None:
    around = np.array([-0.04, 0.04])
    width = around / np.cos(np.radians(dec[0]))
    apart = [source_list(x + width, y + around, f"field{n}.fits") for n, (x, y) in enumerate(zip(ra, dec, strict=True))]
    with pytest.raises(UsageError, match=r"no two of the 3 lists overlap on the sky: field0\.fits to far\.fits"):
        associate_list([*apart, source_list([200], [-40], "far.fits")], search_distance=1e-3)
    near = source_list([ra[0] + width[1]], [dec[0] + around[1]], "near.fits")
    assert value(associate_list([*apart, near]), "matched_count") == 1


def test_a_list_without_sources_overlaps_nothing_and_is_no_reason_to_refuse() -> None:
    outcome = associate_list([source_list([10], [0]), source_list([], [])])
    assert value(outcome, "single_count") == 1


def test_a_chain_is_matched_with_the_mean_of_its_members() -> None:
    """0", 0.8", 1.3": the third is 1.3 from the first, but 0.9 from the mean of the first two."""
    lists = [source_list([0], [dec * ARCSEC]) for dec in (0, 0.8, 1.3)]
    outcome = associate_list(lists)
    assert rows(outcome) == [(1, 1, 1), (1, 2, 1), (1, 3, 1)]
    assert column(outcome, "DISTANCE") == pytest.approx([0, 0.8, 0.9], abs=1e-6)


def test_a_master_takes_all_lists_to_the_first() -> None:
    lists = [source_list([0, 10], [dec * ARCSEC, 0]) for dec in (0, 0.8, 1.3)]
    lists[2] = source_list([0, 60], [1.3 * ARCSEC, 0])
    outcome = associate_list(lists, type="master")
    assert rows(outcome) == [(1, 1, 1), (1, 2, 1), (2, 1, 2), (2, 2, 2)]
    assert value(outcome, "unmatched_count") == 2


def test_matched_has_a_source_of_every_list() -> None:
    lists = [source_list([0, 10, 20], [0, 0, 0]), source_list([10, 20], [0, 0]), source_list([20, 0], [0, 0])]
    outcome = associate_list(lists, type="matched")
    assert rows(outcome) == [(1, 1, 3), (1, 2, 2), (1, 3, 1)]
    assert value(outcome, "association_count") == 1


def test_the_closest_pairs_are_singled_out() -> None:
    first, second = source_list([0, 0], [0, 1 * ARCSEC]), source_list([0, 0], [0.7 * ARCSEC, 1.1 * ARCSEC])
    outcome = associate_list([first, second])
    assert rows(outcome) == [(1, 1, 1), (1, 2, 1), (2, 1, 2), (2, 2, 2)]
    assert column(outcome, "FLAG").tolist() == [0, 2, 0, 2]


def test_all_pairs_hold_where_they_are_asked_for() -> None:
    first, second = source_list([0, 0], [0, 1 * ARCSEC]), source_list([0, 0], [0.7 * ARCSEC, 1.1 * ARCSEC])
    outcome = associate_list([first, second], single_out_closest_pairs=False)
    assert rows(outcome) == [(1, 1, 1), (1, 2, 1), (2, 1, 2), (2, 2, 1), (2, 2, 2)]


def test_flagged_sources_are_left_out_and_said_so() -> None:
    first, second = source_list([0, 10], [0, 0], flags=[0, 4]), source_list([0, 10], [0, 0], flags=[3, 0])
    outcome = associate_list([first, second], sextractor_flag_mask=4)
    assert rows(outcome) == [(1, 1, 1), (1, 2, 1), (2, 2, 2)]
    assert [entry.name for entry in outcome.left_out] == ["1 sources of list.fits"]


def test_sources_without_position_are_left_out_and_said_so() -> None:
    outcome = associate_list([source_list([0, np.nan], [0, 0]), source_list([0, 1], [0, np.inf])])
    assert rows(outcome) == [(1, 1, 1), (1, 2, 1)]
    assert [entry.reason for entry in outcome.left_out] == ["no position", "no position"]


def test_an_associate_list_goes_on() -> None:
    a, b, c = source_list([0, 10], [0, 0], "a"), source_list([0, 20], [0, 0], "b"), source_list([20, 30], [0, 0], "c")
    before = associate_list([a, b]).products[0].content
    outcome = associate_list([before, c])
    assert rows(outcome) == rows(associate_list([a, b, c]))
    assert column(outcome, "ALID").tolist() == [1, 1, 1, 1, 0, 0]
    assert outcome.products[0].attributes.lists == ["a", "b", "c"]
    backwards = associate_list([c, before])
    assert rows(backwards) == [(1, 1, 1), (1, 3, 2), (2, 1, 2), (3, 2, 1), (3, 3, 1), (4, 2, 2)]
    assert backwards.products[0].attributes.lists == ["c", "a", "b"]


def test_names_of_the_lists_are_in_order() -> None:
    outcome = associate_list([source_list([0], [0], "second.fits"), source_list([0], [0], "first.fits")])
    assert outcome.products[0].attributes.lists == ["second.fits", "first.fits"]


def test_positions_are_those_of_the_sources_with_their_cells() -> None:
    import astropy.units as u
    from astropy_healpix import lonlat_to_healpix

    outcome = associate_list([source_list([359.99999], [45]), source_list([0.00001], [45])])
    assert rows(outcome) == [(1, 1, 1), (1, 2, 1)]
    ra, dec = column(outcome, "RA"), column(outcome, "DEC")
    assert ra == pytest.approx([359.99999, 0.00001])
    assert np.array_equal(column(outcome, "HPX29"), lonlat_to_healpix(ra * u.deg, dec * u.deg, 2**29, order="nested"))


@pytest.mark.parametrize("centre", [(0.0, 0.0), (123.0, 90.0), (5.0, -89.9995)], ids=["equator", "pole", "near a pole"])
def test_a_night_of_four_exposures_is_put_together(centre) -> None:
    """Stars 8 arcsec apart and more, seen four times with 0.1 arcsec: each is one association."""
    step = 8 * ARCSEC
    y, x = np.mgrid[-12:13, -12:13] * np.radians(step)
    pole = np.radians(centre[1])
    lists = []
    for number in range(4):
        seen = RANDOM.random(x.size) < 0.8
        east = x.ravel()[seen] + np.radians(RANDOM.normal(0, 0.1 * ARCSEC, seen.sum()))
        north = y.ravel()[seen] + np.radians(RANDOM.normal(0, 0.1 * ARCSEC, seen.sum()))
        vector = np.array([np.cos(pole) - north * np.sin(pole), east, np.sin(pole) + north * np.cos(pole)])
        ra = np.degrees(np.arctan2(vector[1], vector[0])) + centre[0]
        dec = np.degrees(np.arctan2(vector[2], np.hypot(vector[0], vector[1])))
        lists.append(source_list(ra % 360, dec, f"{number}.fits", sid=np.flatnonzero(seen) + 1))
    outcome = associate_list(lists)
    aid, sid = column(outcome, "AID"), column(outcome, "SID")
    for number in np.unique(aid):
        assert len(set(sid[aid == number])) == 1
    assert len(np.unique(aid)) == len(np.unique(sid))
    # Two errors of 0.1 arcsec in two directions: the median of a Rayleigh distribution, less where means of two
    # or three are met; 0.1 * sqrt(1 + 1/n) * 1.177 for n from 1 to 3.
    assert 0.13 < value(outcome, "median_distance") < 0.17


def test_empty_lists_are_lists() -> None:
    outcome = associate_list([source_list([], []), source_list([1], [1]), source_list([], [])])
    assert rows(outcome) == [(1, 2, 1)]
    assert rows(associate_list([source_list([], []), source_list([], [])])) == []
    assert rows(associate_list([source_list([], []), source_list([1], [1])], type="matched")) == []


def test_one_list_is_refused() -> None:
    with pytest.raises(UsageError, match="two lists"):
        associate_list([source_list([0], [0])])


def test_a_list_without_coordinates_is_refused_by_name() -> None:
    bare = Table({"SID": Column(np.arange(3))}, attributes=FrameAttributes(file_name="bare.fits"))
    with pytest.raises(UsageError, match=r"bare\.fits has no sky coordinates"):
        associate_list([source_list([0], [0]), bare])
