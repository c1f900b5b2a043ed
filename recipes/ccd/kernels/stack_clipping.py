"""The clip of the stack: which pixels may hold a value outside the limits, and what is left of those one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled

_ZERO = np.float32(0)
_HALF = np.float32(0.5)


@compiled
def add_deviations(lane: Any, median: Any, width: int, total: Any) -> None:
    """Add a lane's deviations from the median to `total`."""
    for x in range(width):
        total[x] += lane[x] - median[x]


@compiled
def add_weighted(
    lane: Any, median: Any, norm: np.float32, constant: np.float32, slope: np.float32, width: int, total: Any,
    suspect: Any,
) -> None:  # fmt: skip
    """Add weighted deviations to `total`, and mark pixels whose squared deviation exceeds constant + slope x median."""
    for x in range(width):
        deviation = (lane[x] - median[x]) * norm
        total[x] += deviation
        light = median[x] if median[x] > _ZERO else _ZERO
        suspect[x] |= not (deviation * deviation <= constant + slope * light)


@compiled
def mark_extremes(lowest: Any, highest: Any, median: Any, limit: np.float32, width: int, suspect: Any) -> None:
    """Mark the pixels whose lowest or highest value is farther than `limit` from the median."""
    for x in range(width):
        suspect[x] |= (median[x] - lowest[x] > limit) | (highest[x] - median[x] > limit)


@compiled
def clip_sorted(
    lanes: Any, x: int, number: int, centre: np.float32, total: float, limit: np.float32, iterations: int
) -> tuple[float, int]:
    """Return mean and number of what a clip leaves of one pixel's sorted values; `total` is the sum about `centre`."""
    first, end = 0, number
    for _ in range(iterations):
        median = _HALF * (lanes[(first + end - 1) // 2, x] + lanes[(first + end) // 2, x])
        low, high = first, end
        while low < high and median - lanes[low, x] > limit:
            low += 1
        while high > low and lanes[high - 1, x] - median > limit:
            high -= 1
        # Where the median itself falls between two groups nothing would be left: such a pixel keeps what it had.
        if low == high or (low == first and high == end):
            break
        for frame in range(first, low):
            total -= np.float64(lanes[frame, x] - centre)
        for frame in range(high, end):
            total -= np.float64(lanes[frame, x] - centre)
        first, end = low, high
    return np.float64(centre) + total / (end - first), end - first


@compiled
def clip_weighted(
    lanes: Any, x: int, norms: Any, constant: np.float32, slope: np.float32, iterations: int, kept: Any, column: Any
) -> tuple[float, int]:
    """Clip one pixel's values with limits and weights of their own; return the mean, their number, and fill `kept`."""
    frames = lanes.shape[0]
    number = 0
    for frame in range(frames):
        kept[frame] = lanes[frame, x] == lanes[frame, x]
        number += kept[frame]
    if number == 0:
        return 0.0, 0
    for _ in range(iterations):
        median = _median_of_kept(lanes, x, kept, column)
        light = max(median, _ZERO)
        left = 0
        for frame in range(frames):
            deviation = (lanes[frame, x] - median) * norms[frame]
            left += kept[frame] and deviation * deviation <= constant + slope * norms[frame] * light
        if left in (0, number):
            break
        for frame in range(frames):
            deviation = (lanes[frame, x] - median) * norms[frame]
            kept[frame] = kept[frame] and deviation * deviation <= constant + slope * norms[frame] * light
        number = left
    total, weight = 0.0, 0.0
    for frame in range(frames):
        if kept[frame]:
            total += np.float64(lanes[frame, x]) * np.float64(norms[frame])
            weight += np.float64(norms[frame])
    return total / weight, number


@compiled
def _median_of_kept(lanes: Any, x: int, kept: Any, column: Any) -> np.float32:
    number = 0
    for frame in range(lanes.shape[0]):
        if kept[frame]:
            value = lanes[frame, x]
            place = number
            while place > 0 and column[place - 1] > value:
                column[place] = column[place - 1]
                place -= 1
            column[place] = value
            number += 1
    return np.float32(_HALF * (column[(number - 1) // 2] + column[number // 2]))
