"""Kernels of pairs of exposures: how often each difference comes, and the photon transfer of sub-windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.ccd.kernels.lanes import swapped
from recipes.ccd.kernels.sample import MAD_TO_SIGMA, clipped, median_of

# Differences of 16-bit numbers lie from -OFFSET to OFFSET.
OFFSET = 65535
_PILOT, _LANES = 256, 64
# Columns of what `window_transfers` fills.
LEVEL, SIGNAL, VARIANCE, FACTOR, NUMBER = range(5)


@compiled
def count_differences(one: Any, two: Any, x0: int, x1: int, counts: Any) -> None:
    """Count how often each difference (plus OFFSET) of two blocks of stored big-endian rows comes."""
    for y in range(one.shape[0]):
        for x in range(x0, x1):
            counts[np.int64(swapped(one[y, x])) - np.int64(swapped(two[y, x])) + OFFSET] += 1


@compiled
def _is_piled_up(values: Any, number: int, part: float) -> bool:
    """Whether values pile up at their largest one, as at saturation, instead of thinning out towards it."""
    top = values[0]
    for place in range(number):
        top = max(top, values[place])
    at_top, near = 0, 0
    for place in range(number):
        at_top += values[place] >= top - 0.5
        near += values[place] >= top - 1.5
    return at_top > max(8.0, part * number) and at_top > near - at_top


@compiled
def rough_limits(values: Any, threshold: float) -> tuple[float, float]:
    """Return the median less and plus `threshold` sigma (1.4826 MAD) as some hundred of the values tell them.

    Good to a tenth of sigma: enough to say what lies far outside, from which means and slopes are to be kept.
    """
    step = max(1, len(values) // _PILOT) | 1
    pilot = np.empty(len(values) // step + 1, np.float32)
    number = 0
    for place in range(0, len(values), step):
        pilot[number] = values[place]
        number += 1
    median = median_of(pilot, number)
    for place in range(number):
        pilot[place] = abs(pilot[place] - median)
    # Whole numbers may have a MAD of nought.
    margin = threshold * max(MAD_TO_SIGMA * median_of(pilot, number), 1.0)
    return median - margin, median + margin


@compiled
def _mean_within(values: Any, low: float, high: float) -> float:
    """Return the mean of the values from `low` to `high`, NaN of none."""
    sums, counts = np.zeros(_LANES), np.zeros(_LANES, np.int64)
    for start in range(0, len(values), _LANES):
        part = values[start : start + _LANES]
        for lane in range(len(part)):
            inside = (part[lane] >= low) & (part[lane] <= high)
            sums[lane] += part[lane] if inside else 0.0
            counts[lane] += inside
    number = counts.sum()
    return sums.sum() / number if number else np.nan


@compiled
def subtract_plane(values: Any, number: int, rows: Any, columns: Any, low: float, high: float) -> None:
    """Subtract the plane fitted to the values from `low` to `high`, unless they lie on one line."""
    sums = np.zeros(9)
    row_0, column_0 = rows[0], columns[0]
    for place in range(number):
        value = np.float64(values[place])
        if low <= value <= high:
            y, x = np.float64(rows[place] - row_0), np.float64(columns[place] - column_0)
            sums[0] += 1
            sums[1] += y
            sums[2] += x
            sums[3] += value
            sums[4] += y * y
            sums[5] += x * x
            sums[6] += x * y
            sums[7] += y * value
            sums[8] += x * value
    kept = sums[0]
    if kept < 4:
        return
    of_y, of_x, of_value = sums[1] / kept, sums[2] / kept, sums[3] / kept
    yy, xx, xy = sums[4] - kept * of_y * of_y, sums[5] - kept * of_x * of_x, sums[6] - kept * of_x * of_y
    determinant = yy * xx - xy * xy
    if determinant <= 1e-6 * kept * kept:
        return
    by_y, by_x = sums[7] - kept * of_y * of_value, sums[8] - kept * of_x * of_value
    slope_y, slope_x = (by_y * xx - by_x * xy) / determinant, (by_x * yy - by_y * xy) / determinant
    for place in range(number):
        plane = of_value + slope_y * (rows[place] - row_0 - of_y) + slope_x * (columns[place] - column_0 - of_x)
        values[place] -= plane


@compiled
def window_transfers(
    first: Any, second: Any, good: Any, edges_y: Any, edges_x: Any, row: int, least: float, piled_up: float,
    threshold: float, iterations: int, out: Any,
) -> None:  # fmt: skip
    """Fill the transfers of a row of sub-windows: level, signal, variance, noise factor and number of pixels (0: none).

    Parameters
    ----------
    first, second, good : array, rows x columns
        Two debiased flats, and the pixels to use.
    edges_y, edges_x : array of int
        Where the sub-windows begin and end.
    row : int
        Which row of them.
    least, piled_up : float
        Part of its pixels that a sub-window needs; part at the largest value from which on it is saturated.
    threshold, iterations : float, int
        Of the clip.
    out : array of float64, columns of sub-windows x 5
        Filled.
    """
    y0, y1 = edges_y[row], edges_y[row + 1]
    none = np.zeros(0, np.bool_)
    for column in range(len(edges_x) - 1):
        x0, x1 = edges_x[column], edges_x[column + 1]
        area = (y1 - y0) * (x1 - x0)
        one, two = np.empty(area, np.float32), np.empty(area, np.float32)
        rows, columns = np.empty(area, np.int32), np.empty(area, np.int32)
        number = 0
        for y in range(y0, y1):
            for x in range(x0, x1):
                if good[y, x]:
                    one[number], two[number], rows[number], columns[number] = first[y, x], second[y, x], y, x
                    number += 1
        out[column, NUMBER] = 0
        if number < max(16.0, least * area):
            continue
        one, two = one[:number], two[:number]
        if _is_piled_up(one, number, piled_up) or _is_piled_up(two, number, piled_up):
            continue
        level_one = _mean_within(one, *rough_limits(one, threshold))
        level_two = _mean_within(two, *rough_limits(two, threshold))
        if not (level_one > 0 and level_two > 0):
            continue
        ratio = level_one / level_two
        for place in range(number):
            one[place] -= np.float32(ratio) * two[place]
        # A twilight sky slopes.
        low, high = rough_limits(one, threshold)
        subtract_plane(one, number, rows, columns, low, high)
        _, _, spread, kept = clipped(one, none, threshold, iterations)
        out[column, LEVEL], out[column, SIGNAL] = level_one, level_one * (1 + ratio)
        out[column, VARIANCE], out[column, FACTOR], out[column, NUMBER] = spread * spread, 1 + ratio * ratio, kept


@warm_up
def warm() -> None:
    """Compile for stored rows and for float32 flats."""
    stored = np.zeros((1, 2), np.uint16)
    count_differences(stored, stored, 0, 2, np.zeros(2 * OFFSET + 1, np.int64))
    flat, edges = np.ones((5, 5), np.float32), np.array([0, 5])
    window_transfers(flat, flat, np.ones((5, 5), np.bool_), edges, edges, 0, 0.5, 2.0, 5.0, 5, np.zeros((1, 5)))
