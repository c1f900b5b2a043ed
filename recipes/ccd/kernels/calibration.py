"""Calibration of raw pixels in one pass: level, dark, flat, gain, with variance and mask; what saturation spreads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up
from recipes.masks import NO_DATA, SATURATED

_ZERO, _ONE, _NAN = np.float32(0), np.float32(1), np.float32(np.nan)
_INFINITE = np.float32(np.inf)
_AT_ONCE = 512  # pixels of a row: with all that they are calibrated with they stay in the processor's inner cache
_LANES = 64  # sums and extremes are taken in so many, whatever the processor's width: bytes do not depend on it
_NO_DATA, _SATURATED, _NOTHING = np.uint16(NO_DATA), np.uint16(SATURATED), np.uint16(0)


@compiled
def calibrate(
    raw: Any, row_level: Any, column_level: Any, bias: Any, bias_variance: Any, dark: Any, dark_variance: Any,
    flat: Any, flat_variance: Any, illumination: Any, illumination_variance: Any, bits: Any, numbers: Any,
    place: Any, data: Any, variance: Any, mask: Any,
) -> None:  # fmt: skip
    """Calibrate rows of one amplifier, in float32.

    All planes are of the full width of their frames; what is not given is one row of neutral values. ``numbers`` are
    the seconds of dark current, the level of saturation [adu], the gain [electron/adu], the variance of reading [adu²],
    the factor to the product's unit, and the least response that can be divided by; ``place`` the first row of the
    product and of the other planes, the number of rows, the first and last column of the product, and the column of
    the raw frame.
    """
    seconds, saturation, photons, read, scale, least = (
        numbers[0], numbers[1], _ONE / numbers[2], numbers[3], numbers[4], numbers[5]
    )  # fmt: skip
    first, top, rows, x0, x1, raw_x = place
    few = min(_AT_ONCE, x1 - x0)
    values, noises, inverses = np.empty(few, np.float32), np.empty(few, np.float32), np.empty(few, np.float32)
    for row in range(rows):
        y, out = top + row, first + row
        level = row_level[min(row, len(row_level) - 1)]
        of_bias, of_dark, of_flat, of_light = _row(bias, y), _row(dark, y), _row(flat, y), _row(illumination, y)
        bias_noise, dark_noise = _row(bias_variance, y), _row(dark_variance, y)
        flat_noise, light_noise = _row(flat_variance, y), _row(illumination_variance, y)
        own_bits = _row(bits, y)
        for a in range(x0, x1, _AT_ONCE):
            b = min(a + _AT_ONCE, x1)
            own = raw[row, raw_x + a - x0 : raw_x + b - x0]
            value, noise, inverse = values[: b - a], noises[: b - a], inverses[: b - a]
            _subtract_levels(own, level, column_level[a - x0 : b - x0], of_bias[a:b], of_dark[a:b], seconds, value)
            _add_noise(value, bias_noise[a:b], dark_noise[a:b], seconds * seconds, photons, read, noise)
            if flat.shape[0] > 1 or illumination.shape[0] > 1:
                _invert(of_flat[a:b], of_light[a:b], least, inverse)
                _flatten(value, noise, inverse)
            if flat_variance.shape[0] > 1:
                _add_flats_noise(value, inverse, of_light[a:b], flat_noise[a:b], noise)
            if illumination_variance.shape[0] > 1:
                _add_flats_noise(value, inverse, of_flat[a:b], light_noise[a:b], noise)
            own_mask = mask[out, a:b]
            _finish_mask(own, own_bits[a:b], saturation, value, noise, own_mask)
            _finish(value, own_mask, scale, data[out, a:b])
            _finish(noise, own_mask, scale * scale, variance[out, a:b])


@inlined
def _row(plane: Any, y: int) -> Any:
    return plane[y if plane.shape[0] > 1 else 0]


# Each step below is a loop over few rows, which a compiler can do on eight pixels at once: it proves for every pair of
# rows that they do not overlap, and gives up where there are many.


@compiled
def _subtract_levels(raw: Any, level: Any, column_level: Any, bias: Any, dark: Any, seconds: Any, value: Any) -> None:
    for x in range(len(value)):
        value[x] = raw[x] - level - column_level[x] - bias[x] - dark[x] * seconds


@compiled
def _add_noise(
    value: Any, bias_variance: Any, dark_variance: Any, squared: Any, photons: Any, read: Any, noise: Any
) -> None:
    for x in range(len(noise)):
        seen = value[x] if value[x] > _ZERO else _ZERO
        noise[x] = bias_variance[x] + dark_variance[x] * squared + seen * photons + read


@compiled
def _invert(flat: Any, illumination: Any, least: Any, inverse: Any) -> None:
    """Write what to multiply with, NaN where there is too little light."""
    for x in range(len(inverse)):
        lit = (flat[x] > least) & (illumination[x] > least)
        inverse[x] = _ONE / (flat[x] * illumination[x]) if lit else _NAN


@compiled
def _flatten(value: Any, noise: Any, inverse: Any) -> None:
    for x in range(len(value)):
        value[x] *= inverse[x]
        noise[x] *= inverse[x] * inverse[x]


@compiled
def _add_flats_noise(value: Any, inverse: Any, other: Any, variance: Any, noise: Any) -> None:
    """Add the noise of one of two flats; `other` is the other one.

    A pixel that is lost or saturated on the flat has no variance that would mean anything, and is masked.
    """
    for x in range(len(noise)):
        own = variance[x] if variance[x] - variance[x] == _ZERO else _ZERO
        factor = value[x] * other[x] * inverse[x]
        noise[x] += factor * factor * own


@compiled
def _finish_mask(raw: Any, bits: Any, saturation: Any, value: Any, noise: Any, mask: Any) -> None:
    for x in range(len(mask)):
        bit = bits[x] | (_SATURATED if raw[x] >= saturation else _NOTHING)
        known = (value[x] - value[x] == _ZERO) & (noise[x] - noise[x] == _ZERO)
        mask[x] = bit if known else bit | _NO_DATA


@compiled
def _finish(values: Any, mask: Any, scale: Any, out: Any) -> None:
    for x in range(len(out)):
        out[x] = _ZERO if mask[x] & _NO_DATA else values[x] * scale


@compiled
def add_bits(bits: Any, mask: Any, wanted: Any, rows: int) -> None:
    """Add the `wanted` bits of the first rows of a mask, in place."""
    for y in range(rows):
        total, line = bits[y], mask[y]
        for x in range(len(total)):
            total[x] |= line[x] & wanted


@compiled
def top_of(values: Any, x0: int, x1: int) -> Any:
    """Return the highest number of columns `x0` to `x1`, minus infinity where there is none."""
    lanes = np.full(_LANES, -_INFINITE)
    for y in range(values.shape[0]):
        row = values[y, x0:x1]
        for start in range(0, len(row), _LANES):
            part = row[start : start + _LANES]
            for lane in range(len(part)):
                higher = (part[lane] > lanes[lane]) & (part[lane] < _INFINITE)
                lanes[lane] = part[lane] if higher else lanes[lane]
    return lanes.max()


@compiled
def count_of(values: Any, x0: int, x1: int, value: Any, enough: int) -> int:
    """Return how many pixels of columns `x0` to `x1` hold that value, counted by rows until there are `enough`."""
    number = 0
    for y in range(values.shape[0]):
        row = values[y, x0:x1]
        for x in range(len(row)):
            number += row[x] == value
        if number >= enough:
            break
    return number


@compiled
def saturated_in(mask: Any, y0: int, y1: int) -> Any:
    """Return rows and columns of the saturated pixels of rows `y0` to `y1`."""
    count = 0
    for y in range(y0, y1):
        row = mask[y]
        for x in range(len(row)):
            count += (row[x] & _SATURATED) != _NOTHING
    places = np.empty((count, 2), np.int32)
    number = 0
    for y in range(y0, y1):
        if number == count:
            break
        row = mask[y]
        for x in range(len(row)):
            if row[x] & _SATURATED:
                places[number, 0], places[number, 1] = y, x
                number += 1
    return places


@compiled
def grow_saturated(mask: Any, places: Any, longest_alone: int, part: float) -> None:
    """Mark what saturated pixels spill into, in place: their neighbours, and beyond the ends of runs along columns.

    Charge of a run of more than `longest_alone` pixels has flowed along the column; that it stops being saturated is
    no sign that it stopped there, so `part` of the run's length is added at both of its ends. `places` are rows and
    columns of all of them.
    """
    height, width = mask.shape
    ends = np.empty((len(places), 3), np.int32)
    runs = 0
    for index in range(len(places)):
        y, x = places[index]
        if y > 0 and mask[y - 1, x] & _SATURATED:
            continue
        last = y
        while last + 1 < height and mask[last + 1, x] & _SATURATED:
            last += 1
        if last - y + 1 > longest_alone:
            ends[runs, 0], ends[runs, 1], ends[runs, 2] = y, last, x
            runs += 1
    for index in range(len(places)):
        y, x = places[index]
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                mask[v, u] |= _SATURATED
    for index in range(runs):
        first, last, x = ends[index]
        more = 1 + int(part * (last - first + 1))
        for y in range(max(first - more, 0), min(last + more + 1, height)):
            mask[y, x] |= _SATURATED


@compiled
def weigh(variance: Any, mask: Any, weight: Any, y0: int, y1: int) -> None:
    """Write the inverse variance of rows `y0` to `y1`, zero where the mask says anything or it is not known."""
    for y in range(y0, y1):
        for x in range(variance.shape[1]):
            noise = variance[y, x]
            good = (mask[y, x] == _NOTHING) & (noise > _ZERO)
            weight[y, x] = _ONE / noise if good else _ZERO


@compiled
def sum_up(data: Any, mask: Any, y0: int, y1: int) -> tuple[float, int, Any, Any]:
    """Return sum, number, least and highest of the pixels of some rows that are not masked.

    The two extremes of none are infinite.
    """
    sums, numbers = np.zeros(_LANES), np.zeros(_LANES, np.int64)
    lowest, highest = np.full(_LANES, _INFINITE), np.full(_LANES, -_INFINITE)
    for y in range(y0, y1):
        line, bits = data[y], mask[y]
        for start in range(0, len(line), _LANES):
            part, its_bits = line[start : start + _LANES], bits[start : start + _LANES]
            for lane in range(len(part)):
                good = its_bits[lane] == _NOTHING
                sums[lane] += part[lane] if good else _ZERO
                numbers[lane] += good
            for lane in range(len(part)):
                good = its_bits[lane] == _NOTHING
                lowest[lane] = part[lane] if good & (part[lane] < lowest[lane]) else lowest[lane]
                highest[lane] = part[lane] if good & (part[lane] > highest[lane]) else highest[lane]
    number = numbers.sum()
    total = 0.0
    for lane in range(_LANES):
        total += sums[lane]
    return total, number, lowest.min(), highest.max()


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous read-only view: numba compiles a kernel anew for each mixture of such properties."""
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view


@warm_up
def _compile() -> None:
    data, variance, mask = np.empty((4, 8), np.float32), np.empty((4, 8), np.float32), np.zeros((4, 8), np.uint16)
    raw, level, none, ones = (
        frozen(np.full(shape, value, np.float32))
        for shape, value in (((4, 8), 9), (8, 0), ((1, 8), 0), ((1, 8), 1))
    )  # fmt: skip
    calibrate(raw, level, level, none, none, none, none, ones, none, ones, none, frozen(np.zeros((1, 8), np.uint16)),
              np.ones(6, np.float32), np.array([0, 0, 4, 0, 8, 0]), data, variance, mask)  # fmt: skip
    add_bits(np.zeros((4, 8), np.uint16), frozen(mask), np.uint16(1), 4)
    count_of(raw, 0, 8, top_of(raw, 0, 8), 1)
    grow_saturated(mask, saturated_in(mask, 0, 4), 8, 0.05)
    sum_up(data, mask, 0, 4)
    weigh(variance, mask, np.empty_like(variance), 0, 4)
