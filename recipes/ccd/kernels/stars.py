"""Kernel of the stars' sizes: the radius that holds half of a star's light."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up

_PARTS = 5  # of a pixel, along x and along y, at the edge of a circle
_EDGE = 0.75  # pixels nearer to a circle are taken in parts: more than half a diagonal
_EXACT = 1e-3  # pixel


@compiled
def _value(signal: Any, bad: Any, x: int, y: int, xc: float, yc: float) -> float:
    """Return the value of a pixel, for a bad one that of the pixel on the other side of the centre; 0 of neither."""
    if not bad[y, x]:
        return np.float64(signal[y, x])
    opposite_x, opposite_y = math.floor(2 * xc - x + 0.5), math.floor(2 * yc - y + 0.5)
    inside = 0 <= opposite_x < signal.shape[1] and 0 <= opposite_y < signal.shape[0]
    if inside and not bad[opposite_y, opposite_x]:
        return np.float64(signal[opposite_y, opposite_x])
    return 0.0


@compiled
def _light_within(signal: Any, bad: Any, xc: float, yc: float, radius: float) -> float:
    """Return the sum of the pixels in a circle that lies in the image."""
    total = 0.0
    for y in range(max(0, int(yc - radius)), min(signal.shape[0], int(yc + radius) + 2)):
        for x in range(max(0, int(xc - radius)), min(signal.shape[1], int(xc + radius) + 2)):
            distance = math.hypot(x - xc, y - yc)
            if distance >= radius + _EDGE:
                continue
            covered = 1.0
            if distance > radius - _EDGE:
                inside = 0
                for i in range(_PARTS):
                    for j in range(_PARTS):
                        dx, dy = x - xc + (i + 0.5) / _PARTS - 0.5, y - yc + (j + 0.5) / _PARTS - 0.5
                        inside += dx * dx + dy * dy < radius * radius
                covered = inside / _PARTS**2
            if covered > 0:
                total += covered * _value(signal, bad, x, y, xc, yc)
    return total


@compiled
def half_light_radii(signal: Any, bad: Any, x: Any, y: Any, reach: Any, radii: Any) -> None:
    """Fill the radius [pixel] of the circle that holds half of the light within `reach` of each centre.

    NaN where the outer circle leaves the image, or holds no light.
    """
    height, width = signal.shape
    for star in range(len(x)):
        xc, yc, outer = x[star], y[star], reach[star]
        radii[star] = np.nan
        if xc - outer < -0.5 or yc - outer < -0.5 or xc + outer > width - 0.5 or yc + outer > height - 0.5:
            continue
        half = 0.5 * _light_within(signal, bad, xc, yc, outer)
        if not half > 0:
            continue
        # The light grows outwards from the centre: the first of the rings that holds more than half is halved.
        low, high = 0.0, min(1.0, outer)
        while high < outer and _light_within(signal, bad, xc, yc, high) < half:
            low, high = high, min(high + 1.0, outer)
        while high - low > _EXACT:
            middle = 0.5 * (low + high)
            if _light_within(signal, bad, xc, yc, middle) < half:
                low = middle
            else:
                high = middle
        radii[star] = 0.5 * (low + high)


@warm_up
def _warm_up() -> None:
    signal, bad = np.ones((9, 9), np.float32), np.zeros((9, 9), np.bool_)
    half_light_radii(signal, bad, np.full(1, 4.0), np.full(1, 4.0), np.full(1, 3.0), np.empty(1))
