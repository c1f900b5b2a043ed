"""Kernels that fill what is masked in a tile, before it is interpolated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, read_only, warm_up
from recipes.ccd.kernels.lanczos_weights import SPARE
from recipes.masks import FRINGE_UNTRUSTED, INTERPOLATED, NO_DATA, SATURATED

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

PAD = 4  # pixels around a tile that the widest kernel may ask for
# Pixels of the frame around those that a tile is centred on: the kernel's reach, three rounds of filling inwards, and
# the reach of one filled across.
MARGIN = 12
GOOD, BRIDGED, WIDE = 0, 1, 2

# What these bits mark are numbers that may be used, though with less trust.
_SOFT = INTERPOLATED | FRINGE_UNTRUSTED
_WIDEST_GAP = 3  # masked pixels in a line that are bridged
_ROUNDS = 3
_RISE = 5.0  # sigma from which a step between neighbours is a star's profile
_NEVER = 255
_DIRECTIONS = np.array([[0, 1], [1, 0], [1, 1], [1, -1]])


class Tile(NamedTuple):
    """Copies of a part of a frame, `width` columns wide.

    ``filled`` is padded by PAD on each side; ``variance`` has one more row and column than the part, copies of the last
    ones; both have SPARE columns behind. ``state`` is good, bridged or wide; ``touched`` the largest of it over a pixel
    and its right and upper neighbours. Where nothing is ``marked`` these two, ``raw`` and ``mask`` are empty.
    """

    filled: Floats
    raw: Floats
    variance: Floats
    mask: NDArray[np.uint16]
    touched: Bytes
    state: Bytes
    width: int
    marked: bool


def tile_of(
    data: Floats, variance: Floats, mask: NDArray[np.uint16], bounds: tuple[int, int, int, int] | None = None
) -> Tile:
    """Return copies of a part of a frame (first row, end, first column, end), filled and ready to be interpolated."""
    y0, y1, x0, x1 = bounds or (0, data.shape[0], 0, data.shape[1])
    height, width = y1 - y0, x1 - x0
    filled = np.empty((height + 2 * PAD, width + 2 * PAD + SPARE), np.float32)
    noise = np.empty((height + 1, width + 1 + SPARE), np.float32)
    marked = copy_part(read_only(data), read_only(variance), read_only(mask), y0, x0, filled, noise)
    size = (height, width) if marked else (0, 0)
    raw, bits = np.empty(size, np.float32), np.empty(size, np.uint16)
    tile = Tile(filled, raw, noise, bits, np.empty(size, np.uint8), np.empty(size, np.uint8), width, marked)
    if marked:
        raw[:], bits[:] = data[y0:y1, x0:x1], mask[y0:y1, x0:x1]
        mark(raw, noise, bits)
        fill(tile)
    surround(filled, noise)
    return tile


@compiled
def copy_part(
    data: Floats, variance: Floats, mask: NDArray[np.uint16], y0: int, x0: int, filled: Floats, noise: Floats
) -> bool:
    """Copy a part of a frame from row `y0`, column `x0` on; return whether any pixel has a bit or is unusual."""
    height, width = noise.shape[0] - 1, noise.shape[1] - 1 - SPARE
    marked = False
    for y in range(height):
        values, noises = data[y0 + y, x0 : x0 + width], variance[y0 + y, x0 : x0 + width]
        bits = mask[y0 + y, x0 : x0 + width]
        filled_row, noise_row = filled[y + PAD, PAD : PAD + width], noise[y, :width]
        unusual = np.uint32(0)
        for x in range(width):
            value, square = values[x], noises[x]
            usual = (value - value == 0) & (square > 0) & (square < np.float32(np.inf))
            unusual |= np.uint32(bits[x]) | np.uint32(0 if usual else 1)
            filled_row[x], noise_row[x] = value, square
        marked |= unusual != 0
    return marked


@compiled
def mark(data: Floats, variance: Floats, mask: NDArray[np.uint16]) -> None:
    """Give what is no number, or has no variance, the bit NO_DATA."""
    height, width = mask.shape
    for y in range(height):
        values, noises, bits = data[y], variance[y, :width], mask[y]
        for x in range(width):
            usual = (values[x] - values[x] == 0) & (noises[x] > 0) & (noises[x] < np.inf)
            bits[x] |= np.uint16(0 if usual else NO_DATA)


@compiled
def surround(filled: Floats, variance: Floats) -> None:
    """Continue the outermost pixels outwards."""
    height, width = variance.shape[0] - 1, variance.shape[1] - 1 - SPARE
    for y in range(height):
        filled[y + PAD, :PAD] = filled[y + PAD, PAD]
        filled[y + PAD, width + PAD :] = filled[y + PAD, width + PAD - 1]
        variance[y, width:] = variance[y, width - 1]
    variance[height] = variance[height - 1]
    for y in range(PAD):
        filled[y] = filled[PAD]
        filled[height + PAD + y] = filled[height + PAD - 1]


@compiled
def fill(tile: Tile) -> None:
    """Fill a tile and note where that matters."""
    mask, state = tile.mask, tile.state
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            state[y, x] = WIDE if mask[y, x] & ~np.uint16(_SOFT) else GOOD
    _fill_gaps(tile)
    _touch(tile)


@compiled
def _touch(tile: Tile) -> None:
    state, mask = tile.state, tile.mask
    height, width = state.shape
    for y in range(height):
        up = min(y + 1, height - 1)
        for x in range(width):
            right = min(x + 1, width - 1)
            worst = max(state[y, x], state[y, right], state[up, x], state[up, right])
            if worst == GOOD and (mask[y, x] | mask[y, right] | mask[up, x] | mask[up, right]):
                worst = BRIDGED
            tile.touched[y, x] = worst


@compiled
def _fill_gaps(tile: Tile) -> None:
    """Bridge narrow gaps, continue the rest inwards from its border; what is deeper keeps its value, or zero."""
    ys, xs = np.nonzero(tile.state)
    values = np.empty(len(ys), np.float32)
    for index in range(len(ys)):
        y, x = ys[index], xs[index]
        values[index] = np.nan if tile.mask[y, x] & np.uint16(SATURATED) else _bridged(tile.raw, tile.state, y, x)
    since = np.zeros(tile.state.shape, np.uint8)
    for index in range(len(ys)):
        y, x = ys[index], xs[index]
        if np.isfinite(values[index]):
            tile.state[y, x] = BRIDGED
            tile.filled[y + PAD, x + PAD] = values[index]
        else:
            since[y, x] = _NEVER
    for index in range(len(ys)):
        y, x = ys[index], xs[index]
        if since[y, x] == _NEVER and tile.mask[y, x] & np.uint16(SATURATED):
            values[index] = _upwards(tile, since, y, x)
    for index in range(len(ys)):
        if np.isfinite(values[index]) and since[ys[index], xs[index]] == _NEVER:
            since[ys[index], xs[index]] = 1
            tile.filled[ys[index] + PAD, xs[index] + PAD] = values[index]
    _continue_inwards(tile.filled, since, ys, xs)
    for index in range(len(ys)):
        y, x = ys[index], xs[index]
        if since[y, x] == _NEVER and not np.isfinite(tile.raw[y, x]):
            tile.filled[y + PAD, x + PAD] = 0


@compiled
def _upwards(tile: Tile, since: Bytes, y: int, x: int) -> float:
    """Return how a star goes on in a saturated pixel beside good ones; NaN where none are.

    Where the profile rises towards it, by as much again as in the step before, at most to what the pixel has; beside
    sky, as where charge ran over, it is sky.
    """
    raw, variance = tile.raw, tile.variance
    height, width = raw.shape
    total, number = 0.0, 0
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            v, u = y + dy, x + dx
            if not (0 <= v < height and 0 <= u < width) or since[v, u] or (dy == 0 and dx == 0):
                continue
            near = float(tile.filled[v + PAD, u + PAD])
            value = near
            if _is_good(tile.state, v, u) and _is_good(tile.state, v + dy, u + dx):
                far = float(raw[v + dy, u + dx])
                rises = near - far > _RISE * np.sqrt(variance[v, u] + variance[v + dy, u + dx])
                if rises and far > 0 and raw[y, x] > near:
                    value = min(near * near / far, float(raw[y, x]))
            total += value
            number += 1
    return total / number if number else np.nan


@compiled
def _continue_inwards(filled: Floats, since: Bytes, ys: Places, xs: Places) -> None:
    """Fill from the border of each gap, a ring a round, with the mean of the neighbours that are known already."""
    height, width = since.shape
    for around in range(1, _ROUNDS + 1):
        for index in range(len(ys)):
            y, x = ys[index], xs[index]
            if since[y, x] != _NEVER:
                continue
            total, number = np.float32(0), 0
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    if since[v, u] < around:
                        total += filled[v + PAD, u + PAD]
                        number += 1
            if number:
                since[y, x] = around
                filled[y + PAD, x + PAD] = total / np.float32(number)


@compiled
def _bridged(raw: Floats, state: Bytes, y: int, x: int) -> float:
    """Return the value of a masked pixel from good ones on both sides, where the gap is narrowest; else NaN."""
    best, total, number = 1e9, 0.0, 0
    for direction in range(4):
        dy, dx = _DIRECTIONS[direction, 0], _DIRECTIONS[direction, 1]
        before, after = 0, 0
        for step in range(_WIDEST_GAP, 0, -1):
            if _is_good(state, y - step * dy, x - step * dx):
                before = step
            if _is_good(state, y + step * dy, x + step * dx):
                after = step
        if not before or not after or before + after > _WIDEST_GAP + 1:
            continue
        gap = (before + after) * np.sqrt(float(dy * dy + dx * dx))
        if gap < best - 1e-6:
            best, total, number = gap, 0.0, 0
        if gap < best + 1e-6:
            total += _across(raw, state, y, x, dy, dx, before, after)
            number += 1
    return total / number if number else np.nan


@compiled
def _across(raw: Floats, state: Bytes, y: int, x: int, dy: int, dx: int, before: int, after: int) -> float:
    """Return the value on the line between two good pixels; on the cubic where each has a good one behind it."""
    low, high = float(raw[y - before * dy, x - before * dx]), float(raw[y + after * dy, x + after * dx])
    if before + after == 2 and _is_good(state, y - 2 * dy, x - 2 * dx) and _is_good(state, y + 2 * dy, x + 2 * dx):
        return (4.0 * (low + high) - float(raw[y - 2 * dy, x - 2 * dx]) - float(raw[y + 2 * dy, x + 2 * dx])) / 6.0
    return (after * low + before * high) / (before + after)


@compiled
def _is_good(state: Bytes, y: int, x: int) -> bool:
    inside = 0 <= y < state.shape[0] and 0 <= x < state.shape[1]
    return inside and bool(state[y, x] == GOOD)


@warm_up
def _on_a_few_pixels() -> None:
    mask = np.zeros((8, 8), np.uint16)
    mask[3, 3], mask[6:, 6:] = 1, SATURATED
    tile_of(np.ones((8, 8), np.float32), np.ones((8, 8), np.float32), mask)
