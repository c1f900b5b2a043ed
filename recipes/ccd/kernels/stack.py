"""Kernels of the stack: raw strips of all frames to the clipped mean, its variance and mask, a few pixels at a time.

Values lie in lanes (one a frame) of some hundred neighbouring pixels, which stay in the processor's inner cache: filled
from the stored numbers, sorted by a network of minima and maxima, and reduced. Only pixels in which something may lie
outside the limit, or is missing, are looked at one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up

# Pixels a lane: thirty lanes and their sorted copies are 60 kB.
LANE = 256
# From the beginning of a lane to that of the next: no power of two, or one pixel of all lanes would share cache lines.
_STRIDE = LANE + 16
NAN = np.float32(np.nan)
INFINITY = np.float32(np.inf)
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


class Calibrations(NamedTuple):
    """Planes of rows x columns of the trimmed image, each empty where it is not used; `unknown` is of bool."""

    bias: Any
    dark: Any
    unknown: Any
    bias_variance: Any
    dark_variance: Any


class Rules(NamedTuple):
    """Read noise [adu], what its square is multiplied by in the variance, adu a photon, and how to clip."""

    noise: float
    noise_factor: float
    photons: float
    threshold: float
    iterations: int
    saturation: float
    saturated_unfit: bool
    empty_value: float


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


class Stacked(NamedTuple):
    """What is filled, rows x columns: mean, variance, numbers of values accepted and of saturated ones."""

    mean: Any
    variance: Any
    count: Any
    saturated: Any


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
def swapped(stored: np.uint16) -> np.int16:
    """Return the signed number of a big-endian one."""
    return np.int16(np.uint16((stored << np.uint16(8)) | (stored >> np.uint16(8))))


@compiled
def fill_from_stored(stored: Any, zero: np.float32, width: int, lane: Any) -> None:
    """Fill a lane with big-endian 16-bit numbers plus `zero`."""
    for x in range(width):
        lane[x] = np.float32(swapped(stored[x])) + zero


@compiled
def subtract_level(lane: Any, level: np.float32, width: int) -> None:
    """Subtract a number from a lane."""
    for x in range(width):
        lane[x] -= level


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
def _write_all(
    raw: RawRows, calibrations: Calibrations, rules: Rules, row: int, at: int, width: int, lanes: Lanes, out: Stacked
) -> None:
    """Write mean and variance of a lane's pixels as if nothing was rejected."""
    weight, seconds = np.float32(0), np.float32(0)
    frames = raw.norms.shape[0]
    for frame in range(frames):
        weight += raw.norms[frame]
        seconds += raw.seconds[frame]
    mean, variance = out.mean[row, at : at + width], out.variance[row, at : at + width]
    count = out.count[row, at : at + width]
    constant = np.float32(frames * rules.noise * rules.noise * rules.noise_factor / (weight * weight))
    slope = np.float32(rules.photons / weight)
    for x in range(width):
        value = lanes.median[x] + lanes.total[x] / weight
        mean[x] = value
        variance[x] = constant + slope * (value if value > _ZERO else _ZERO)
        count[x] = frames
    if calibrations.bias_variance.shape[0]:
        factor = np.float32((frames / weight) ** 2)
        add_scaled(calibrations.bias_variance[row, at : at + width], factor, width, variance)
    if calibrations.dark_variance.shape[0]:
        factor = np.float32((seconds / weight) ** 2)
        add_scaled(calibrations.dark_variance[row, at : at + width], factor, width, variance)


@compiled
def _write_pixel(
    calibrations: Calibrations, rules: Rules, row: int, to: int, mean: float, number: int, weight: float,
    seconds: float, out: Stacked,
) -> None:  # fmt: skip
    """Write one pixel in which something was missing or rejected."""
    out.count[row, to] = number
    if number == 0:
        out.mean[row, to] = rules.empty_value
        out.variance[row, to] = 0
        return
    of_noise = rules.noise * rules.noise * rules.noise_factor
    spread = (max(mean, 0.0) * weight * rules.photons + number * of_noise) / (weight * weight)
    if calibrations.bias_variance.shape[0]:
        spread += (number / weight) ** 2 * calibrations.bias_variance[row, to]
    if calibrations.dark_variance.shape[0]:
        spread += (seconds / weight) ** 2 * calibrations.dark_variance[row, to]
    out.mean[row, to] = mean
    out.variance[row, to] = spread


@compiled
def _finish(
    raw: RawRows, calibrations: Calibrations, rules: Rules, plain: bool, row: int, at: int, width: int, lanes: Lanes,
    out: Stacked,
) -> int:  # fmt: skip
    """Write mean, variance and numbers of a lane's pixels; return how many values were rejected."""
    frames = raw.norms.shape[0]
    _write_all(raw, calibrations, rules, row, at, width, lanes, out)
    rejected = 0
    for x in range(width):
        if lanes.suspect[x]:
            mean, number, weight, seconds = _clip(raw, rules, plain, x, lanes)
            rejected += frames - lanes.missing[x] - number
            _write_pixel(calibrations, rules, row, at + x, mean, number, weight, seconds, out)
    if rules.saturation < np.inf:
        for x in range(width):
            out.saturated[row, at + x] = lanes.high[x]
    if calibrations.unknown.shape[0]:
        for x in range(width):
            if calibrations.unknown[row, at + x]:
                _write_pixel(calibrations, rules, row, at + x, 0.0, 0, 1.0, 0.0, out)
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
    ones, plane, none = np.ones(2, np.float32), np.zeros((1, 2), np.float32), np.zeros((0, 0), np.float32)
    raw = RawRows(np.zeros((2, 1, 4), np.uint16), np.zeros((0, 1, 4), np.float32), ones, ones, ones,
                  np.zeros((2, 1), np.float32), none)  # fmt: skip
    calibrations = Calibrations(none, none, none.astype(np.bool_), none, none)
    rules = Rules(1.0, 1.0, 0.0, 3.0, 5, float("inf"), False, 0.0)
    out = Stacked(plane, plane.copy(), np.zeros((1, 2), np.int16), np.zeros((1, 2), np.int16))
    row_medians(raw.stored, raw.numbers, raw.zeros, 2, 4, raw.row_levels)
    stack_piece(raw, calibrations, rules, 0, 0, 2, np.array([[0, 1]]), out)
