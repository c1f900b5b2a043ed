"""Kernels of regridding: interpolating a tile of a frame at the places that a coarse mesh gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up
from recipes.ccd.kernels.lanczos_filling import GOOD, PAD, Tile, tile_of
from recipes.ccd.kernels.lanczos_masked import near_masked
from recipes.ccd.kernels.lanczos_taps import between, combine4, combine6, combine8, take
from recipes.ccd.kernels.lanczos_weights import ROOM, SPARE, find_weights, weights_of
from recipes.masks import INTERPOLATED, NO_DATA

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Wholes = NDArray[np.int32]
Limits = tuple[float, float, float, float]
Cubic = tuple[float, float, float, float]
Whole = np.uintp

_FAR = 1e8  # pixel: farther than any place of a frame
_NOWHERE = -(2**30)


class Mesh(NamedTuple):
    """Where a tile lies for each pixel of the grid.

    ``nodes`` are x, y (in pixels of the tile) and area ratio at every ``step`` pixels of the grid, the first at
    (``first_y``, ``first_x``) in pixels of the window that is made, with one more node on every side than is between;
    ``limits`` the least and largest x, and y, at which the frame has data.
    """

    nodes: Doubles
    step: int
    first_y: int
    first_x: int
    limits: Limits


class Kernel(NamedTuple):
    """How to interpolate: taps in each direction, polynomials of their weights, places to each pixel, and factors.

    A pixel is the mean of ``samples``² places in it, times ``factor`` and the area ratio, its variance as well times
    ``noise_factor``.
    """

    taps: int
    terms: Floats
    samples: int
    factor: float
    noise_factor: float


class Planes(NamedTuple):
    """What is made."""

    data: Floats
    variance: Floats
    mask: NDArray[np.uint16]


class Run(NamedTuple):
    """Pixels of one row that lie side by side: places, what is found for them, and their weights.

    A place is the pixel of the tile that it lies in, counted along its rows, and how far to the right and up in it.
    ``spot`` is that pixel's number less the place's own: the same for those that follow each other along a row of the
    tile. ``along`` and ``across`` have ROOM places for each tap.
    """

    spot: Wholes
    right: Floats
    up: Floats
    ratio: Floats
    value: Floats
    noise: Floats
    along: Floats
    across: Floats


def new_run() -> Run:
    """Return room for the pixels of a row."""
    right, up, ratio, value, noise = np.zeros((5, ROOM), np.float32)
    along, across = np.zeros((2, 8 * ROOM), np.float32)
    return Run(np.zeros(ROOM, np.int32), right, up, ratio, value, noise, along, across)


@compiled
def resample(tile: Tile, mesh: Mesh, kernel: Kernel, run: Run, made: Planes, window: tuple[int, int, int, int]) -> None:
    """Interpolate a tile for a window (first row, first column, rows, columns) of the planes that are made.

    The window is at most WIDEST columns wide.
    """
    top, left, rows, columns = window
    step, samples = mesh.step, kernel.samples
    along = np.empty((3, mesh.nodes.shape[2]))
    lost = np.empty(columns, np.uint8)
    whole = slice(left, left + columns)
    for row in range(rows):
        data, variance, bits = made.data[top + row, whole], made.variance[top + row, whole], made.mask[top + row, whole]
        bits[:], lost[:] = 0, 0
        cell = (row - mesh.first_y) // step
        gone, is_first = False, True
        for sub_y in range(samples):
            _blend(mesh.nodes, cell, (row + (sub_y + 0.5) / samples - 0.5 - mesh.first_y - cell * step) / step, along)
            for sub_x in range(samples):
                outside = _find_places(along, mesh, (sub_x + 0.5) / samples - 0.5, columns, tile, kernel.taps, run)
                if outside == columns:
                    lost[:] = 1
                else:
                    gone |= _interpolate(tile, kernel, columns, run, bits, lost)
                    _add(run, kernel, is_first, data, variance)
                    is_first = False
                gone |= outside > 0
        if is_first:
            data[:], variance[:] = 0, 0
        if gone:
            for column in range(columns):
                if lost[column]:
                    data[column], variance[column] = 0, 0
                    bits[column] = (bits[column] & ~np.uint16(INTERPOLATED)) | np.uint16(NO_DATA)


@compiled
def _blend(nodes: Doubles, cell: int, t: float, along: Doubles) -> None:
    """Interpolate the nodes across the rows of a cell."""
    w0, w1 = -t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2
    w2, w3 = -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6
    for index in range(nodes.shape[2]):
        for plane in range(3):
            along[plane, index] = (
                w0 * nodes[plane, cell - 1, index] + w1 * nodes[plane, cell, index]
                + w2 * nodes[plane, cell + 1, index] + w3 * nodes[plane, cell + 2, index]
            )  # fmt: skip


@inlined
def _cubic(values: Doubles, cell: int) -> tuple[float, float, float, float]:
    """Return the coefficients of the cubic through four nodes, in units of the cell."""
    before, start, end, after = values[cell - 1], values[cell], values[cell + 1], values[cell + 2]
    second = (before + end) / 2 - start
    third = (after - before + 3 * (start - end)) / 6
    return start, end - start - second - third, second, third


@compiled
def _find_places(along: Doubles, mesh: Mesh, shift: float, columns: int, tile: Tile, taps: int, run: Run) -> int:
    """Find the places of the pixels of a row, or beside them by `shift`; return how many are not on the frame."""
    outside, width = 0, tile.width
    rounding = np.float32(0.5 if taps == 2 else 0.0)
    for cell in range(1, along.shape[1] - 2):
        origin = mesh.first_x + cell * mesh.step
        start, end = max(origin, 0), min(origin + mesh.step, columns)
        if start < end:
            x, y, area = _cubic(along[0], cell), _cubic(along[1], cell), _cubic(along[2], cell)
            first = (start - origin + shift) / mesh.step
            outside += _in_cell(x, y, area, first, 1.0 / mesh.step, mesh.limits, rounding, start, end, width, run)
    return outside


@compiled
def _in_cell(
    x_terms: Cubic, y_terms: Cubic, area: Cubic, first: float, part: float, limits: Limits, rounding: np.float32,
    start: int, end: int, width: int, run: Run,
) -> int:  # fmt: skip
    """Find the places of pixels of a cell, from a corner of it: float32 is right to 1e-5 pixel there."""
    spots, rights, ups, ratios = run.spot[start:end], run.right[start:end], run.up[start:end], run.ratio[start:end]
    base_x, base_y = np.floor(min(x_terms[0], sum(x_terms))), np.floor(min(y_terms[0], sum(y_terms)))
    if not (abs(base_x) < _FAR and abs(base_y) < _FAR):
        spots[:], rights[:], ups[:], ratios[:] = _NOWHERE, 0, 0, 0
        return end - start
    a0, a1, a2, a3 = (
        np.float32(x_terms[0] - base_x),
        np.float32(x_terms[1]),
        np.float32(x_terms[2]),
        np.float32(x_terms[3]),
    )
    b0, b1, b2, b3 = (
        np.float32(y_terms[0] - base_y),
        np.float32(y_terms[1]),
        np.float32(y_terms[2]),
        np.float32(y_terms[3]),
    )
    c0, c1, c2, c3 = np.float32(area[0]), np.float32(area[1]), np.float32(area[2]), np.float32(area[3])
    zero_x, zero_y = np.float32(-base_x), np.float32(-base_y)
    least_x, most_x = np.float32(limits[0] - base_x), np.float32(limits[1] - base_x)
    least_y, most_y = np.float32(limits[2] - base_y), np.float32(limits[3] - base_y)
    corner, wide = np.int32(np.int64(base_y) * width + np.int64(base_x) - start), np.int32(width)
    place, step = np.float32(first), np.float32(part)
    outside = np.int32(0)
    for index in range(end - start):
        number = np.int32(index)
        t = place + np.float32(number) * step
        x = a0 + t * (a1 + t * (a2 + t * a3))
        y = b0 + t * (b1 + t * (b2 + t * b3))
        off = not ((x >= least_x) & (x <= most_x) & (y >= least_y) & (y <= most_y))
        x = zero_x if off else max(x, zero_x)
        y = zero_y if off else max(y, zero_y)
        whole_x, whole_y = np.floor(x + rounding), np.floor(y + rounding)
        # Held to 32 bits step by step, or a processor would do half as many at once.
        spot = np.int32(np.int32(np.int32(whole_y) * wide) + np.int32(np.int32(whole_x) - number))
        spot = np.int32(spot + corner)
        spots[index] = np.int32(_NOWHERE) if off else spot
        rights[index], ups[index] = x - whole_x, y - whole_y
        ratios[index] = c0 + t * (c1 + t * (c2 + t * c3))
        outside += off
    return int(outside)


@compiled
def _interpolate(
    tile: Tile, kernel: Kernel, number: int, run: Run, bits: NDArray[np.uint16], lost: NDArray[np.uint8]
) -> bool:
    """Interpolate at the places of a row, pixels together that lie side by side in the tile too.

    What lies outside, or in gaps without data, is noted in `lost`; return whether any was in a gap.
    """
    spots, taps, gone = run.spot, kernel.taps, False
    image, noises = tile.filled.reshape(-1), tile.variance.reshape(-1)
    stride, wide, corner = tile.filled.shape[1], tile.variance.shape[1], PAD + 1 - taps // 2
    if taps > 2:
        find_weights(run.right, number, kernel.terms, run.along)
        find_weights(run.up, number, kernel.terms, run.across)
    start = 0
    while start < number:
        spot, end = spots[start], _end_of_run(spots, start, number)
        if spot == _NOWHERE:
            lost[start:end] = 1
            start = end
            continue
        row, column = (spot + start) // tile.width, (spot + start) % tile.width
        at = Whole((row + corner) * stride + column + corner)
        some = (end - start + SPARE - 1) // SPARE * SPARE
        if taps == 6:
            combine6(image, at, Whole(stride), run.along, run.across, Whole(start), some, run.value)
        elif taps == 4:
            combine4(image, at, Whole(stride), run.along, run.across, Whole(start), some, run.value)
        elif taps == 8:
            combine8(image, at, Whole(stride), run.along, run.across, Whole(start), some, run.value)
        else:
            take(image, at, Whole(start), some, run.value)
        between(noises, Whole(row * wide + column), Whole(wide), run.right, run.up, Whole(start), some, run.noise)
        if tile.marked:
            gone |= _mind_masked(tile, spot, start, end, run, bits, lost)
        start = end
    return gone


@compiled
def _end_of_run(spots: Wholes, start: int, number: int) -> int:
    """Return the first place after `start` that has another spot."""
    spot, end = spots[start], start + 1
    while end + SPARE <= number:
        differs = np.int32(0)
        for index in range(SPARE):
            differs |= spots[end + index] ^ spot
        if differs:
            break
        end += SPARE
    while end < number and spots[end] == spot:
        end += 1
    return end


@compiled
def _mind_masked(
    tile: Tile, spot: int, start: int, end: int, run: Run, bits: NDArray[np.uint16], lost: NDArray[np.uint8]
) -> bool:
    """Put right what lies near masked pixels, and tell of it in `bits`; `lost` is what falls into gaps without data.

    Return whether anything does.
    """
    touched, gone = tile.touched.reshape(-1), False
    if not _any(touched[spot + start : spot + end]):
        return False
    for index in range(start, end):
        if touched[spot + index] == GOOD:
            continue
        row, column = (spot + index) // tile.width, (spot + index) % tile.width
        right, up = float(run.right[index]), float(run.up[index])
        causes, is_wide, plain, noise = near_masked(tile, row, column, up, right)
        bits[index] |= causes
        run.noise[index] = np.float32(noise)
        if is_wide:
            run.value[index] = np.float32(plain)
            if causes & np.uint16(NO_DATA):
                lost[index], gone = 1, True
    return gone


@compiled
def _any(values: NDArray[np.uint8]) -> bool:
    found = np.uint8(0)
    for value in values:
        found |= value
    return bool(found != 0)


@compiled
def _add(run: Run, kernel: Kernel, is_first: bool, data: Floats, variance: Floats) -> None:
    """Add what was found, times the area ratio, to the pixels, or put the first of it there."""
    values, noises, ratios, zero = run.value, run.noise, run.ratio, np.float32(0)
    share = kernel.factor / (kernel.samples * kernel.samples)
    value_share, noise_share = np.float32(share), np.float32(share * kernel.factor * kernel.noise_factor)
    for index in range(len(data)):
        ratio = ratios[index]
        data[index] = (zero if is_first else data[index]) + value_share * ratio * values[index]
        variance[index] = (zero if is_first else variance[index]) + noise_share * (ratio * ratio) * noises[index]


@warm_up
def _on_a_few_pixels() -> None:
    mask = np.zeros((8, 8), np.uint16)
    mask[3, 3] = 1
    tile = tile_of(np.ones((8, 8), np.float32), np.ones((8, 8), np.float32), mask)
    places = np.arange(-8.0, 24.0, 8)
    nodes = np.stack([np.broadcast_to(places, (4, 4)), np.broadcast_to(places[:, None], (4, 4)), np.ones((4, 4))])
    taps, terms = weights_of("LANCZOS3")
    made = Planes(np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32), np.zeros((8, 8), np.uint16))
    mesh = Mesh(np.ascontiguousarray(nodes), 8, -8, -8, (0.0, 7.0, 0.0, 7.0))
    resample(tile, mesh, Kernel(taps, terms, 1, 1.0, 1.0), new_run(), made, (0, 0, 8, 8))
