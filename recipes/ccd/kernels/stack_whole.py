"""The stack in whole numbers: raw 16-bit frames of which only levels in halves are subtracted (biases).

The lanes hold the numbers about one near the median of the lane, in steps of 1 or of 1/2 adu: sixteen bits are enough,
and the processor's vector units hold twice as many of them as of float32. What does not fit (saturated pixels among
biases) is done one by one from the raw numbers. All sums are exact, so a mean is the same as that of the other way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.ccd.kernels.lanes import fill_halves, fill_whole, sort_lanes, swapped
from recipes.ccd.kernels.stack_clipping import clip_sorted
from recipes.ccd.kernels.stack_writing import Rules, Stacked

# Pixels a lane: thirty lanes are 30 kB.
LANE = 512
# From the beginning of a lane to that of the next: no power of two, or one pixel of all lanes would share cache lines.
_STRIDE = LANE + 32
_LOWEST, _HIGHEST = np.int16(-32768), np.int16(32767)
_PLACES = 9
_HALF = np.float32(0.5)


class WholeRows(NamedTuple):
    """Raw rows of all frames in whole numbers.

    Parameters
    ----------
    stored : array of uint16, frames x rows x raw columns
        The rows as big-endian 16-bit numbers.
    levels : array of int32, frames x rows
        Twice what is subtracted from the stored numbers, which makes adu of them.
    zeros : array of int32, one a frame
        What makes numbers of the stored ones, as the saturation level counts [adu].
    """

    stored: Any
    levels: Any
    zeros: Any


class WholeLanes(NamedTuple):
    """Work space of one thread: numbers of the frames, their sum, and of single pixels those that are looked at."""

    values: Any
    total: Any
    suspect: Any
    column: Any
    places: Any


@compiled
def _typical(stored: Any, width: int, places: Any) -> int:
    """Return a number near the median of a lane."""
    for place in range(_PLACES):
        value = np.int32(swapped(stored[place * width // _PLACES]))
        at = place
        while at > 0 and places[at - 1] > value:
            places[at] = places[at - 1]
            at -= 1
        places[at] = value
    return int(places[_PLACES // 2])


@compiled
def _fill(raw: WholeRows, row: int, raw_x: int, width: int, twice: Any, lanes: WholeLanes) -> Any:
    """Fill and sum up the lanes; return the steps an adu (1 or 2), 0 where the levels do not fit.

    `twice` is twice the number about which the first frame's are given.
    """
    frames = raw.levels.shape[0]
    steps = 1
    for frame in range(frames):
        centre = twice + raw.levels[frame, row] - raw.levels[0, row]
        if not -65536 <= centre <= 65534:
            return 0
        if centre % 2:
            steps = 2
    lanes.total[:] = 0
    for frame in range(frames):
        centre = twice + raw.levels[frame, row] - raw.levels[0, row]
        stored, below = raw.stored[frame, row, raw_x : raw_x + width], np.int16(centre // 2)
        if steps == 1:
            fill_whole(stored, below, width, lanes.values[frame], lanes.total)
        else:
            fill_halves(stored, below, np.int16(centre - centre // 2), width, lanes.values[frame], lanes.total)
    return steps


@compiled
def _mark(below: Any, above: Any, lowest: Any, highest: Any, limit: np.int32, width: int, suspect: Any) -> int:
    """Mark pixels with a value farther than half of `limit` from the median, or that was held; return their number."""
    found = 0
    for x in range(width):
        middle = np.int32(below[x]) + np.int32(above[x])
        least, most = np.int32(lowest[x]), np.int32(highest[x])
        odd = (middle - 2 * least > limit) | (2 * most - middle > limit) | (least == _LOWEST) | (most == _HIGHEST)
        suspect[x] = odd
        found += odd
    return found


@compiled
def _write(
    below: Any, above: Any, total: Any, centre: np.float32, unit: np.float32, frames: int, width: int, mean: Any
) -> None:  # fmt: skip
    """Write means as if nothing was rejected; `unit` is a step in adu, halved."""
    weight = np.float32(frames)
    for x in range(width):
        middle = np.int32(below[x]) + np.int32(above[x])
        deviations = np.float32(np.int32(2) * total[x] - np.int32(frames) * middle)
        mean[x] = (centre + np.float32(middle) * unit) + deviations * unit / weight


@compiled
def _clip(lanes: Any, x: int, number: int, limit: int, iterations: int) -> tuple[int, int]:
    """Return the first and the end of the ranks that a clip leaves of one pixel's sorted values."""
    first, end = 0, number
    for _ in range(iterations):
        middle = np.int64(lanes[(first + end - 1) // 2, x]) + np.int64(lanes[(first + end) // 2, x])
        low, high = first, end
        while low < high and middle - 2 * np.int64(lanes[low, x]) > limit:
            low += 1
        while high > low and 2 * np.int64(lanes[high - 1, x]) - middle > limit:
            high -= 1
        # Where the median itself falls between two groups nothing would be left: such a pixel keeps what it had.
        if low == high or (low == first and high == end):
            break
        first, end = low, high
    return first, end


@compiled
def _from_raw(raw: WholeRows, rules: Rules, row: int, raw_x: int, column: Any) -> tuple[float, int]:
    """Return mean and number of what the clip leaves of one pixel, from its raw numbers [adu]."""
    frames = raw.levels.shape[0]
    for frame in range(frames):
        value = np.float32(swapped(raw.stored[frame, row, raw_x])) - _HALF * np.float32(raw.levels[frame, row])
        place = frame
        while place > 0 and column[place - 1, 0] > value:
            column[place, 0] = column[place - 1, 0]
            place -= 1
        column[place, 0] = value
    centre = np.float32(_HALF * (column[(frames - 1) // 2, 0] + column[frames // 2, 0]))
    total = 0.0
    for frame in range(frames):
        total += np.float64(column[frame, 0] - centre)
    limit = np.float32(rules.threshold * rules.noise)
    return clip_sorted(column, 0, frames, centre, total, limit, rules.iterations)


@compiled
def _write_suspects(
    raw: WholeRows, rules: Rules, row: int, raw_x: int, at: int, width: int, steps: int, centre: np.float32,
    limit: int, lanes: WholeLanes, out: Stacked,
) -> int:  # fmt: skip
    """Write the pixels that are marked; return how many values were rejected."""
    frames = raw.levels.shape[0]
    unit = 0.5 / max(steps, 1)
    of_noise = rules.noise * rules.noise * rules.noise_factor
    values, rejected = lanes.values, 0
    for x in range(width):
        if not lanes.suspect[x]:
            continue
        if steps == 0 or values[0, x] == _LOWEST or values[frames - 1, x] == _HIGHEST:
            mean, number = _from_raw(raw, rules, row, raw_x + x, lanes.column)
        else:
            first, end = _clip(values, x, frames, limit, rules.iterations)
            total = np.int64(lanes.total[x])
            for rank in range(first):
                total -= values[rank, x]
            for rank in range(end, frames):
                total -= values[rank, x]
            middle = np.int64(values[(frames - 1) // 2, x]) + np.int64(values[frames // 2, x])
            number = end - first
            mean = np.float64(centre) + middle * unit + (2 * total - number * middle) * unit / number
        rejected += frames - number
        out.mean[row, at + x] = mean
        out.variance[row, at + x] = number * of_noise / (np.float64(number) * np.float64(number))
    return rejected


@compiled
def _count_saturated(
    raw: WholeRows, rules: Rules, row: int, raw_x: int, at: int, width: int, steps: int, twice: Any,
    lanes: WholeLanes, out: Stacked,
) -> None:  # fmt: skip
    """Count the saturated values of the pixels whose highest value may be one."""
    frames = raw.levels.shape[0]
    largest = raw.levels[0, row] + 2 * raw.zeros[0]
    for frame in range(1, frames):
        largest = max(largest, raw.levels[frame, row] + 2 * raw.zeros[frame])
    # No number exceeds that of the highest step and the largest level.
    saturated = (rules.saturation - 0.5 * (twice - raw.levels[0, row] + largest)) * steps
    highest = lanes.values[frames - 1]
    for x in range(width):
        if steps == 0 or highest[x] >= saturated or highest[x] == _HIGHEST:
            for frame in range(frames):
                number = np.int32(swapped(raw.stored[frame, row, raw_x + x])) + raw.zeros[frame]
                out.saturated[row, at + x] += number >= rules.saturation


@compiled
def stack_whole(
    raw: WholeRows, rules: Rules, raw_column: int, first_column: int, columns: int, pairs: Any, out: Stacked
) -> int:  # fmt: skip
    """Stack the columns that one amplifier read; return how many values were rejected.

    Parameters
    ----------
    raw, rules : WholeRows, Rules
        What is stacked, and how; there is no light, and saturated values are not unfit.
    raw_column, first_column, columns : int
        Where the columns begin in the raw rows and in the trimmed image, and how many they are.
    pairs : array of int, comparisons x 2
        The sorting network for so many frames.
    out : Stacked
        Mean, variance, and the numbers of saturated values are filled; no pixel is empty.
    """
    frames, rows = raw.levels.shape
    lanes = WholeLanes(
        np.empty((frames, _STRIDE), np.int16),
        np.empty(LANE, np.int32),
        np.empty(LANE, np.bool_),
        np.empty((frames, 1), np.float32),
        np.empty(_PLACES, np.int32),
    )
    values, low, high = lanes.values, (frames - 1) // 2, frames // 2
    constant = np.float32(frames * rules.noise * rules.noise * rules.noise_factor / (np.float64(frames) * frames))
    allowed = np.float64(np.float32(rules.threshold * rules.noise))
    rejected = 0
    for row in range(rows):
        for start in range(0, columns, LANE):
            width, at, raw_x = min(LANE, columns - start), first_column + start, raw_column + start
            twice = np.int32(2 * _typical(raw.stored[0, row, raw_x : raw_x + width], width, lanes.places))
            steps = _fill(raw, row, raw_x, width, twice, lanes)
            out.variance[row, at : at + width] = constant
            # Beyond what two steps of sixteen bits can differ by, nothing is rejected.
            limit = np.int32(min(np.floor(2 * steps * allowed), 2.0**18))
            centre = np.float32(_HALF * np.float32(twice - raw.levels[0, row]))
            lanes.suspect[:] = True
            found = width
            if steps:
                sort_lanes(values, pairs, width)
                found = _mark(values[low], values[high], values[0], values[frames - 1], limit, width, lanes.suspect)
                _write(values[low], values[high], lanes.total, centre, np.float32(_HALF / steps), frames, width,
                       out.mean[row, at : at + width])  # fmt: skip
            if found:
                rejected += _write_suspects(
                    raw, rules, row, raw_x, at, width, steps, centre, int(limit), lanes, out
                )  # fmt: skip
            if rules.saturation < np.inf:
                _count_saturated(raw, rules, row, raw_x, at, width, steps, twice, lanes, out)
    return rejected


@warm_up
def warm() -> None:
    """Compile for the types that the stack uses."""
    plane = np.zeros((1, 2), np.float32)
    raw = WholeRows(np.zeros((2, 1, 4), np.uint16), np.zeros((2, 1), np.int32), np.zeros(2, np.int32))
    rules = Rules(1.0, 1.0, 0.0, 3.0, 5, float("inf"), False, 0.0)
    out = Stacked(plane, plane.copy(), np.zeros((1, 2), np.int16), np.zeros((1, 2), np.int16))
    stack_whole(raw, rules, 0, 0, 2, np.array([[0, 1]]), out)
