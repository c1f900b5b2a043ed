"""Kernels that take a frame for the coadd: its rows, and sky, noise and variance in the cells of a mesh."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, read_only, warm_up
from recipes.masks import LARGEST_VALUE, NO_DATA

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Masks = NDArray[np.uint16]

_LARGEST = np.float32(LARGEST_VALUE)
_BINS = 512
_LEAST_BINS = 20  # of a sigma: beside a bright star it takes a closer look to see the sky
_LOOKS = 6
_LEAST_PIXELS = 16
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


def piece_of(data: Floats, variance: Floats, mask: Masks, factor: float, step: int = 1) -> Piece:
    """Return every `step`-th of some rows of a frame, multiplied by `factor`.

    NO_DATA has what no number of photons makes, or has no possible variance.
    """
    rows, columns = -(-len(data) // step), data.shape[1]
    made, noise = np.empty((2, rows, columns), np.float32)
    piece = Piece(made, noise, np.empty((rows, columns), np.uint16))
    _fill_piece(read_only(data), read_only(variance), read_only(mask), factor, step, piece)
    return piece


@compiled
def _fill_piece(data: Floats, variance: Floats, mask: Masks, factor: float, step: int, piece: Piece) -> None:
    once, twice = np.float32(factor), np.float32(factor * factor)
    for row in range(len(piece.mask)):
        values, noises, bits = data[row * step], variance[row * step], mask[row * step]
        made, noise, flags = piece.data[row], piece.variance[row], piece.mask[row]
        for x in range(len(values)):
            value, square = values[x] * once, noises[x] * twice
            possible = (square >= 0) & (square < np.inf)
            made[x], noise[x] = value, square if possible else np.float32(0)
            flags[x] = bits[x] | np.uint16(0 if possible & (abs(value) < _LARGEST) else NO_DATA)


@compiled
def mesh_row(piece: Piece, columns: NDArray[np.int64], level: Doubles, noise: Doubles, variance: Doubles) -> None:
    """Measure sky level, its noise and the variance of the good pixels in cells side by side; NaN where few are good.

    `columns` are the edges of the cells, which are as high as the piece.
    """
    values = np.empty(piece.data.size, np.float32)
    rows = piece.data.shape[0]
    for cell in range(len(columns) - 1):
        count, total = 0, 0.0
        for y in range(rows):
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
            for y in range(rows):
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
    reach = 5 * sigma
    for _ in range(_LOOKS):
        start, width = mean - reach, 2 * reach / _BINS
        histogram = np.zeros(_BINS, np.int64)
        for value in values:
            place = (value - start) / width
            if 0 <= place < _BINS:
                histogram[int(place)] += 1
        mean, sigma = _clipped(histogram, start, width)
        if sigma >= _LEAST_BINS * width:
            break
        reach = 10 * sigma
    return mean, sigma


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


@warm_up
def _on_a_few_pixels() -> None:
    pixels, cells = np.ones((8, 8), np.float32), np.zeros((3, 1))
    pixels[::2] = 2
    piece = piece_of(pixels, np.ones((8, 8), np.float32), np.zeros((8, 8), np.uint16), 1.0)
    mesh_row(piece, np.array([0, 8]), cells[0], cells[1], cells[2])
    level, weight = np.zeros((2, 8), np.float32)
    sky_row(Mesh(np.ones((3, 3)), np.ones((3, 3)), 8.0, 8.0), 0, level, weight)
