"""Maps of bad pixels: outliers from a smooth background, what a map counts, and how it differs from the one before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.background import smooth_background
from recipes.ccd.clipping import clipped_statistics
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray
from recipes.quality import Measured

BoolArray = NDArray[np.bool_]


def outliers(data: FloatArray, good: BoolArray, threshold: float, iterations: int, box: int) -> tuple[BoolArray, float]:
    """Return the pixels farther than `threshold` sigma from the smooth background, and that sigma.

    Background and sigma are taken anew without the outliers found, until none is added or `iterations` times.
    """
    found = ~good
    sigma = float("nan")
    for _ in range(iterations):
        flattened = data - smooth_background(data, ~found, box)
        statistics = clipped_statistics(flattened[~found], threshold)
        sigma = statistics.stdev
        now = (np.abs(flattened - np.float32(statistics.median)) > threshold * sigma) | ~good
        if np.array_equal(now, found):
            break
        found = now
    return found & good, sigma


def count_measured(mask: MaskArray, bit: int, previous: Frame | None) -> list[Measured]:
    """Return the QC values of a map: how many pixels carry `bit`, and the difference from the map before."""
    count = int(np.count_nonzero(mask & bit))
    measured = [
        Measured("count", count, unit="pixel"),
        Measured("count_fraction", count / mask.size),
    ]
    if previous is not None:
        if previous.shape != mask.shape:
            raise UsageError(f"the previous map {previous.name} has another shape: {previous.shape}")
        before = previous.mask & np.uint16(bit)
        difference = count - int(np.count_nonzero(before))
        changed = int(np.count_nonzero(before ^ (mask & np.uint16(bit))))
        measured += [
            Measured("count_difference", difference, unit="pixel"),
            Measured("count_difference_fraction", difference / mask.size),
            Measured("changed", changed, unit="pixel"),
        ]
    return measured
