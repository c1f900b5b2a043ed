"""Lanes: some hundred neighbouring pixels of a frame, filled from its stored numbers, changed, sorted with others.

Lanes of all frames of a stack stay in the processor's inner cache, and each loop over one runs in its vector units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled

NAN = np.float32(np.nan)
INFINITY = np.float32(np.inf)


@compiled
def swapped(stored: np.uint16) -> np.int16:
    """Return the signed number of a big-endian one."""
    return np.int16(np.uint16((stored << np.uint16(8)) | (stored >> np.uint16(8))))


@compiled
def sort_lanes(lanes: Any, pairs: Any, width: int) -> None:
    """Sort the lanes pixel by pixel, lowest first, by the comparisons of a sorting network."""
    for number in range(pairs.shape[0]):
        low, high = lanes[pairs[number, 0]], lanes[pairs[number, 1]]
        for x in range(width):
            one, two = low[x], high[x]
            low[x] = one if one < two else two
            high[x] = two if one < two else one


@compiled
def fill_from_stored(stored: Any, zero: np.float32, width: int, lane: Any) -> None:
    """Fill a lane with big-endian 16-bit numbers plus `zero`."""
    for x in range(width):
        lane[x] = np.float32(swapped(stored[x])) + zero


@compiled
def copy_lane(lane: Any, width: int, copy: Any) -> None:
    """Copy a lane."""
    for x in range(width):
        copy[x] = lane[x]


@compiled
def copy_with_gaps(lane: Any, width: int, copy: Any, missing: Any) -> None:
    """Copy a lane with infinity for what is no number, which is counted, and made NaN."""
    for x in range(width):
        number = abs(lane[x]) < INFINITY
        missing[x] += not number
        copy[x] = lane[x] if number else INFINITY
        if not number:
            lane[x] = NAN


@compiled
def subtract_level(lane: Any, level: np.float32, width: int) -> None:
    """Subtract a number from a lane."""
    for x in range(width):
        lane[x] -= level


@compiled
def subtract(lane: Any, values: Any, factor: np.float32, width: int) -> None:
    """Subtract `factor` times `values` from a lane."""
    for x in range(width):
        lane[x] -= values[x] * factor


@compiled
def add_scaled(values: Any, factor: np.float32, width: int, total: Any) -> None:
    """Add `factor` times `values` to `total`."""
    for x in range(width):
        total[x] += values[x] * factor


@compiled
def scale(lane: Any, factor: np.float32, width: int) -> None:
    """Multiply a lane."""
    for x in range(width):
        lane[x] *= factor


@compiled
def mark_saturated(lane: Any, limit: np.float32, width: int, unfit: bool, count: Any) -> int:
    """Count the values of `limit` and above, and take them out where they are unfit; return how many there are."""
    found = 0
    for x in range(width):
        high = lane[x] >= limit
        count[x] += high
        found += high
    if unfit and found:
        for x in range(width):
            if lane[x] >= limit:
                lane[x] = NAN
    return found


@compiled
def fill_whole(stored: Any, centre: np.int16, width: int, lane: Any, total: Any) -> None:
    """Fill a lane of int16 with stored numbers less `centre`, held within int16, and add it to `total`."""
    for x in range(width):
        step = np.int32(swapped(stored[x])) - np.int32(centre)
        held = np.int16(min(max(step, np.int32(-32768)), np.int32(32767)))
        lane[x] = held
        total[x] += held


@compiled
def fill_halves(stored: Any, below: np.int16, above: np.int16, width: int, lane: Any, total: Any) -> None:
    """Fill a lane of int16 with twice the stored numbers less `below` and `above`, held within int16, and add it."""
    for x in range(width):
        value = np.int32(swapped(stored[x]))
        one = np.int16(min(max(value - np.int32(below), np.int32(-32768)), np.int32(32767)))
        two = np.int16(min(max(value - np.int32(above), np.int32(-32768)), np.int32(32767)))
        held = np.int16(min(max(np.int32(one) + np.int32(two), np.int32(-32768)), np.int32(32767)))
        lane[x] = held
        total[x] += held
