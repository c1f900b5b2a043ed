"""Kernel that gives faint detections in the wings of bright sources to these: SExtractor's CLEAN."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.ccd.kernels.sources_moments import (
    ABCOR,
    CXX,
    CXY,
    CYY,
    FIELDS,
    FILTERED_FLUX,
    MARGIN,
    NPIX,
    THRESHOLD,
    A,
    B,
    X,
    Y,
)

_ZONE = 10.0  # sources farther apart than so many times the sum of their A do not meet


@compiled
def eaten_by(rows: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each source the one in whose wings it is, or -1; `order` has the brightest first.

    The wing is a Moffat profile of exponent 1 (CLEAN_PARAM) through the source's flux and area. A detection is in it
    where the wing at its place is more than what its pixels stand above the threshold.
    """
    count = len(rows)
    by_y = np.argsort(rows[:, Y], kind="mergesort")
    heights = rows[:, Y][by_y]
    widest = rows[:, A].max() if count else 0.0
    least = rows[:, MARGIN].min() if count else 0.0
    eater = np.full(count, -1)
    for i in order:
        if eater[i] >= 0:
            continue
        row = rows[i]
        unit = math.pi * row[A] * row[B]
        amplitude = row[FILTERED_FLUX] / (2 * unit * row[ABCOR])
        steepness = (amplitude / row[THRESHOLD] - 1) * unit / row[NPIX]
        if not steepness > 0:
            continue
        reach = _ZONE * (row[A] + widest)
        if least > 0:
            # Beyond this ellipse the wing is below the faintest detection of all.
            reach = min(reach, row[A] * math.sqrt(max(amplitude / least - 1, 0.0) / steepness) + 1.0)
        low = np.searchsorted(heights, row[Y] - reach)
        high = np.searchsorted(heights, row[Y] + reach, side="right")
        for place in range(low, high):
            j = by_y[place]
            other = rows[j]
            if j == i or eater[j] >= 0 or not other[FILTERED_FLUX] < row[FILTERED_FLUX]:
                continue
            dx, dy = row[X] - other[X], row[Y] - other[Y]
            zone = _ZONE * (row[A] + other[A])
            if dx * dx + dy * dy > zone * zone:
                continue
            fall = 1 + steepness * (row[CXX] * dx * dx + row[CYY] * dy * dy + row[CXY] * dx * dy)
            if fall > 1 and amplitude / fall > other[MARGIN]:
                eater[j] = i
    return eater


@warm_up
def _warm_up() -> None:
    rows = np.ones((2, FIELDS))
    rows[0, FILTERED_FLUX] = 100.0
    rows[1, X] = 4.0
    rows[:, CXY] = 0.0
    eaten_by(rows, np.array([0, 1]))
