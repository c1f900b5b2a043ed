"""Kernels of smooth backgrounds: medians of boxes, columns and rows, and what is interpolated between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.ccd.kernels.sample import median_of

_BLOCK = 16


@compiled
def column_medians(data: Any, good: Any, level: float, rows: Any, medians: Any, usable: Any) -> None:
    """Fill the medians of the columns less `level` over some rows; what is not good counts as the level.

    Parameters
    ----------
    data, good : array of float32, array of bool, rows x columns
        Image, and which of its pixels are to be used.
    rows : array of int
        Which rows to look at.
    medians, usable : array of float32, array of bool, one a column
        Filled: the second tells whether more than half of those pixels are good.
    """
    buffer = np.empty((_BLOCK, len(rows)), np.float32)
    counts = np.zeros(_BLOCK, np.int64)
    columns = data.shape[1]
    for start in range(0, columns, _BLOCK):
        width = min(_BLOCK, columns - start)
        counts[:] = 0
        for number in range(len(rows)):
            for x in range(width):
                fit = good[rows[number], start + x]
                buffer[x, number] = data[rows[number], start + x] - level if fit else np.float32(0)
                counts[x] += fit
        for x in range(width):
            medians[start + x] = median_of(buffer[x], len(rows))
            usable[start + x] = counts[x] > 0.5 * len(rows)


@compiled
def row_medians(data: Any, good: Any, level: float, of_columns: Any, columns: Any, medians: Any, usable: Any) -> None:
    """Fill the medians of the rows less `level` and the columns' part, over some columns; see above."""
    buffer = np.empty(len(columns), np.float32)
    for y in range(data.shape[0]):
        count = 0
        for number in range(len(columns)):
            x = columns[number]
            fit = good[y, x]
            buffer[number] = data[y, x] - level - of_columns[x] if fit else np.float32(0)
            count += fit
        medians[y] = median_of(buffer, len(columns))
        usable[y] = count > 0.5 * len(columns)


@compiled
def box_medians(
    data: Any, good: Any, level: float, of_columns: Any, of_rows: Any, edges_y: Any, edges_x: Any, first: int,
    end: int, least: float, medians: Any,
) -> None:  # fmt: skip
    """Fill the medians of the boxes' good pixels less level, columns and rows, in the rows of boxes from `first` on.

    A box of whose pixels no more than the part `least` is good gets NaN.
    """
    largest_y, largest_x = 0, 0
    for row in range(len(edges_y) - 1):
        largest_y = max(largest_y, edges_y[row + 1] - edges_y[row])
    for column in range(len(edges_x) - 1):
        largest_x = max(largest_x, edges_x[column + 1] - edges_x[column])
    buffer = np.empty(largest_y * largest_x + 1, np.float32)
    for row in range(first, end):
        for column in range(len(edges_x) - 1):
            number = 0
            for y in range(edges_y[row], edges_y[row + 1]):
                base = np.float32(level + of_rows[y])
                for x in range(edges_x[column], edges_x[column + 1]):
                    buffer[number] = data[y, x] - base - of_columns[x]
                    number += good[y, x]
            area = (edges_y[row + 1] - edges_y[row]) * (edges_x[column + 1] - edges_x[column])
            medians[row, column] = median_of(buffer, number) if number > least * area else np.nan


@compiled
def interpolated(
    level: float, of_columns: Any, of_rows: Any, along_x: Any, left: Any, fraction: Any, y0: int, y1: int, out: Any
) -> None:
    """Fill rows of the background: level, columns, rows, and the mesh, of which `along_x` is each row of boxes."""
    last = along_x.shape[0] - 1
    for y in range(y0, y1):
        low, high = along_x[left[y]], along_x[min(left[y] + 1, last)]
        weight = np.float32(fraction[y])
        base = np.float32(level + of_rows[y])
        line = out[y]
        for x in range(out.shape[1]):
            line[x] = base + of_columns[x] + (low[x] + weight * (high[x] - low[x]))


@compiled
def subtract_interpolated(
    data: Any, level: float, of_columns: Any, of_rows: Any, along_x: Any, left: Any, fraction: Any, y0: int, y1: int,
    out: Any,
) -> None:  # fmt: skip
    """Fill rows of the image less its background."""
    interpolated(level, of_columns, of_rows, along_x, left, fraction, y0, y1, out)
    for y in range(y0, y1):
        line, of_data = out[y], data[y]
        for x in range(out.shape[1]):
            line[x] = of_data[x] - line[x]


@compiled
def mark_outliers(flat: Any, good: Any, centre: float, limit: float, y0: int, y1: int, found: Any) -> int:
    """Fill `found` with which pixels are not good or farther than `limit` from the centre; return how many changed."""
    changed = 0
    middle, farthest = np.float32(centre), np.float32(limit)
    for y in range(y0, y1):
        for x in range(flat.shape[1]):
            out = (abs(flat[y, x] - middle) > farthest) | (not good[y, x])
            changed += out != found[y, x]
            found[y, x] = out
    return changed


@compiled
def mark_ratios(
    data: Any, smooth: Any, known: Any, low: float, high: float, y0: int, y1: int, found: Any
) -> tuple[int, int]:
    """Fill `found` with the known pixels outside [low, high] of `smooth`; return how many changed and are high."""
    changed, bright = 0, 0
    for y in range(y0, y1):
        for x in range(data.shape[1]):
            value, of_smooth = data[y, x], smooth[y, x]
            ratio = value / of_smooth if of_smooth != 0 else np.float32(np.nan)
            out = known[y, x] & (not ((ratio >= low) & (ratio <= high)))
            changed += out != found[y, x]
            bright += out & (ratio > high)
            found[y, x] = out
    return changed, bright


@warm_up
def warm() -> None:
    """Compile for float32 images."""
    data, good = np.ones((2, 2), np.float32), np.ones((2, 2), np.bool_)
    lines, edges, usable = np.zeros(2, np.float32), np.array([0, 2]), np.zeros(2, np.bool_)
    column_medians(data, good, 0.0, np.arange(2), lines, usable)
    row_medians(data, good, 0.0, lines, np.arange(2), lines.copy(), usable)
    box_medians(data, good, 0.0, lines, lines, edges, edges, 0, 1, 0.1, np.zeros((1, 1)))
    along = np.zeros((1, 2), np.float32)
    of_rows = np.zeros(2, np.int64), np.zeros(2)
    subtract_interpolated(data, 0.0, lines, lines, along, *of_rows, 0, 2, np.zeros((2, 2), np.float32))
    mark_outliers(data, good, 0.0, 1.0, 0, 2, good.copy())
    mark_ratios(data, data, good, 0.9, 1.1, 0, 2, good.copy())
