"""Pairs on the sky, held to trying all of them."""

import numpy as np
import pytest

from recipes import threads
from recipes.ccd.sky_pairs import ARCSEC, closest, pairs_within

RANDOM = np.random.default_rng(3)


def all_pairs(ra1, dec1, ra2, dec2, radius):
    """Return the pairs within `radius` by the angle of every pair (Vincenty 1975)."""
    a1, d1 = np.radians(ra1)[:, None], np.radians(dec1)[:, None]
    a2, d2 = np.radians(ra2)[None], np.radians(dec2)[None]
    da = a2 - a1
    across = np.hypot(np.cos(d2) * np.sin(da), np.cos(d1) * np.sin(d2) - np.sin(d1) * np.cos(d2) * np.cos(da))
    angle = np.arctan2(across, np.sin(d1) * np.sin(d2) + np.cos(d1) * np.cos(d2) * np.cos(da))
    here, there = np.nonzero(angle <= radius)
    return here, there, angle[here, there]


def around(ra, dec, size, count):
    """Return positions at most `size` degrees from one."""
    pole = np.radians(dec)
    distance, direction = np.radians(size) * np.sqrt(RANDOM.random(count)), RANDOM.uniform(0, 2 * np.pi, count)
    sin_dec = np.sin(pole) * np.cos(distance) + np.cos(pole) * np.sin(distance) * np.cos(direction)
    turn = np.arctan2(np.sin(direction) * np.sin(distance) * np.cos(pole), np.cos(distance) - np.sin(pole) * sin_dec)
    return np.degrees(np.radians(ra) + turn) % 360, np.degrees(np.arcsin(np.clip(sin_dec, -1, 1)))


@pytest.mark.parametrize(
    ("ra", "dec", "size"),
    [(10, 20, 0.02), (0, 0, 0.02), (359.999, -60, 0.02), (77, 90, 0.02), (0, -90, 0.02), (200, 89.99, 0.02),
     (120, -89.995, 0.02), (0, 45, 180)],
    ids=["field", "ra 0", "ra 360", "north pole", "south pole", "near a pole", "near the other", "whole sky"],
)  # fmt: skip
@pytest.mark.parametrize("radius", [1.0, 10.0, 60.0])
def test_the_same_as_trying_all(ra, dec, size, radius) -> None:
    ra1, dec1 = around(ra, dec, size, 700)
    ra2, dec2 = around(ra, dec, size, 900)
    ra2[:300], dec2[:300] = ra1[:300], np.clip(dec1[:300] + 0.5 / 3600, -90, 90)
    expected = all_pairs(ra1, dec1, ra2, dec2, radius * ARCSEC)
    found = pairs_within(ra1, dec1, ra2, dec2, radius * ARCSEC)
    assert len(expected[0]) > 0
    assert np.array_equal(found.here, expected[0])
    assert np.array_equal(found.there, expected[1])
    assert found.angle == pytest.approx(expected[2], abs=1e-7 * ARCSEC)


def test_the_same_on_any_number_of_threads() -> None:
    ra, dec = around(0, 89.9, 0.3, 20_000)
    other = around(0, 89.9, 0.3, 20_000)
    one = pairs_within(ra, dec, *other, 3 * ARCSEC)
    threads.allow(2)
    two = pairs_within(ra, dec, *other, 3 * ARCSEC)
    threads.allow(1)
    assert np.array_equal(one.here, two.here)
    assert np.array_equal(one.there, two.there)
    assert np.array_equal(one.angle, two.angle)


def test_clusters_are_sorted_too() -> None:
    ra1, dec1 = around(50, 10, 1, 3000)
    ra1[:2500], dec1[:2500] = around(50, 10, 0.0005, 2500)
    found = pairs_within(ra1, dec1, ra1, dec1, ARCSEC)
    expected = all_pairs(ra1, dec1, ra1, dec1, ARCSEC)
    assert np.array_equal(found.here, expected[0])
    assert np.array_equal(found.there, expected[1])


def test_right_ascensions_of_any_turn() -> None:
    found = pairs_within(np.array([-0.0001, 360.0]), np.array([0.0, 1.0]), np.array([359.9999, 720.0]),
                         np.array([0.0, 1.0]), ARCSEC)  # fmt: skip
    assert found.here.tolist() == [0, 1]
    assert found.there.tolist() == [0, 1]


def test_without_positions_there_are_no_pairs() -> None:
    some, none = np.array([1.0]), np.empty(0)
    assert len(pairs_within(some, some, none, none, ARCSEC)) == 0
    assert len(pairs_within(none, none, some, some, ARCSEC)) == 0
    assert len(pairs_within(some, some, some, some + 40, ARCSEC)) == 0


def test_the_closest_pairs_are_taken_first() -> None:
    dec1 = np.array([0.0, 1.0, 5.0]) / 3600
    dec2 = np.array([0.6, 5.1]) / 3600
    found = pairs_within(np.zeros(3), dec1, np.zeros(2), dec2, ARCSEC)
    assert list(zip(found.here.tolist(), found.there.tolist(), strict=True)) == [(0, 0), (1, 0), (2, 1)]
    best = closest(found, 3, 2)
    assert list(zip(best.here.tolist(), best.there.tolist(), strict=True)) == [(1, 0), (2, 1)]
