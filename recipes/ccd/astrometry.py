"""A frame's coordinates from reference stars: first coordinates, search, fit, and how sure the result is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.astrometric_fit import LEAST_STARS, Fit, fit_plate
from recipes.ccd.plate import Plate
from recipes.ccd.reference_stars import ReferenceStars
from recipes.ccd.star_matching import CELL_OF_REACH, LEAST_CELL, Limits, Move, search, search_offset
from recipes.ccd.stars import Stars
from recipes.ccd.tangent_plane import project

Floats = NDArray[np.float64]

LEAST_FOR_OFFSET = 3
MOST_FOR_OFFSET = 80  # the brightest stars, where an offset is all there is to find
CHANCE = -3.0  # log10 of the odds above which a match is taken for chance
_FREE = 90.0  # degrees: where a frame may be turned so far, an offset alone says nothing
_OFFSET_CELL = 0.005  # of the half diagonal: what half a degree of rotation leaves apart


@dataclass(frozen=True)
class Solution:
    """Coordinates of a frame, and how they were found.

    Parameters
    ----------
    plate : Plate
        The coordinates.
    fit : Fit or None
        Pairs and residuals; None where the first coordinates stayed.
    rotation, scale : float
        By which the first coordinates were turned [degree], and the factor on their pixel scale.
    offset : float
        By which the frame's centre was moved [arcsec].
    log_odds : float
        Decimal logarithm of the odds that the match is chance; 0 where there is none.
    """

    plate: Plate
    fit: Fit | None
    rotation: float = 0.0
    scale: float = 1.0
    offset: float = 0.0
    log_odds: float = 0.0

    @property
    def solved(self) -> bool:
        """Whether stars were matched."""
        return self.fit is not None


def solve(
    first: Plate, stars: Stars, references: ReferenceStars, limits: Sequence[Limits], *, degree: int, clip: float
) -> Solution:
    """Find a frame's coordinates from its first ones and reference stars.

    Parameters
    ----------
    first : Plate
        Where the frame would lie by its header or pointing.
    stars : Stars
        Of the frame.
    references : ReferenceStars
        All that may lie on it.
    limits : sequence of Limits
        How wrong the first coordinates may be: tried in turn until one finds a match that is not chance.
    degree : int
        Highest degree of the polynomial that is fitted.
    clip : float
        Sigma beyond which pairs are left out.

    Returns
    -------
    Solution
        With the first coordinates where nothing was found.

    Notes
    -----
    Eight pairs carry a fit of the linear part, more of them the distortion. With three to seven references on the
    frame only its offset is found.
    """
    for limit in limits:
        move = _search(first, stars, references, limit)
        if move is None or move.agreeing < LEAST_STARS or move.log_odds > CHANCE:
            continue
        moved = first.moved(move.matrix, _centre_on_plane(first), move.shift / 3600)
        fit = fit_plate(moved, stars, references, degree=degree, distance=1.5 * _cell(first), clip=clip)
        if fit is not None:
            return _described(first, fit, move.log_odds)
    upright = [limit for limit in limits if limit.turns == (0.0,) and limit.rotation < _FREE]
    if not upright:
        return Solution(first, None)
    return _offset_alone(first, stars, references, max(upright, key=lambda limit: limit.offset))


def _search(first: Plate, stars: Stars, references: ReferenceStars, limits: Limits) -> Move | None:
    if len(references) < LEAST_STARS or len(stars) < LEAST_STARS:
        return None
    centre = _centre_on_plane(first)
    own, known = _offsets(first, stars, references, centre)
    return search(own, known, limits, first.half_diagonal, first.pixel_scale)


def _offset_alone(first: Plate, stars: Stars, references: ReferenceStars, limits: Limits) -> Solution:
    """Return the solution by an offset that a few references agree on, or the first coordinates."""
    bright = stars.where(np.arange(len(stars)) < MOST_FOR_OFFSET)
    if len(bright) < LEAST_FOR_OFFSET or len(references) < LEAST_FOR_OFFSET:
        return Solution(first, None)
    centre = _centre_on_plane(first)
    own, known = _offsets(first, bright, references, centre)
    near = np.hypot(known[:, 0], known[:, 1]) <= first.half_diagonal + limits.offset
    known, chosen = known[near], references.where(near)
    if not LEAST_FOR_OFFSET <= len(known) <= MOST_FOR_OFFSET:
        return Solution(first, None)
    distance = max(LEAST_CELL * first.pixel_scale, _OFFSET_CELL * first.half_diagonal)
    area = first.shape[0] * first.shape[1] * first.pixel_scale**2
    found = search_offset(own, bright.flux, known, chosen.magnitude, limits.offset, distance, area)
    if found is None or len(found.star) < LEAST_FOR_OFFSET or found.log_odds > CHANCE:
        return Solution(first, None)
    weight = 1 / np.maximum(np.hypot(bright.error[found.star] * first.pixel_scale, chosen.error[found.reference]), 0.02)
    residuals = own[found.star] - known[found.reference]
    shift = -np.average(residuals, axis=0, weights=weight**2)
    residuals = residuals + shift
    plate = first.moved(np.eye(2), centre, shift / 3600)
    scatter = float(np.sqrt(np.sum(residuals**2) / (2 * len(residuals) - 2)))
    fit = Fit(plate, found.star, np.flatnonzero(near)[found.reference], residuals, 1 / weight, 0,
              scatter / math.sqrt(len(residuals)))  # fmt: skip
    return _described(first, fit, found.log_odds)


def _described(first: Plate, fit: Fit, log_odds: float) -> Solution:
    """Return the solution with what it changed at the frame's centre."""
    x, y = first.centre
    at = np.array([x, x + 1, x]), np.array([y, y, y + 1])
    before = np.stack(first.plane(*at), axis=-1)
    after = np.stack(project(*fit.plate.sky(*at), *first.tangent), axis=-1)
    old, new = (before[1:] - before[0]).T, (after[1:] - after[0]).T
    change = new @ np.linalg.inv(old)
    mirrored = np.linalg.det(change) < 0
    if mirrored:
        change = change @ np.diag([-1.0, 1.0])
    rotation = math.degrees(math.atan2(change[1, 0] - change[0, 1], change[0, 0] + change[1, 1]))
    scale = math.sqrt(abs(float(np.linalg.det(change))))
    offset = 3600 * float(np.hypot(*(after[0] - before[0])))
    return Solution(fit.plate, fit, rotation, scale, offset, log_odds)


def _cell(plate: Plate) -> float:
    return max(CELL_OF_REACH * plate.half_diagonal, LEAST_CELL * plate.pixel_scale)


def _centre_on_plane(plate: Plate) -> Floats:
    x, y = plate.centre
    return np.array(plate.plane(np.array([x]), np.array([y])))[:, 0]


def _offsets(plate: Plate, stars: Stars, references: ReferenceStars, centre: Floats) -> tuple[Floats, Floats]:
    """Return positions of stars and references in the plate's plane from the frame's centre [arcsec]."""
    own = np.stack(plate.plane(stars.x, stars.y), axis=-1) - centre
    known = np.stack(project(references.ra, references.dec, *plate.tangent), axis=-1) - centre
    return own * 3600, known * 3600
