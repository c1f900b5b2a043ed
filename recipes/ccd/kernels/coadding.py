"""Kernels of the coadd: sky and noise of each frame on a mesh, and its pixels added up or compared with the others'."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up
from recipes.masks import NO_DATA

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Masks = NDArray[np.uint16]

REACH = 2  # pixels around that tell how much the image of a star may differ with the seeing

_STRUCTURE = 8.0  # sigma of the median: 25 values of noise differ by some four
_BINS = 512
_LEAST_PIXELS = 16
_HIGH = 64
_CROWDED = 0.3  # SExtractor: beyond, the mode's estimate is no better than the median


class Piece(NamedTuple):
    """Some rows of a frame."""

    data: Floats
    variance: Floats
    mask: Masks


class Mesh(NamedTuple):
    """Sky level and weight at the centres of a frame's cells of `side_y` × `side_x` pixels, with one more around."""

    level: Doubles
    weight: Doubles
    side_y: float
    side_x: float


class Sums(NamedTuple):
    """Of some rows of the coadd: weighted values, weights, variances times squared weights; the same of what is masked.

    ``bits`` are those of the masked ones together, ``frames`` the number of frames with a good
    pixel.
    """

    value: Doubles
    weight: Doubles
    variance: Doubles
    masked_value: Doubles
    masked_weight: Doubles
    masked_variance: Doubles
    bits: Masks
    frames: Masks


