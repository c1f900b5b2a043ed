"""Kernels of the coadd that compare the frames pixel by pixel: medians, and what is far from them left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.coadding import Sums, add_masked, empty_sums
from recipes.ccd.kernels.coadding_sky import Mesh, Piece, piece_of, sky_row
from recipes.ccd.kernels.compiled import compiled, warm_up

Floats = NDArray[np.float32]

REACH = 2  # pixels around that tell how much the image of a star may differ with the seeing

_STRUCTURE = 8.0  # sigma of the median: 25 values of noise differ by some four


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
                add_masked(piece, y, x, level[x], weight[x], sums, row, column)


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


@warm_up
def _on_a_few_pixels() -> None:
    ones, mask = np.ones((8, 8), np.float32), np.zeros((8, 8), np.uint16)
    piece, sums = piece_of(ones, ones, mask, 1.0), empty_sums(8, 8)
    mesh = Mesh(np.ones((3, 3)), np.ones((3, 3)), 8.0, 8.0)
    planes = np.zeros((3, 2, 8, 8), np.float32)
    stack(piece, mesh, 0, sums, planes[0, 0], planes[1, 0], planes[2, 0], 0, 0)
    middle = np.zeros((8, 8), np.float32)
    middles(planes[0], planes[2], middle)
    clip((planes[0], planes[1], planes[2], middle), 0, 4.0, 0.3, sums, np.zeros(2, np.int64))
    median(planes[0], planes[1], planes[2], sums)
