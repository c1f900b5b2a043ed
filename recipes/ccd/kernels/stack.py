"""Kernels of the stack: raw strips of all frames to the clipped mean, its variance and mask, a few pixels at a time.

Values lie in lanes (one a frame) of some hundred neighbouring pixels, which stay in the processor's inner cache: filled
from the stored numbers, sorted by a network of minima and maxima, and reduced. Only pixels in which something may lie
outside the limit, or is missing, are looked at one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.ccd.kernels.lanes import (
    copy_lane,
    copy_with_gaps,
    fill_from_stored,
    mark_saturated,
    scale,
    sort_lanes,
    subtract,
    subtract_level,
)
from recipes.ccd.kernels.stack_clipping import add_deviations, add_weighted, clip_sorted, clip_weighted, mark_extremes
from recipes.ccd.kernels.stack_writing import Calibrations, Rules, Stacked, write_all, write_pixel

# Pixels a lane: thirty lanes and their sorted copies are 60 kB.
LANE = 256
# From the beginning of a lane to that of the next: no power of two, or one pixel of all lanes would share cache lines.
_STRIDE = LANE + 16
_ZERO = np.float32(0)
_HALF = np.float32(0.5)


class RawRows(NamedTuple):
    """Raw rows of all frames, and what becomes of them.

    Parameters
    ----------
    stored, numbers : array of uint16, array of float32, frames x rows x raw columns
        The rows as big-endian 16-bit numbers or, where that is empty, as numbers [adu].
    zeros, seconds, norms : array of float32, one a frame
        What is added to stored numbers; the factor of the dark; what a frame is divided by, which is its weight too.
    row_levels, column_levels : array of float32, frames x rows, frames x columns
        Overscan levels; the second may be empty.
    """

    stored: Any
    numbers: Any
    zeros: Any
    seconds: Any
    norms: Any
    row_levels: Any
    column_levels: Any


class Lanes(NamedTuple):
    """Work space of one thread."""

    values: Any
    ordered: Any
    median: Any
    total: Any
    missing: Any
    high: Any
    suspect: Any
    kept: Any
    column: Any


@compiled
def _fill(
    raw: RawRows, calibrations: Calibrations, rules: Rules, row: int, raw_x: int, at: int, start: int, width: int,
    lanes: Lanes,
) -> Any:  # fmt: skip
    """Fill the lanes with calibrated values; return whether some may be missing."""
    may_saturate = rules.saturation < np.inf
    gaps = raw.stored.shape[0] == 0
    lanes.high[:] = 0
    for frame in range(raw.norms.shape[0]):
        lane = lanes.values[frame]
        if raw.stored.shape[0]:
            fill_from_stored(raw.stored[frame, row, raw_x : raw_x + width], raw.zeros[frame], width, lane)
        else:
            copy_lane(raw.numbers[frame, row, raw_x : raw_x + width], width, lane)
        if may_saturate:
            found = mark_saturated(lane, np.float32(rules.saturation), width, rules.saturated_unfit, lanes.high)
            gaps |= rules.saturated_unfit and found > 0
        subtract_level(lane, raw.row_levels[frame, row], width)
        if raw.column_levels.shape[0]:
            subtract(lane, raw.column_levels[frame, start : start + width], np.float32(1), width)
        if calibrations.bias.shape[0]:
            subtract(lane, calibrations.bias[row, at : at + width], np.float32(1), width)
        if calibrations.dark.shape[0]:
            subtract(lane, calibrations.dark[row, at : at + width], raw.seconds[frame], width)
        if raw.norms[frame] != 1:
            scale(lane, np.float32(1) / raw.norms[frame], width)
    return gaps


@compiled
def _order(lanes: Lanes, pairs: Any, gaps: bool, width: int) -> None:
    """Sort copies of the lanes, take the median, and mark the pixels that lack a value."""
    frames = lanes.values.shape[0]
    lanes.missing[:] = 0
    lanes.suspect[:] = False
    lanes.total[:] = 0
    for frame in range(frames):
        if gaps:
            copy_with_gaps(lanes.values[frame], width, lanes.ordered[frame], lanes.missing)
        else:
            copy_lane(lanes.values[frame], width, lanes.ordered[frame])
    sort_lanes(lanes.ordered, pairs, width)
    below, above = lanes.ordered[(frames - 1) // 2], lanes.ordered[frames // 2]
    for x in range(width):
        lanes.median[x] = _HALF * (below[x] + above[x])
    if gaps:
        for x in range(width):
            number = frames - lanes.missing[x]
            lanes.suspect[x] = number < frames
            if 0 < number < frames:
                below_of_rest, above_of_rest = lanes.ordered[(number - 1) // 2, x], lanes.ordered[number // 2, x]
                lanes.median[x] = _HALF * (below_of_rest + above_of_rest)


@compiled
def _clip(
    raw: RawRows, rules: Rules, plain: bool, x: int, lanes: Lanes
) -> tuple[float, int, float, float]:  # fmt: skip
    """Return mean, number, sum of weights and of seconds of what the clip leaves of one pixel."""
    frames = raw.norms.shape[0]
    valid = frames - lanes.missing[x]
    if valid == 0:
        return 0.0, 0, 1.0, 0.0
    if plain:
        limit = np.float32(rules.threshold * rules.noise)
        centre, total = lanes.median[x], 0.0 + lanes.total[x]
        if valid < frames:  # the sum over all is no number then
            total = 0.0
            for frame in range(valid):
                total += np.float64(lanes.ordered[frame, x] - centre)
        mean, number = clip_sorted(lanes.ordered, x, valid, centre, total, limit, rules.iterations)
        seconds = 0.0
        for frame in range(frames):
            seconds += raw.seconds[frame]
        return mean, number, np.float64(number), seconds * number / frames
    constant = np.float32((rules.threshold * rules.noise) ** 2)
    slope = np.float32(rules.threshold**2 * rules.photons)
    mean, number = clip_weighted(
        lanes.values, x, raw.norms, constant, slope, rules.iterations, lanes.kept, lanes.column
    )
    weight, seconds = 0.0, 0.0
    for frame in range(frames):
        if lanes.kept[frame]:
            weight += raw.norms[frame]
            seconds += raw.seconds[frame]
    return mean, number, weight, seconds


@compiled
def _suspect(raw: RawRows, rules: Rules, plain: bool, width: int, lanes: Lanes) -> None:
    """Sum up the deviations from the median, and mark the pixels in which one exceeds the limit."""
    frames = raw.norms.shape[0]
    if plain:
        for frame in range(frames):
            add_deviations(lanes.ordered[frame], lanes.median, width, lanes.total)
        limit = np.float32(rules.threshold * rules.noise)
        mark_extremes(lanes.ordered[0], lanes.ordered[frames - 1], lanes.median, limit, width, lanes.suspect)
        return
    constant = np.float32((rules.threshold * rules.noise) ** 2)
    slope = np.float32(rules.threshold**2 * rules.photons)
    for frame in range(frames):
        norm = raw.norms[frame]
        add_weighted(lanes.values[frame], lanes.median, norm, constant, slope * norm, width, lanes.total,
                     lanes.suspect)  # fmt: skip


@compiled
def _finish(
    raw: RawRows, calibrations: Calibrations, rules: Rules, plain: bool, row: int, at: int, width: int, lanes: Lanes,
    out: Stacked,
) -> int:  # fmt: skip
    """Write mean, variance and numbers of a lane's pixels; return how many values were rejected."""
    frames = raw.norms.shape[0]
    write_all(calibrations, rules, raw.norms, raw.seconds, row, at, width, lanes.median, lanes.total, out)
    rejected = 0
    for x in range(width):
        if lanes.suspect[x]:
            mean, number, weight, seconds = _clip(raw, rules, plain, x, lanes)
            rejected += frames - lanes.missing[x] - number
            write_pixel(calibrations, rules, row, at + x, mean, number, weight, seconds, out)
    if rules.saturation < np.inf:
        for x in range(width):
            out.saturated[row, at + x] = lanes.high[x]
    if calibrations.unknown.shape[0]:
        for x in range(width):
            if calibrations.unknown[row, at + x]:
                write_pixel(calibrations, rules, row, at + x, 0.0, 0, 1.0, 0.0, out)
    return rejected