@compiled
def mesh_row(piece: Piece, columns: NDArray[np.int64], level: Doubles, noise: Doubles, variance: Doubles) -> None:
    """Measure sky level, its noise and the variance of the good pixels in cells side by side; NaN where few are good.

    `columns` are the edges of the cells, which are as high as the piece. Of high cells every second row is enough: the
    level is still known to 2 % of the noise.
    """
    values = np.empty(piece.data.size, np.float32)
    step = 2 if piece.data.shape[0] >= _HIGH else 1
    rows = (piece.data.shape[0] + step - 1) // step
    for cell in range(len(columns) - 1):
        count, total = 0, 0.0
        for y in range(0, piece.data.shape[0], step):
            for x in range(columns[cell], columns[cell + 1]):
                if piece.mask[y, x] == 0:
                    values[count] = piece.data[y, x]
                    count += 1
        level[cell], noise[cell], variance[cell] = np.nan, np.nan, np.nan
        if count >= max(_LEAST_PIXELS, rows * (columns[cell + 1] - columns[cell]) // 10):
            middle, spread = _sky_of(values[:count])
            level[cell], noise[cell] = middle, spread
            # Only sky: the variance of stars' own light must not weigh, or the brightest pixels would count least.
            number = 0
            for y in range(0, piece.data.shape[0], step):
                for x in range(columns[cell], columns[cell + 1]):
                    if piece.mask[y, x] == 0 and abs(piece.data[y, x] - middle) <= 3 * spread:
                        total += piece.variance[y, x]
                        number += 1
            if number:
                variance[cell] = total / number


@compiled
def _sky_of(values: Floats) -> tuple[float, float]:
    """Return the sky's level and noise: SExtractor's mode of a clipped histogram (Bertin & Arnouts 1996, section 3)."""
    low, high = -np.inf, np.inf
    mean, sigma = 0.0, 0.0
    for _ in range(2):
        first, second, count = 0.0, 0.0, 0
        for value in values:
            if low <= value <= high:
                count += 1
                shift = value - mean
                first += shift
                second += shift * shift
        middle = first / count
        sigma = np.sqrt(max(second / count - middle * middle, 0.0))
        mean += middle
        low, high = mean - 2 * sigma, mean + 2 * sigma
    if sigma <= 0:
        return mean, 0.0
    start, width = mean - 5 * sigma, 10 * sigma / _BINS
    histogram = np.zeros(_BINS, np.int64)
    for value in values:
        place = (value - start) / width
        if 0 <= place < _BINS:
            histogram[int(place)] += 1
    return _clipped(histogram, start, width)


@compiled
def _clipped(histogram: NDArray[np.int64], start: float, width: float) -> tuple[float, float]:
    first, last = 0, _BINS
    mean, median, sigma = 0.0, 0.0, 0.0
    for _ in range(50):
        count, one, two = 0, 0.0, 0.0
        for place in range(first, last):
            count += histogram[place]
            one += histogram[place] * place
            two += histogram[place] * float(place) * place
        if not count:
            break
        mean = one / count
        sigma = np.sqrt(max(two / count - mean * mean, 0.0)) + 1e-9
        below, median = 0, float(first)
        for place in range(first, last):
            if 2 * (below + histogram[place]) >= count:
                median = place - 0.5 + (count / 2 - below) / max(histogram[place], 1)
                break
            below += histogram[place]
        new_first = max(int(median - 3 * sigma), 0)
        new_last = min(int(median + 3 * sigma) + 2, _BINS)
        if new_first <= first and new_last >= last:
            break
        first, last = max(first, new_first), min(last, new_last)
    mode = 2.5 * median - 1.5 * mean if abs(mean - median) < _CROWDED * sigma else median
    return start + (mode + 0.5) * width, sigma * width


@compiled
def sky_row(mesh: Mesh, y: int, level: Floats, weight: Floats) -> None:
    """Interpolate a mesh along a row of the frame: the level by cubic convolution (Keys 1981), the weight straight."""
    rows, columns = mesh.level.shape
    place = (y + 0.5) / mesh.side_y - 0.5
    row = min(max(int(np.floor(place)), -1), rows - 3)
    u0, u1, u2, u3 = _keys(place - row)
    up = min(max(place - row, 0.0), 1.0)
    levels, weights = np.empty(columns), np.empty(columns)
    for index in range(columns):
        levels[index] = (
            u0 * mesh.level[max(row, 0), index] + u1 * mesh.level[row + 1, index]
            + u2 * mesh.level[row + 2, index] + u3 * mesh.level[min(row + 3, rows - 1), index]
        )  # fmt: skip
        weights[index] = (1 - up) * mesh.weight[row + 1, index] + up * mesh.weight[row + 2, index]
    for column in range(-1, columns - 2):
        start = max(int(np.ceil((column + 0.5) * mesh.side_x - 0.5)), 0)
        end = min(int(np.ceil((column + 1.5) * mesh.side_x - 0.5)), len(level))
        before, after = levels[max(column, 0)], levels[min(column + 3, columns - 1)]
        here, there = levels[column + 1], levels[column + 2]
        first = 0.5 * (there - before)
        second = before - 2.5 * here + 2 * there - 0.5 * after
        third = 0.5 * (after - before) + 1.5 * (here - there)
        weight_here, rise = weights[column + 1], weights[column + 2] - weights[column + 1]
        for x in range(start, end):
            t = (x + 0.5) / mesh.side_x - 0.5 - column
            level[x] = here + t * (first + t * (second + t * third))
            weight[x] = weight_here + t * rise


@inlined
def _keys(t: float) -> tuple[float, float, float, float]:
    return (
        t * (t * (1 - 0.5 * t) - 0.5), 1 + t * t * (1.5 * t - 2.5), t * (0.5 + t * (2 - 1.5 * t)),
        t * t * (0.5 * t - 0.5)
    )  # fmt: skip


@compiled
def add(piece: Piece, mesh: Mesh, first_row: int, sums: Sums, at_y: int, at_x: int) -> None:
    """Add rows of a frame, of which the first is its row `first_row`, to the sums at (`at_y`, `at_x`)."""
    rows, columns = piece.data.shape
    level, weights = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for y in range(rows):
        sky_row(mesh, first_row + y, level, weights)
        row, window = at_y + y, slice(at_x, at_x + columns)
        masked = _add_good(piece.data[y], piece.variance[y], piece.mask[y], level, weights, sums.value[row, window],
                           sums.weight[row, window], sums.variance[row, window], sums.frames[row, window])  # fmt: skip
        if masked:
            for x in range(columns):
                if piece.mask[y, x]:
                    _add_masked(piece, y, x, level[x], weights[x], sums, row, at_x + x)


@compiled
def _add_good(
    data: Floats, noise: Floats, mask: Masks, level: Floats, weights: Floats, value: Doubles, weight: Doubles,
    variance: Doubles, frames: Masks,
) -> bool:  # fmt: skip
    """Add the good pixels of a row; return whether there are others that have data."""
    others = 0
    for x in range(len(data)):
        good = mask[x] == 0
        others |= mask[x] & NO_DATA ^ mask[x]
        share = weights[x] if good else np.float32(0)
        value[x] += share * (data[x] - level[x]) if good else np.float32(0)
        weight[x] += share
        variance[x] += share * share * noise[x] if good else np.float32(0)
        frames[x] += np.uint16(good)
    return others != 0


@compiled
def _add_masked(
    piece: Piece, y: int, x: int, level: float, weight: float, sums: Sums, row: int, column: int
) -> None:  # fmt: skip
    bits = piece.mask[y, x]
    if not bits & np.uint16(NO_DATA):
        sums.masked_value[row, column] += weight * (piece.data[y, x] - level)
        sums.masked_weight[row, column] += weight
        sums.masked_variance[row, column] += weight * weight * piece.variance[y, x]
        sums.bits[row, column] |= bits


@compiled
def finish(sums: Sums, data: Floats, variance: Floats, mask: Masks, count: Masks) -> None:
    """Turn the sums into means; where no frame has a good pixel the masked ones', with their bits, or NO_DATA."""
    rows, columns = data.shape
    for y in range(rows):
        for x in range(columns):
            count[y, x] = sums.frames[y, x]
            weight = sums.weight[y, x]
            if sums.frames[y, x] and weight > 0:
                data[y, x] = sums.value[y, x] / weight
                variance[y, x] = sums.variance[y, x] / (weight * weight)
                mask[y, x] = 0
            elif sums.masked_weight[y, x] > 0:
                weight = sums.masked_weight[y, x]
                data[y, x] = sums.masked_value[y, x] / weight
                variance[y, x] = sums.masked_variance[y, x] / (weight * weight)
                mask[y, x] = sums.bits[y, x]
            else:
                data[y, x], variance[y, x], mask[y, x] = 0, 0, NO_DATA


@compiled
def stack(
    piece: Piece, mesh: Mesh, first_row: int, sums: Sums, values: Floats, variances: Floats, weights: Floats,
    at_y: int, at_x: int,
) -> None:  # fmt: skip
    """Put the good pixels of a frame's rows into planes of a stack (weight 0 elsewhere), add the masked to the sums."""
    rows, columns = piece.data.shape
    level, weight = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for y in range(rows):
        sky_row(mesh, first_row + y, level, weight)
        row = at_y + y
        for x in range(columns):
            column = at_x + x
            if piece.mask[y, x] == 0:
                values[row, column], variances[row, column] = piece.data[y, x] - level[x], piece.variance[y, x]
                weights[row, column] = weight[x]
            else:
                _add_masked(piece, y, x, level[x], weight[x], sums, row, column)


@compiled
def middles(values: Floats, weights: Floats, middle: Floats) -> None:
    """Put the median of the frames into `middle`; of two frames the fainter, NaN of none."""
    number, rows, columns = values.shape
    order = np.empty(number, np.float32)
    for y in range(rows):
        for x in range(columns):
            count = 0
            for frame in range(number):
                if weights[frame, y, x] > 0:
                    order[count] = values[frame, y, x]
                    count += 1
            if count > 2:
                middle[y, x] = _median(order, count)
            else:
                middle[y, x] = min(order[0], order[count - 1]) if count else np.nan


@compiled
def _range_around(middle: Floats, y: int, x: int) -> float:
    """Return by how much the medians differ within two pixels: what a change of seeing may do."""
    low, high = middle[y, x], middle[y, x]
    for v in range(max(y - REACH, 0), min(y + REACH + 1, middle.shape[0])):
        for u in range(max(x - REACH, 0), min(x + REACH + 1, middle.shape[1])):
            if np.isfinite(middle[v, u]):
                low, high = min(low, middle[v, u]), max(high, middle[v, u])
    return float(high - low)


@compiled
def clip(
    stacked: tuple[Floats, Floats, Floats, Floats], first: int, sigma: float, fraction: float, sums: Sums,
    rejected: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add what is left of a stack to the sums, after what is far from the median of the frames is taken out.

    Far is more than `sigma` times the noise of the difference; where the median differs from its neighbours by more
    than noise, in the image of a star, so much more as it does there, and `fraction` of the median. Of two frames the
    brighter one is taken for the wrong one. The stack begins `first` rows before the sums.
    """
    values, variances, weights, middle = stacked
    number, columns = values.shape[0], values.shape[2]
    for row in range(sums.value.shape[0]):
        y = row + first
        for x in range(columns):
            inverse, count = 0.0, 0
            for frame in range(number):
                if weights[frame, y, x] > 0:
                    inverse += 1.0 / variances[frame, y, x]
                    count += 1
            # Of two frames the fainter one, which the other is held to, has its own noise.
            of_middle = 1.5707963 / inverse if count > 2 else (count / inverse if count else 0.0)
            for frame in range(number):
                if not weights[frame, y, x] > 0:
                    continue
                value, variance = values[frame, y, x], variances[frame, y, x]
                far = abs(value - middle[y, x])
                limit = sigma * np.sqrt(variance + of_middle)
                if far > limit:
                    differs = _range_around(middle, y, x)
                    if differs > _STRUCTURE * np.sqrt(of_middle):
                        limit += differs + fraction * abs(middle[y, x])
                if far > limit:
                    rejected[frame] += 1
                    continue
                weight = float(weights[frame, y, x])
                sums.value[row, x] += weight * value
                sums.weight[row, x] += weight
                sums.variance[row, x] += weight * weight * variance
                sums.frames[row, x] += np.uint16(1)


@compiled
def median(values: Floats, variances: Floats, weights: Floats, sums: Sums) -> None:
    """Put the median of a stack into the sums, with the variance of a median of Gaussian values."""
    number, rows, columns = values.shape
    order = np.empty(number, np.float32)
    for y in range(rows):
        for x in range(columns):
            count, precision, total = 0, 0.0, 0.0
            for frame in range(number):
                if weights[frame, y, x] > 0:
                    order[count] = values[frame, y, x]
                    precision += 1.0 / np.sqrt(variances[frame, y, x])
                    total += variances[frame, y, x]
                    count += 1
            if not count:
                continue
            sums.value[y, x], sums.weight[y, x] = _median(order, count), 1.0
            if count <= 2:
                sums.variance[y, x] = total / (count * count)
            else:
                # Count times the variance of the median of Gaussian values, right to 0.6 %.
                loss = 1.5707963 * count / (count + (0.51 if count % 2 else 1.34))
                sums.variance[y, x] = loss * count / (precision * precision)
            sums.frames[y, x] = count


@compiled
def _median(order: Floats, count: int) -> float:
    """Return the median of the first values, which are sorted in place."""
    for index in range(1, count):
        value, place = order[index], index
        while place > 0 and order[place - 1] > value:
            order[place] = order[place - 1]
            place -= 1
        order[place] = value
    return (float(order[(count - 1) // 2]) + float(order[count // 2])) / 2


def empty_sums(rows: int, columns: int) -> Sums:
    """Return sums of nothing."""
    value, weight, variance, masked_value, masked_weight, masked_variance = np.zeros((6, rows, columns))
    bits, frames = np.zeros((2, rows, columns), np.uint16)
    return Sums(value, weight, variance, masked_value, masked_weight, masked_variance, bits, frames)


def rows_of(sums: Sums, start: int, end: int) -> Sums:
    """Return some rows of the sums, as views."""
    rows = slice(start, end)
    return Sums(sums.value[rows], sums.weight[rows], sums.variance[rows], sums.masked_value[rows],
                sums.masked_weight[rows], sums.masked_variance[rows], sums.bits[rows], sums.frames[rows])  # fmt: skip


@warm_up
def _on_a_few_pixels() -> None:
    pixels, mask = np.ones((8, 8), np.float32), np.zeros((8, 8), np.uint16)
    pixels[::2] = 2
    piece = Piece(pixels, np.ones((8, 8), np.float32), mask)
    cells = np.zeros((3, 1))
    mesh_row(piece, np.array([0, 8]), cells[0], cells[1], cells[2])
    mesh = Mesh(np.ones((3, 3)), np.ones((3, 3)), 8.0, 8.0)
    sums = empty_sums(8, 8)
    add(piece, mesh, 0, sums, 0, 0)
    planes = np.zeros((3, 2, 8, 8), np.float32)
    stack(piece, mesh, 0, sums, planes[0, 0], planes[1, 0], planes[2, 0], 0, 0)
    middle = np.zeros((8, 8), np.float32)
    middles(planes[0], planes[2], middle)
    clip((planes[0], planes[1], planes[2], middle), 0, 4.0, 0.3, sums, np.zeros(2, np.int64))
    median(planes[0], planes[1], planes[2], sums)
    window = slice(0, 8), slice(0, 8)
    made = [np.zeros((9, 9), kind)[window] for kind in (np.float32, np.float32, np.uint16, np.uint16)]
    finish(sums, made[0], made[1], made[2], made[3])
