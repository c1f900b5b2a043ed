"""Which star is which: the search for how a frame lies among reference stars, and the pairs of stars.

Positions are offsets in the tangent plane from the frame's centre [arcsec]. The search counts, for each rotation and
scale, on which offset most pairs agree; how likely the count is by chance follows from the density of pairs around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

BRIGHTEST = (40, 120, 360)  # stars that are tried, until the result is beyond doubt
BEYOND_DOUBT = -9.0  # log10 of the odds
CELL_OF_REACH = 0.004  # side of a cell in units of the frame's half diagonal: what distortion and rounding leave apart
LEAST_CELL = 3.0  # pixels
_NEAR, _FAR = 4, 12  # cells from the peak between which the density of pairs is measured
_MOST_MATRICES = 20_000
_MOST_WORK = 5e8  # counts, a second of a processor: wide searches are made in larger cells, and with fewer stars
MAGNITUDES_APART = 1.0  # pairs whose magnitudes differ otherwise than the usual pair's by more are chance


@dataclass(frozen=True)
class Limits:
    """How wrong a frame's first coordinates may be.

    ``offset`` [arcsec], ``rotation`` [degree] about each of ``turns`` [degree], ``scale`` (a fraction), and whether the
    image may be mirrored.
    """

    offset: float
    rotation: float
    scale: float
    turns: tuple[float, ...] = (0.0,)
    mirrored: bool = False


@dataclass(frozen=True)
class Move:
    """A change of coordinates: ``matrix`` about the frame's centre, then ``shift`` [arcsec].

    ``log_odds`` is the decimal logarithm of the odds that it came about by chance.
    """

    matrix: Floats
    shift: Floats
    agreeing: int
    log_odds: float

    @property
    def rotation(self) -> float:
        """Angle by which the frame is turned [degree]."""
        return math.degrees(math.atan2(-self.matrix[0, 1], self.matrix[1, 1]))

    @property
    def scale(self) -> float:
        """Factor on the pixel scale."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))


def search(stars: Floats, references: Floats, limits: Limits, reach: float, pixel_scale: float) -> Move | None:
    """Return the change of coordinates that brings most stars onto references; None where there are none.

    Parameters
    ----------
    stars, references : array
        Positions, the brightest first, rows of two [arcsec].
    limits : Limits
        How wrong the coordinates may be.
    reach : float
        Half the frame's diagonal [arcsec].
    pixel_scale : float
        [arcsec]

    Returns
    -------
    Move or None
        With the odds of its being chance: it is the caller's to judge.
    """
    from recipes.ccd.kernels.matching import best_offsets

    best: Move | None = None
    near = references[np.hypot(references[:, 0], references[:, 1]) <= reach + math.sqrt(2) * limits.offset]
    if not len(stars) or not len(near):
        return None
    cell = max(CELL_OF_REACH * reach, LEAST_CELL * pixel_scale)
    matrices = _matrices(limits, cell / reach)
    while len(matrices) * (2 * limits.offset / cell) ** 2 > _MOST_WORK:
        cell *= 1.25
        matrices = _matrices(limits, cell / reach)
    # The circle that references come from is larger than the frame, by this much.
    wider = ((reach + limits.offset) / reach) ** 2
    for number in BRIGHTEST:
        some, others = stars[:number], near[: math.ceil(number * wider) + 20]
        if best is not None and len(some) * len(others) * len(matrices) > _MOST_WORK:
            break
        counts, offsets = best_offsets(some, others, matrices, limits.offset, cell)
        winner = int(np.argmax(counts))  # of equals the one that changes least
        expected = _expected(some @ matrices[winner].T, others, offsets[winner], limits.offset, cell)
        trials = (2 * limits.offset / cell + 1) ** 2 * len(matrices)
        log_odds = math.log10(trials) + log_chance(int(counts[winner]), expected)
        if best is None or log_odds < best.log_odds:
            best = Move(matrices[winner], offsets[winner], int(counts[winner]), log_odds)
        if best.log_odds < BEYOND_DOUBT or (len(some) == len(stars) and len(others) == len(near)):
            break
    return best


def log_chance(count: int, expected: float) -> float:
    """Return log10 of an upper bound to the chance of at least `count` where `expected` are expected (Poisson)."""
    if count + 1 <= expected or count <= 0:
        return 0.0
    mean = max(expected, 1e-12)
    natural = count * math.log(mean) - mean - math.lgamma(count + 1) - math.log1p(-mean / (count + 1))
    return min(natural / math.log(10), 0.0)


def pairs_within(stars: Floats, references: Floats, distance: float) -> tuple[Places, Places]:
    """Return the places of stars and references that are each other's nearest, no farther apart than `distance`."""
    from scipy.spatial import cKDTree

    if not len(stars) or not len(references):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    apart, to_reference = cKDTree(references).query(stars)
    _, to_star = cKDTree(stars).query(references)
    own = np.arange(len(stars))
    chosen = (apart <= distance) & (to_star[to_reference] == own)
    return own[chosen], to_reference[chosen].astype(np.int64)


