"""Kernel that takes the light of sources out of a variance: the noise of the sky beneath them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, warm_up

_GROWN = 2  # pixels along the row by which what is bright is grown


@compiled
def without_sources(
    variance: NDArray[np.float32],
    signal: NDArray[np.float32],
    limit: NDArray[np.float32],
    photons: float,
    y0: int,
    y1: int,
    sky_variance: NDArray[np.float32],
) -> None:
    """Replace, in rows `y0` to `y1`, the variance where the signal is above `limit` by what is beside it in the row.

    Where it is not, `photons` times the signal is taken off: the pixel's own noise goes into its variance too, and the
    threshold would rise where the noise is high. Between the nearest pixels without light it is interpolated; a row
    that is all light stays. What is not above zero is as unknown as what has light, and stays 0 in a row that knows
    nothing.
    """
    width = variance.shape[1]
    slope = np.float32(photons)
    lit, of_sky = np.empty(width, np.bool_), np.empty(width, np.float32)
    for y in range(y0, y1):
        for x in range(width):
            lit[x] = False
        for x in range(width):
            if signal[y, x] > limit[y, x] or not variance[y, x] > 0:
                for near in range(max(0, x - _GROWN), min(width, x + _GROWN + 1)):
                    lit[near] = True
        for x in range(width):
            of_sky[x] = variance[y, x]
            if not lit[x] and variance[y, x] > slope * signal[y, x]:
                of_sky[x] = variance[y, x] - slope * signal[y, x]
        left = -1
        x = 0
        while x < width:
            if not lit[x]:
                sky_variance[y, x] = of_sky[x]
                left = x
                x += 1
                continue
            right = x
            while right < width and lit[right]:
                right += 1
            for place in range(x, right):
                if left >= 0 and right < width:
                    part = np.float32((place - left) / (right - left))
                    sky_variance[y, place] = of_sky[left] * (1 - part) + of_sky[right] * part
                elif left >= 0:
                    sky_variance[y, place] = of_sky[left]
                elif right < width:
                    sky_variance[y, place] = of_sky[right]
                else:
                    sky_variance[y, place] = max(variance[y, place], np.float32(0))
            x = right


@warm_up
def _warm_up() -> None:
    plane = np.ones((2, 8), np.float32)
    without_sources(plane, plane, plane, 0.0, 0, 2, np.empty((2, 8), np.float32))
