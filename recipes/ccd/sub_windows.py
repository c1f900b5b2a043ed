"""An image by 32 sub-windows: how flat it is, and how it differs from another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.clipping import SampleStatistics, clipped_statistics, window_statistics
from recipes.frame import FloatArray

# 32 sub-windows as Astro-WISE's quality control has them: 4 across, 8 along the longer side.
COLUMNS, ROWS = 4, 8
_FEWEST = 4


@dataclass(frozen=True)
class SubWindowStatistics:
    """Medians and standard deviations of the sub-windows."""

    medians: NDArray[np.float64]
    stdevs: NDArray[np.float64]

    @property
    def flatness(self) -> float:
        """Largest median less the smallest."""
        return float(np.ptp(self.medians)) if self.medians.size else float("nan")

    @property
    def largest_stdev(self) -> float:
        """Largest standard deviation within a sub-window."""
        return float(np.max(self.stdevs)) if self.stdevs.size else float("nan")


def sub_windows(shape: tuple[int, int], rows: int = 0, columns: int = 0) -> Iterator[tuple[slice, slice]]:
    """Yield the sub-windows of an image; 32 where `rows` and `columns` are not given, fewer of a tiny image."""
    if not rows or not columns:
        rows, columns = (ROWS, COLUMNS) if shape[0] >= shape[1] else (COLUMNS, ROWS)
    edges_y = np.unique(np.linspace(0, shape[0], rows + 1).astype(int))
    edges_x = np.unique(np.linspace(0, shape[1], columns + 1).astype(int))
    for y0, y1 in pairwise(edges_y):
        for x0, x1 in pairwise(edges_x):
            yield slice(int(y0), int(y1)), slice(int(x0), int(x1))


def sub_window_statistics(data: FloatArray, good: NDArray[np.bool_]) -> SubWindowStatistics:
    """Return the clipped statistics of the good pixels of each sub-window; those with hardly any are left out."""
    windows = list(sub_windows((data.shape[0], data.shape[1])))
    return _of_windows(window_statistics(data, None if good.all() else good, windows))


def whole_and_sub_window_statistics(
    data: FloatArray, good: NDArray[np.bool_]
) -> tuple[SampleStatistics, SubWindowStatistics]:
    """Return the clipped statistics of the good pixels of an image, and those of its sub-windows."""
    if not good.all():
        return clipped_statistics(data, good=good), sub_window_statistics(data, good)
    height, width = data.shape
    whole = slice(0, height), slice(0, width)
    first, *rest = window_statistics(data, None, [whole, *sub_windows((height, width))])
    return first, _of_windows(rest)


def _of_windows(found: Sequence[SampleStatistics]) -> SubWindowStatistics:
    known = [(statistics.median, statistics.stdev) for statistics in found if statistics.count >= _FEWEST]
    values = np.array(known, np.float64).reshape(-1, 2)
    return SubWindowStatistics(values[:, 0], values[:, 1])


def sub_window_difference(data: FloatArray, other: FloatArray, good: NDArray[np.bool_]) -> float:
    """Return the largest departure from 1 of the median ratio of two flats over the sub-windows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = data / other
    usable = good & np.isfinite(ratio)
    medians = [
        float(np.median(ratio[window][usable[window]]))
        for window in sub_windows((data.shape[0], data.shape[1]))
        if np.count_nonzero(usable[window]) >= _FEWEST
    ]
    return float(np.max(np.abs(np.array(medians) - 1.0))) if medians else float("nan")


def central_quarter(shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the middle half in both directions: a quarter of the area, least vignetted."""
    height, width = shape
    y0, x0 = height // 4, width // 4
    return slice(y0, max(y0 + 1, height - y0)), slice(x0, max(x0 + 1, width - x0))
