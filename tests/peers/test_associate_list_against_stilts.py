"""AssociateList beside STILTS' tmatch2: the same pairs, at the poles and across right ascension 0 too."""

import numpy as np
import pytest

from recipes.associate_list import associate_list
from recipes.attributes import FrameAttributes
from recipes.tables import Column, Table
from tests.peers.report import record
from tests.recipes.stilts import tmatch2, write_list

pytestmark = pytest.mark.program("stilts", "stilts")

RADIUS = 1.0  # arcsec


def two_views(ra, dec, size, count, seed):
    """Return positions within `size` degrees of one, and of most of them again with errors of half an arcsecond."""
    random = np.random.default_rng(seed)
    pole = np.radians(dec)
    distance, turn = np.radians(size) * np.sqrt(random.random(count)), random.uniform(0, 2 * np.pi, count)
    views = []
    for error in (0.0, np.radians(0.5 / 3600)):
        east = distance * np.sin(turn) + random.normal(0, 1, count) * error
        north = distance * np.cos(turn) + random.normal(0, 1, count) * error
        x, y, z = np.cos(pole) - north * np.sin(pole), east, np.sin(pole) + north * np.cos(pole)
        views.append(((np.degrees(np.arctan2(y, x)) + ra) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))))
    kept = random.permutation(count)[: int(0.8 * count)]
    return views[0], (views[1][0][kept], views[1][1][kept])


def as_list(ra, dec, name):
    columns = {"SID": Column(np.arange(len(ra))), "ALPHAWIN_J2000": Column(ra), "DELTAWIN_J2000": Column(dec)}
    return Table(columns, attributes=FrameAttributes(instrument="x", file_name=name))


def our_pairs(one, two, **parameters):
    """Return the places in both lists of each pair, from the associations."""
    columns = associate_list([as_list(*one, "one"), as_list(*two, "two")], type="master", **parameters)
    rows = {name: column.values for name, column in columns.products[0].content.columns.items()}
    first = rows["SLID"] == 1
    source_of = dict(zip(rows["AID"][first], rows["SID"][first], strict=True))
    here = np.array([source_of[number] for number in rows["AID"][~first]], dtype=int)
    there, distance = rows["SID"][~first], rows["DISTANCE"][~first]
    order = np.lexsort((there, here))
    return here[order], there[order], distance[order]


PLACES = {
    "field": (150.0, 2.0, 0.3),
    "right ascension 0": (0.0, -30.0, 0.3),
    "north pole": (0.0, 90.0, 0.3),
    "south pole": (0.0, -90.0, 0.3),
    "near a pole": (80.0, 89.9, 0.3),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_same_pairs(place, tmp_path) -> None:
    # 20,000 in 0.3 degrees: some 800 have another one within the search distance.
    one, two = two_views(*PLACES[place], 20_000, seed=len(place))
    here, there, distance = our_pairs(one, two, search_distance=RADIUS, single_out_closest_pairs=False)
    files = write_list(tmp_path / "one.fits", *one), write_list(tmp_path / "two.fits", *two)
    its_here, its_there, its_distance = tmatch2(*files, RADIUS, "all")
    same = np.array_equal(here, its_here) and np.array_equal(there, its_there)
    record("AssociateList", "STILTS tmatch2", f"pairs, find=all, {place}", len(here), len(its_here), "the same",
           met=same)  # fmt: skip
    assert len(here) > 10_000
    assert same
    assert distance == pytest.approx(its_distance, abs=1e-6)


def test_the_same_closest_pairs(tmp_path) -> None:
    """Where more than one is near, tmatch2 gives a source of the first list up when its closest has a closer one.

    We take the next one then, so that the order of the lists does not matter; all pairs of tmatch2 are ours too.
    """
    one, two = two_views(*PLACES["right ascension 0"], 20_000, seed=5)
    here, there, _ = our_pairs(one, two, search_distance=RADIUS)
    files = write_list(tmp_path / "one.fits", *one), write_list(tmp_path / "two.fits", *two)
    its_here, its_there, _ = tmatch2(*files, RADIUS, "best")
    ours, theirs = (set(zip(*pairs, strict=True)) for pairs in ((here, there), (its_here, its_there)))
    record("AssociateList", "STILTS tmatch2", "pairs, find=best, those of its", len(ours & theirs), len(theirs),
           "all of its", met=theirs <= ours)  # fmt: skip
    assert theirs <= ours
    assert len(ours - theirs) < 0.005 * len(ours)
    assert not {pair[0] for pair in ours - theirs} & set(its_here)
    assert not {pair[1] for pair in ours - theirs} & set(its_there)
