"""Outermost rows and columns that do not see the sky as the rest does: glowing, dark, or half read."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from recipes.frame import FloatArray

MOST = 16  # lines from each edge that are looked at
REFERENCE = 8  # lines further in that tell what is normal there
# Departure of a line's median in units of a pixel's noise: no chance (the median of 500 pixels is good to 0.06), and
# what would make false sources all along the edge.
LIMIT = 1.0


def find_bad_edges(signal: FloatArray, noise: FloatArray, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find lines at the edges of a frame whose sky differs from that further in.

    Parameters
    ----------
    signal : array
        Sky-subtracted pixels.
    noise : array
        Noise of the sky in each pixel.
    bad : array of bool
        Pixels to leave out.

    Returns
    -------
    array of bool
        True on the lines from each edge to the innermost that differs.
    """
    found = np.zeros(signal.shape, dtype=bool)
    deep = MOST + REFERENCE
    for turned, their_noise, their_bad, marked in (
        (signal, noise, bad, found),
        (signal[::-1], noise[::-1], bad[::-1], found[::-1]),
        (signal.T, noise.T, bad.T, found.T),
        (signal.T[::-1], noise.T[::-1], bad.T[::-1], found.T[::-1]),
    ):
        if turned.shape[0] < 4 * deep:
            continue
        ratio = np.where(their_bad[:deep], np.nan, turned[:deep] / their_noise[:deep])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a line without a good pixel
            medians = np.nanmedian(ratio, axis=1)
            usual = np.nanmedian(medians[MOST:])
        differs = np.flatnonzero(np.abs(medians[:MOST] - usual) > LIMIT)
        # A line that differs alone in the middle of good ones is a bad column, not the edge's doing.
        inward = [line for number, line in enumerate(differs) if line <= 2 * number + 1]
        if inward:
            marked[: inward[-1] + 1] = True
    return found
