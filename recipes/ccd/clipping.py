"""Median-centred k-sigma clipping: of one sample, and of a stack pixel by pixel.

Centred on the median, never the mean: of ten frames a mean-centred 3-sigma clip can reject nothing, since a single
outlier lies at most (n-1)/sqrt(n) = 2.85 standard deviations from the mean that it shifts itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes import threads

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class SampleStatistics:
    """Statistics of what a clip left of a sample."""

    median: float
    mean: float
    stdev: float
    count: int


def clipped_statistics(
    values: NDArray[Any], threshold: float = 5.0, iterations: int = 5, good: NDArray[np.bool_] | None = None
) -> SampleStatistics:
    """Return the statistics of `values` without those farther than `threshold` sigma from the median.

    Sigma is 1.4826 MAD at first (or, where more than half of the values are equal, the standard deviation), then the
    rms about the median of what is left; what is no number is not counted. Sums are in double precision.

    Parameters
    ----------
    values : array
        Sample of any shape.
    threshold : float
        In units of sigma.
    iterations : int
        Rounds at most; it ends earlier when nothing more is rejected.
    good : array of bool of that shape, optional
        Which values count.

    Returns
    -------
    SampleStatistics
        Median, mean, standard deviation and number of the values kept; NaN and 0 of an empty sample.
    """
    from recipes.ccd.kernels import sample as kernels

    numbers = _as_numbers(values)
    wanted = np.zeros(0, np.bool_) if good is None else np.require(good, np.bool_, ["C", "W"]).ravel()
    found = kernels.clipped(numbers.ravel(), wanted, threshold, iterations)
    return SampleStatistics(*found)


def window_statistics(
    image: NDArray[Any],
    good: NDArray[np.bool_] | None,
    windows: Sequence[tuple[slice, slice]],
    threshold: float = 5.0,
    iterations: int = 5,
) -> list[SampleStatistics]:
    """Return :func:`clipped_statistics` of the good pixels of each window of an image, shared among threads."""
    from recipes.ccd.kernels import sample as kernels

    numbers = _as_numbers(image)
    wanted = np.zeros((0, 0), np.bool_) if good is None else np.require(good, np.bool_, ["C", "W"])

    def of_window(window: tuple[slice, slice]) -> SampleStatistics:
        rows, columns = window
        bounds = rows.start, rows.stop, columns.start, columns.stop
        return SampleStatistics(*kernels.clipped_window(numbers, wanted, *bounds, threshold, iterations))

    return threads.each(of_window, windows)


def _as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array of float32 or float64 for the kernels: a view where it can be one."""
    wide = values.dtype.itemsize > 4 or (values.dtype.kind in "iu" and values.dtype.itemsize > 2)
    # Kernels are compiled for arrays that may be written, which numba takes for another type than read-only ones.
    contiguous = np.ascontiguousarray(values, np.float64 if wide else np.float32)
    return contiguous if contiguous.flags.writeable else contiguous.copy()


@dataclass(frozen=True)
class StackMean:
    """What a clip left of a stack, pixel by pixel: mean, number and sum of weights of the accepted values, their
    median, and the number rejected."""

    mean: FloatArray
    count: NDArray[np.int16]
    median: FloatArray
    rejected: NDArray[np.int16]
    weight: FloatArray


Sigma = float | FloatArray | Callable[[FloatArray], FloatArray]


