"""Maps of bad pixels: outliers from a smooth background, what a map counts, and how it differs from the one before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.background import SmoothBackground
from recipes.ccd.clipping import clipped_statistics
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray, strip_bounds
from recipes.quality import Measured

BoolArray = NDArray[np.bool_]

_ROWS_OF_A_PIECE = 256


def outliers(data: FloatArray, good: BoolArray, threshold: float, iterations: int, box: int) -> tuple[BoolArray, float]:
    """Return the pixels farther than `threshold` sigma from the smooth background, and that sigma.

    Background and sigma are taken anew without the outliers found, until none is added or `iterations` times.
    """
    from recipes.ccd.kernels import mesh as kernels

    found, fit = ~good, np.array(good)
    background = SmoothBackground(data, good, box)
    flat = background.subtracted()
    sigma = float("nan")
    for _ in range(iterations):
        statistics = clipped_statistics(flat, threshold, good=fit)
        sigma = statistics.stdev
        limits = statistics.median, threshold * sigma

        def mark(rows: tuple[int, int], limits: tuple[float, float] = limits) -> int:
            return int(kernels.mark_outliers(flat, good, *limits, *rows, found))

        if not sum(threads.each(mark, strip_bounds(data.shape[0], _ROWS_OF_A_PIECE))):
            break
        fit = ~found
        if background.follow(fit):
            background.subtracted(flat)
    return found & good, sigma


def mark_far_from(
    smooth: FloatArray, data: FloatArray, known: BoolArray, limits: tuple[float, float], found: BoolArray
) -> tuple[int, int]:
    """Set `found` where a known pixel lies outside the limits, as parts of the smooth image.

    Returns
    -------
    changed, bright : int
        How many of `found` changed, and how many lie above the upper limit.
    """
    from recipes.ccd.kernels import mesh as kernels

    numbers = np.require(data, np.float32, ["C", "W"])
    counts = threads.each(
        lambda rows: kernels.mark_ratios(numbers, smooth, known, *limits, *rows, found),
        strip_bounds(data.shape[0], _ROWS_OF_A_PIECE),
    )
    changed, bright = (sum(part) for part in zip(*counts, strict=True))
    return int(changed), int(bright)


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
