"""Kernels of the search for satellite trails: signal to noise in cells, and the votes of cells for lines."""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up

_FIVE, _ZERO = np.float32(5), np.float32(0)


@compiled
def bin_cells(signal: Any, noise: Any, bad: Any, side: int, total: Any, count: Any, first: int, end: int) -> None:
    """Sum the signal to noise, clipped at five, and the good pixels, of rows `first` to `end` of cells."""
    for row in range(first, end):
        for column in range(total.shape[1]):
            total[row, column], count[row, column] = 0.0, 0
        for y in range(row * side, row * side + side):
            for column in range(total.shape[1]):
                of_cell, good = _ZERO, 0
                for x in range(column * side, column * side + side):
                    if not bad[y, x]:
                        of_cell += min(max(signal[y, x] / noise[y, x], -_FIVE), _FIVE)
                        good += 1
                total[row, column] += of_cell
                count[row, column] += good


@compiled
def vote(cells: Any, angles: Any, reach: int, total: Any, number: Any, first: int, end: int) -> None:
    """Sum the known cells along all lines of the angles `first` to `end`: x cos + y sin = distance - `reach`."""
    height, width = cells.shape
    for index in range(first, end):
        total[index, :], number[index, :] = 0.0, 0
        cosine, sine = np.cos(angles[index]), np.sin(angles[index])
        for y in range(height):
            start = y * sine + reach + 0.5
            for x in range(width):
                value = cells[y, x]
                if not np.isnan(value):
                    line = int(start + x * cosine)
                    total[index, line] += value
                    number[index, line] += 1


@compiled
def near_line(shape: Any, cosine: float, sine: float, distance: float, margin: float, bad: Any) -> tuple[Any, Any]:
    """Return rows and columns of the good pixels within `margin` of the line x cos + y sin = distance."""
    height, width = shape
    room = 1024
    rows, columns = np.empty(room, np.int32), np.empty(room, np.int32)
    count = 0
    for y in range(height):
        if abs(cosine) > 1e-9:
            one, other = (distance - margin - y * sine) / cosine, (distance + margin - y * sine) / cosine
            first, last = max(int(np.ceil(min(one, other))), 0), min(int(np.floor(max(one, other))), width - 1)
        elif abs(y * sine - distance) <= margin:
            first, last = 0, width - 1
        else:
            continue
        if last < first:
            continue
        while count + last - first + 1 > room:
            longer_rows, longer_columns = np.empty(2 * room, np.int32), np.empty(2 * room, np.int32)
            longer_rows[:count], longer_columns[:count] = rows[:count], columns[:count]
            rows, columns, room = longer_rows, longer_columns, 2 * room
        for x in range(first, last + 1):
            if not bad[y, x]:
                rows[count], columns[count] = y, x
                count += 1
    return rows[:count], columns[:count]


@warm_up
def _compile() -> None:
    signal, bad = np.ones((8, 8), np.float32), np.zeros((8, 8), np.bool_)
    total, count = np.empty((4, 4)), np.empty((4, 4), np.int64)
    bin_cells(signal, signal, bad, 2, total, count, 0, 4)
    vote(total, np.array([0.3, 0.7]), 8, np.empty((2, 16)), np.empty((2, 16), np.int32), 0, 2)
    near_line((8, 8), 0.6, 0.8, 3.0, 1.0, bad)