@compiled
def stack_piece(
    raw: RawRows, calibrations: Calibrations, rules: Rules, raw_column: int, first_column: int, columns: int,
    pairs: Any, out: Stacked,
) -> int:  # fmt: skip
    """Stack the columns that one amplifier read; return how many values were rejected.

    Parameters
    ----------
    raw, calibrations, rules : RawRows, Calibrations, Rules
        What is stacked, and how.
    raw_column, first_column, columns : int
        Where the columns begin in the raw rows and in the trimmed image, and how many they are.
    pairs : array of int, comparisons x 2
        The sorting network for so many frames.
    out : Stacked
        Filled.
    """
    frames, rows = raw.row_levels.shape
    lanes = Lanes(
        np.empty((frames, _STRIDE), np.float32),
        np.empty((frames, _STRIDE), np.float32),
        np.empty(LANE, np.float32),
        np.empty(LANE, np.float32),
        np.zeros(LANE, np.int32),
        np.zeros(LANE, np.int32),
        np.zeros(LANE, np.bool_),
        np.zeros(frames, np.bool_),
        np.empty(frames, np.float32),
    )
    plain = rules.photons == 0.0
    for frame in range(frames):
        plain &= raw.norms[frame] == 1
    rejected = 0
    for row in range(rows):
        for start in range(0, columns, LANE):
            width, at = min(LANE, columns - start), first_column + start
            gaps = _fill(raw, calibrations, rules, row, raw_column + start, at, start, width, lanes)
            _order(lanes, pairs, gaps, width)
            _suspect(raw, rules, plain, width, lanes)
            rejected += _finish(raw, calibrations, rules, plain, row, at, width, lanes, out)
    return rejected


@warm_up
def warm() -> None:
    """Compile for the types that the stack uses."""
    ones, plane, none = np.ones(2, np.float32), np.zeros((1, 2), np.float32), np.zeros((0, 0), np.float32)
    raw = RawRows(np.zeros((2, 1, 4), np.uint16), np.zeros((0, 1, 4), np.float32), ones, ones, ones,
                  np.zeros((2, 1), np.float32), none)  # fmt: skip
    calibrations = Calibrations(none, none, none.astype(np.bool_), none, none)
    rules = Rules(1.0, 1.0, 0.0, 3.0, 5, float("inf"), False, 0.0)
    out = Stacked(plane, plane.copy(), np.zeros((1, 2), np.int16), np.zeros((1, 2), np.int16))
    stack_piece(raw, calibrations, rules, 0, 0, 2, np.array([[0, 1]]), out)
