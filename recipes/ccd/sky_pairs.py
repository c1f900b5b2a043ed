"""Pairs of positions on the sky that lie within an angle of each other, poles and right ascension 0 included."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recipes import threads

Floats = NDArray[np.float64]

_PIECES = 32  # of the zones, for threads; the pairs' order does not hang on it
_MOST_ZONES = 4096
ARCSEC = math.radians(1 / 3600)


@dataclass(frozen=True)
class Pairs:
    """Places in both lists of each pair, and its angle [radian]; ordered by the first place, then the second."""

    here: NDArray[np.int32]
    there: NDArray[np.int32]
    angle: Floats

    def __len__(self) -> int:
        return len(self.here)


def pairs_within(ra1: Floats, dec1: Floats, ra2: Floats, dec2: Floats, radius: float) -> Pairs:
    """Return all pairs of a position of one list and one of the other that are no farther apart than `radius`.

    Parameters
    ----------
    ra1, dec1, ra2, dec2 : array
        Positions [degree], right ascension of any turn.
    radius : float
        Largest angle [radian], below a quarter turn.

    Returns
    -------
    Pairs
        Empty where a list is.
    """
    from recipes.ccd.kernels import zones as kernel

    nothing = np.empty(0, np.int32)
    if not len(ra1) or not len(ra2):
        return Pairs(nothing, nothing, np.empty(0))
    one, two = _radians(ra1, dec1), _radians(ra2, dec2)
    # Only where the lists overlap in declination can there be pairs; the rest goes to the outermost zones.
    bottom = max(one[1].min(), two[1].min()) - radius
    top = min(one[1].max(), two[1].max()) + radius
    if top <= bottom:
        return Pairs(nothing, nothing, np.empty(0))
    count = min(max(1, math.isqrt(max(len(ra1), len(ra2)))), _MOST_ZONES, max(1, int((top - bottom) / radius)))
    height = (top - bottom) / count
    cuts = [count * piece // _PIECES for piece in range(_PIECES + 1)]
    ranges = [(low, high) for low, high in pairwise(cuts) if low < high]
    sides = [_sorted_zones(ra, dec, bottom, top, count, ranges) for ra, dec in (one, two)]
    parts = threads.each(lambda rows: kernel.pairs_of_zones(*rows, bottom, height, radius, *sides), ranges)
    here, there, angle = (np.concatenate([part[column] for part in parts]) for column in range(3))
    order = kernel.order_of_pairs(here, there, len(ra1))
    return Pairs(here[order], there[order], angle[order])


def _sorted_zones(
    ra: Floats, dec: Floats, bottom: float, top: float, count: int, ranges: list[tuple[int, int]]
) -> tuple[NDArray[np.int32], NDArray[np.int64], Floats, Floats]:
    """Return the places of the positions between two declinations, by zone and right ascension, and these sorted."""
    from recipes.ccd.kernels import zones as kernel

    inside = np.flatnonzero((dec >= bottom) & (dec <= top)).astype(np.int32)
    if len(inside) < len(dec):
        ra, dec = ra[inside], dec[inside]
    order, first = kernel.order_by_zone(dec, bottom, (top - bottom) / count, count)
    sorted_ra, sorted_dec = np.empty(len(dec)), np.empty(len(dec))
    threads.each(lambda rows: kernel.sort_zones(*rows, first, order, ra, dec, sorted_ra, sorted_dec), ranges)
    return inside[order], first, sorted_ra, sorted_dec


def closest(pairs: Pairs, many_here: int, many_there: int) -> Pairs:
    """Return the pairs that remain where each position is in one pair at most: the closest are taken first.

    Pairs of one angle are taken in their order. A position whose closest partner has a closer one takes the next, so
    that it does not matter which list comes first (STILTS' best match gives those of the first list up).
    """
    from recipes.ccd.kernels import zones as kernel

    only_here, only_there = kernel.alone(pairs.here, pairs.there, many_here, many_there)
    kept = only_here & only_there
    contested = np.flatnonzero(~kept)
    order = contested[np.argsort(pairs.angle[contested], kind="stable")]
    kept |= kernel.closest_first(order, pairs.here, pairs.there, many_here, many_there)
    return Pairs(pairs.here[kept], pairs.there[kept], pairs.angle[kept])


def _radians(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    turned = np.radians(np.asarray(ra, np.float64))
    if turned.min() < 0 or turned.max() >= 2 * math.pi:
        turned = np.mod(turned, 2 * math.pi)
        turned[turned >= 2 * math.pi] = 0.0
    return turned, np.radians(np.asarray(dec, np.float64))
