"""Kernels of the coadd: pixels of frames, less their sky, added up with their weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.coadding_sky import Mesh, Piece, piece_of, sky_row
from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.masks import NO_DATA

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Masks = NDArray[np.uint16]


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
                    add_masked(piece, y, x, level[x], weights[x], sums, row, at_x + x)


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
def add_masked(
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
    ones, mask = np.ones((8, 8), np.float32), np.zeros((8, 8), np.uint16)
    piece, sums = piece_of(ones, ones, mask, 1.0), empty_sums(8, 8)
    add(piece, Mesh(np.ones((3, 3)), np.ones((3, 3)), 8.0, 8.0), 0, sums, 0, 0)
    window = slice(0, 8), slice(0, 8)
    made = [np.zeros((9, 9), kind)[window] for kind in (np.float32, np.float32, np.uint16, np.uint16)]
    finish(sums, made[0], made[1], made[2], made[3])
