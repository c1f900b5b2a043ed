"""Calibration of raw pixels in one pass: level, dark, flat, gain, with variance and mask; what saturation spreads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.masks import NO_DATA, SATURATED

_ZERO, _ONE, _NAN = np.float32(0), np.float32(1), np.float32(np.nan)
_INFINITE = np.float32(np.inf)
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
    width = x1 - x0
    value, noise, inverse = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(rows):
        y, out = top + row, first + row
        own, level = raw[row, raw_x : raw_x + width], row_level[min(row, len(row_level) - 1)]
        own_flat, own_illumination = _row(flat, y)[x0:x1], _row(illumination, y)[x0:x1]
        _subtract_levels(own, level, column_level, _row(bias, y)[x0:x1], _row(dark, y)[x0:x1], seconds, value)
        _add_noise(value, _row(bias_variance, y)[x0:x1], _row(dark_variance, y)[x0:x1], seconds * seconds, photons,
                   read, noise)  # fmt: skip
        if flat.shape[0] > 1 or illumination.shape[0] > 1:
            _invert(own_flat, own_illumination, least, inverse)
            _flatten(value, noise, inverse)
        if flat_variance.shape[0] > 1:
            _add_flats_noise(value, inverse, own_illumination, _row(flat_variance, y)[x0:x1], noise)
        if illumination_variance.shape[0] > 1:
            _add_flats_noise(value, inverse, own_flat, _row(illumination_variance, y)[x0:x1], noise)
        _finish_mask(own, _row(bits, y)[x0:x1], saturation, value, noise, mask[out, x0:x1])
        _finish(value, mask[out, x0:x1], scale, data[out, x0:x1])
        _finish(noise, mask[out, x0:x1], scale * scale, variance[out, x0:x1])


@compiled
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
def top_of(values: Any, x0: int, x1: int) -> tuple[Any, int]:
    """Return the highest number of columns `x0` to `x1`, minus infinity where there is none, and how many hold it."""
    highest = -_INFINITE
    for y in range(values.shape[0]):
        row, own = values[y, x0:x1], -_INFINITE
        for x in range(len(row)):
            own = row[x] if (row[x] > own) & (row[x] < _INFINITE) else own
        highest = max(highest, own)
    number = 0
    for y in range(values.shape[0]):
        row = values[y, x0:x1]
        for x in range(len(row)):
            number += row[x] == highest
    return highest, number


@compiled
def grow_saturated(mask: Any, longest_alone: int, part: float) -> None:
    """Mark what saturated pixels spill into, in place: their neighbours, and beyond the ends of runs along columns.

    Charge of a run of more than `longest_alone` pixels has flowed along the column; that it stops being saturated is
    no sign that it stopped there, so `part` of the run's length is added at both of its ends.
    """
    height, width = mask.shape
    count = 0
    for y in range(height):
        for x in range(width):
            count += (mask[y, x] & _SATURATED) != _NOTHING
    rows, columns = np.empty(count, np.int32), np.empty(count, np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            if mask[y, x] & _SATURATED:
                rows[count], columns[count] = y, x
                count += 1
    ends = np.empty((count, 3), np.int32)
    runs = 0
    for index in range(count):
        y, x = rows[index], columns[index]
        if y > 0 and mask[y - 1, x] & _SATURATED:
            continue
        last = y
        while last + 1 < height and mask[last + 1, x] & _SATURATED:
            last += 1
        if last - y + 1 > longest_alone:
            ends[runs, 0], ends[runs, 1], ends[runs, 2] = y, last, x
            runs += 1
    for index in range(count):
        y, x = rows[index], columns[index]
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
def sum_up(data: Any, mask: Any) -> tuple[float, int, Any, Any]:
    """Return sum, number, least and highest of the pixels that are not masked; NaN for the last two of none."""
    total, number = 0.0, 0
    lowest, highest = _INFINITE, -_INFINITE
    for y in range(data.shape[0]):
        of_row = 0.0
        for x in range(data.shape[1]):
            if mask[y, x] == _NOTHING:
                value = data[y, x]
                of_row += value
                number += 1
                lowest, highest = min(lowest, value), max(highest, value)
        total += of_row
    if number == 0:
        lowest, highest = _NAN, _NAN
    return total, number, lowest, highest


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
    top_of(raw, 0, 8)
    grow_saturated(mask, 8, 0.05)
    sum_up(data, mask)
    weigh(variance, mask, np.empty_like(variance), 0, 4)
