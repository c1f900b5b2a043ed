"""Overscan levels of raw rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.ccd.kernels.lanes import INFINITY, NAN, swapped

_HALF = np.float32(0.5)


@compiled
def row_medians(stored: Any, numbers: Any, zeros: Any, x0: int, x1: int, levels: Any) -> None:
    """Fill `levels` (frames x rows) with the medians of the raw columns `x0` to `x1`; NaN where nothing is a number."""
    frames, rows = levels.shape
    column = np.empty(x1 - x0, np.float32)
    for frame in range(frames):
        for row in range(rows):
            number = 0
            for x in range(x0, x1):
                if stored.shape[0]:
                    value = np.float32(swapped(stored[frame, row, x])) + zeros[frame]
                else:
                    value = numbers[frame, row, x]
                if abs(value) < INFINITY:
                    place = number
                    while place > 0 and column[place - 1] > value:
                        column[place] = column[place - 1]
                        place -= 1
                    column[place] = value
                    number += 1
            levels[frame, row] = _HALF * (column[(number - 1) // 2] + column[number // 2]) if number else NAN


@warm_up
def warm() -> None:
    """Compile for the types that the stack uses."""
    levels = np.zeros((2, 1), np.float32)
    row_medians(np.zeros((2, 1, 4), np.uint16), np.zeros((0, 1, 4), np.float32), np.ones(2, np.float32), 2, 4, levels)