def clipped_mean(
    stack: FloatArray,
    sigma: Sigma,
    threshold: float,
    valid: NDArray[np.bool_] | None = None,
    iterations: int = 5,
    weights: Sequence[float] | None = None,
) -> StackMean:
    """Return the mean over a stack without the values farther than `threshold` x `sigma` from the pixel's median.

    Parameters
    ----------
    stack : array of float32, frames x rows x columns
        Is not changed.
    sigma : float, array, or function
        Standard deviation of the values, in a shape that broadcasts to the stack's; a function gets the medians.
    threshold : float
        In units of sigma.
    valid : array of bool like `stack`, optional
        False where a value must not be used.
    iterations : int
        The median is taken anew from what is left, until nothing more is rejected or so many times.
    weights : sequence of float, optional
        Weight of each frame in the mean; 1 by default.

    Returns
    -------
    StackMean
        Mean and median are NaN, the count 0 where there was no valid value.
    """
    median, valid_count = stack_median(stack, valid)
    given = np.asarray(sigma(median) if callable(sigma) else sigma, np.float32)
    limit = np.broadcast_to(np.float32(threshold) * given, stack.shape)
    total = np.zeros(median.shape, np.float32)
    suspect = valid_count < len(stack)
    weight_of = np.ones(len(stack), np.float32) if weights is None else np.asarray(weights, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for values, allowed, weight in zip(stack, limit, weight_of, strict=True):
            # Sums about the median keep their digits in float32.
            deviation = values - median
            total += deviation if weights is None else deviation * weight
            suspect |= ~(np.abs(deviation) <= allowed)
        mean = median + total / weight_of.sum(dtype=np.float32)
    count = valid_count.astype(np.int16)
    weight_sum = np.full(median.shape, weight_of.sum(dtype=np.float32), np.float32)
    where = np.nonzero(suspect)
    if len(where[0]):
        columns = np.stack([plane[where] for plane in stack])
        limits = np.stack([plane[where] for plane in limit])
        usable = np.isfinite(columns) if valid is None else np.stack([plane[where] for plane in valid])
        kept, median[where] = _clip_columns(columns, limits, usable, median[where], iterations)
        count[where] = np.count_nonzero(kept, axis=0)
        weight_sum[where] = weight_of @ kept
        mean[where] = _mean_of_kept(columns, kept, median[where], weight_of)
    return StackMean(mean, count, median, (valid_count - count).astype(np.int16), weight_sum)


def stack_median(stack: FloatArray, valid: NDArray[np.bool_] | None = None) -> tuple[FloatArray, NDArray[np.int16]]:
    """Return the median over the valid values of each pixel (NaN where there are none) and their number."""
    frames = len(stack)
    if valid is None or valid.all():
        middle = sorted_lanes(stack)
        median = (middle[(frames - 1) // 2] + middle[frames // 2]) * np.float32(0.5)
        return median, np.full(stack.shape[1:], frames, np.int16)
    lanes = sorted_lanes(np.where(valid, stack, np.float32(np.inf)))
    numbers = np.count_nonzero(valid, axis=0).astype(np.int16)
    median = (lanes[(frames - 1) // 2] + lanes[frames // 2]) * np.float32(0.5)
    where = np.nonzero(numbers < frames)
    if len(where[0]):
        columns = np.stack([lane[where] for lane in lanes])
        median[where] = _median_of_sorted(columns, numbers[where].astype(np.intp))
    return median, numbers


def sorted_lanes(stack: FloatArray) -> list[FloatArray]:
    """Return the planes of a stack sorted pixel by pixel, lowest first.

    A sorting network of whole planes (Batcher's merge exchange; Knuth, The Art of Computer Programming 3, 5.2.2
    algorithm M): each step is one minimum and one maximum of two planes, which numpy does at the memory's speed, twenty
    times as fast as sorting along the first axis.
    """
    lanes = [np.asarray(plane) for plane in stack]
    for low, high in sorting_network(len(lanes)):
        smaller = np.minimum(lanes[low], lanes[high])
        lanes[high] = np.maximum(lanes[low], lanes[high])
        lanes[low] = smaller
    return lanes


@cache
def sorting_network(size: int) -> tuple[tuple[int, int], ...]:
    """Return the comparisons (lower place, higher place) that sort so many values, in order."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max(size - 1, 1).bit_length() - 1
    step = top
    while step > 0:
        merge, offset, bit = top, step, 0
        while True:
            pairs += [(index, index + offset) for index in range(size - offset) if index & step == bit]
            if merge == step:
                break
            offset, merge, bit = merge - step, merge >> 1, step
        step >>= 1
    return tuple(pairs)


def _clip_columns(
    columns: FloatArray, limits: FloatArray, usable: NDArray[np.bool_], median: FloatArray, iterations: int
) -> tuple[NDArray[np.bool_], FloatArray]:
    """Return what is kept of the few pixels in which something lies outside (frames x pixels), and its median."""
    kept = usable.copy()
    for _ in range(iterations):
        with np.errstate(invalid="ignore"):
            inside = kept & (np.abs(columns - median) <= limits)
        # Where the median itself falls between two groups nothing would be left: such a pixel keeps what it had.
        inside = np.where(inside.any(axis=0), inside, kept)
        if np.array_equal(inside, kept):
            break
        kept = inside
        numbers = np.count_nonzero(kept, axis=0)
        median = _median_of_sorted(np.sort(np.where(kept, columns, np.float32(np.inf)), axis=0), numbers)
    return kept, median


def _mean_of_kept(columns: FloatArray, kept: NDArray[np.bool_], median: FloatArray, weights: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = np.where(kept, columns - median, np.float32(0)) * weights[:, np.newaxis]
        mean = median + np.sum(deviations, axis=0, dtype=np.float32) / (weights @ kept)
    return np.where(kept.any(axis=0), mean, np.float32(np.nan)).astype(np.float32)


def _median_of_sorted(columns: FloatArray, numbers: NDArray[np.intp]) -> FloatArray:
    """Return the median of the first `numbers` values of each sorted column, NaN of none."""
    low = np.maximum(numbers - 1, 0) // 2
    high = np.minimum(numbers // 2, len(columns) - 1)
    picked = np.take_along_axis(columns, np.stack([low, high]), axis=0)
    return np.where(numbers > 0, (picked[0] + picked[1]) * np.float32(0.5), np.float32(np.nan)).astype(np.float32)
