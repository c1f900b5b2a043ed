"""Median-centred k-sigma clipping of samples: of an image's pixels, or of those of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes import threads


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
    """Return :func:`clipped_statistics` of the good pixels of each window of an image, shared among threads.

    A window of whole rows is not copied: let the largest come first, so that no thread is left alone with it.
    """
    from recipes.ccd.kernels import sample as kernels

    numbers = _as_numbers(image)
    wanted = np.zeros((0, 0), np.bool_) if good is None else np.require(good, np.bool_, ["C", "W"])

    def of_window(window: tuple[slice, slice]) -> SampleStatistics:
        rows, columns = window
        if not wanted.size and columns == slice(0, numbers.shape[1]):
            return SampleStatistics(*kernels.clipped(numbers[rows].ravel(), wanted.ravel(), threshold, iterations))
        bounds = rows.start, rows.stop, columns.start, columns.stop
        return SampleStatistics(*kernels.clipped_window(numbers, wanted, *bounds, threshold, iterations))

    return threads.each(of_window, windows)


def _as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array of float32 or float64 for the kernels: a view where it can be one."""
    wide = values.dtype.itemsize > 4 or (values.dtype.kind in "iu" and values.dtype.itemsize > 2)
    # Kernels are compiled for arrays that may be written, which numba takes for another type than read-only ones.
    contiguous = np.ascontiguousarray(values, np.float64 if wide else np.float32)
    return contiguous if contiguous.flags.writeable else contiguous.copy()