def alike(difference: Floats, apart: float = MAGNITUDES_APART) -> NDArray[np.bool_]:
    """Return which pairs differ in magnitude as the usual pair does; those without magnitudes do."""
    known = np.isfinite(difference)
    if known.sum() < 3:
        return np.ones(len(difference), dtype=bool)
    middle = np.median(difference[known])
    spread = 1.4826 * np.median(np.abs(difference[known] - middle))
    return np.asarray(~known | (np.abs(difference - middle) <= max(apart, 3 * spread)))


@dataclass(frozen=True)
class FewStars:
    """Pairs that an offset alone brings together: places of stars and references, the shift, and its log10 odds."""

    star: Places
    reference: Places
    shift: Floats
    log_odds: float


def search_offset(
    stars: Floats, flux: Floats, references: Floats, magnitude: Floats, limit: float, distance: float, area: float
) -> FewStars | None:
    """Return the offset on which a few reference stars agree best, magnitudes considered; None where there is none.

    Parameters
    ----------
    stars, references : array
        Positions, rows of two [arcsec].
    flux, magnitude : array
        Of stars and of references (NaN where not known).
    limit : float
        Greatest offset [arcsec].
    distance : float
        How far apart a pair may be [arcsec].
    area : float
        Of the frame [arcsec**2].

    Notes
    -----
    Each pair of a star and a reference proposes an offset and a zeropoint. The odds are the number of proposals times
    the Poisson chance that, at the density of stars as bright as expected, as many other references have a star.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(stars)
    zeropoint = magnitude[:, None] + 2.5 * np.log10(flux)[None, :]
    best: FewStars | None = None
    away = references[:, None, :] - stars[None, :, :]
    proposals = np.argwhere(np.hypot(away[..., 0], away[..., 1]) <= limit)
    for j, i in proposals:
        apart, found = tree.query(references - away[j, i], distance_upper_bound=distance)
        has_star = np.flatnonzero(np.isfinite(apart))
        has_star = has_star[_coherent(zeropoint[has_star, found[has_star]], zeropoint[j, i])]
        if len(has_star) < 2 or len(set(found[has_star])) < len(has_star):
            continue
        others = np.delete(np.arange(len(references)), j)
        as_bright = _coherent(zeropoint[others], zeropoint[j, i]).sum()
        expected = float(as_bright) / area * math.pi * distance**2
        log_odds = math.log10(len(proposals)) + log_chance(len(has_star) - 1, expected)
        if best is None or log_odds < best.log_odds:
            shift = np.mean(references[has_star] - stars[found[has_star]], axis=0)
            best = FewStars(found[has_star].astype(np.int64), has_star.astype(np.int64), shift, log_odds)
    return best


def _coherent(zeropoint: Floats, expected: float) -> NDArray[np.bool_]:
    if not math.isfinite(expected):
        return np.ones(zeropoint.shape, dtype=bool)
    return ~np.isfinite(zeropoint) | (np.abs(zeropoint - expected) <= MAGNITUDES_APART)


def _matrices(limits: Limits, step: float) -> Floats:
    """Return all rotations and scales within the limits, in steps that move the frame's corner by one cell."""
    turns = _steps(math.radians(limits.rotation), step)
    scales = _steps(math.log1p(limits.scale), step)
    if len(turns) * len(scales) * len(limits.turns) > _MOST_MATRICES:
        turns = _steps(math.radians(limits.rotation), step * len(turns) * len(scales) / _MOST_MATRICES)
    found = []
    for mirror in (1.0, -1.0) if limits.mirrored else (1.0,):
        for about in limits.turns:
            for turn in turns:
                for scale in scales:
                    angle, factor = math.radians(about) + turn, math.exp(scale)
                    cos, sin = factor * math.cos(angle), factor * math.sin(angle)
                    found.append((abs(turn) + abs(scale), [[mirror * cos, -sin], [mirror * sin, cos]]))
    found.sort(key=lambda entry: entry[0])
    return np.array([matrix for _, matrix in found])


def _steps(limit: float, step: float) -> list[float]:
    number = math.ceil(limit / step)
    return [limit * index / number for index in range(-number, number + 1)] if number else [0.0]


def _expected(stars: Floats, references: Floats, offset: Floats, limit: float, cell: float) -> float:
    """Return how many pairs are expected in two by two cells, from the density of pairs around an offset."""
    away = (references[:, None, :] - stars[None, :, :]).reshape(-1, 2)
    inside = (np.abs(away) <= limit).all(axis=1)
    everywhere = inside.sum() / (2 * limit) ** 2
    distance = np.abs(away[inside] - offset).max(axis=1)
    # The ring may reach over the limit: only what is within counts.
    low, high = np.maximum(offset - _FAR * cell, -limit), np.minimum(offset + _FAR * cell, limit)
    hole_low, hole_high = np.maximum(offset - _NEAR * cell, -limit), np.minimum(offset + _NEAR * cell, limit)
    ring = np.prod(high - low) - np.prod(hole_high - hole_low)
    around = ((distance > _NEAR * cell) & (distance <= _FAR * cell)).sum() / ring if ring > 0 else 0.0
    return float(max(everywhere, around) * (2 * cell) ** 2)
