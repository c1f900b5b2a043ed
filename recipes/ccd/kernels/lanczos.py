"""Kernels of regridding: interpolating a tile of a frame at the places that a coarse mesh gives.

Lanczos windowed sinc: Duchon 1979, J. Appl. Meteor. 18, 1016.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up
from recipes.ccd.kernels.lanczos_filling import BRIDGED, GOOD, PAD, WIDE, Tile, tile_of
from recipes.masks import INTERPOLATED, NO_DATA

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Whole = np.uintp

PHASES = 4096  # places within a pixel for which weights are kept: 1.2e-4 pixel at most from the one wanted

# A masked pixel counts where its bilinear weight is more than this: a bridged one errs by about its noise, and the
# kernel's own lobes, which reach farther, weigh more.
_LEAST_BRIDGED = 0.05
_LEAST_WIDE = 1e-3
_TOGETHER = 8  # pixels from which it pays to do them together


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
    limits: tuple[float, float, float, float]


class Kernel(NamedTuple):
    """How to interpolate: taps in each direction, their weights by phase, places to each pixel, and factors.

    A pixel is the mean of ``samples``² places in it, times ``factor`` and the area ratio, its variance as well times
    ``noise_factor``.
    """

    taps: int
    table: Floats
    samples: int
    factor: float
    noise_factor: float


class Planes(NamedTuple):
    """What is made."""

    data: Floats
    variance: Floats
    mask: NDArray[np.uint16]


class Run(NamedTuple):
    """Places of pixels of one row that lie side by side, what is found for them, and room for their weights."""

    x: Doubles
    y: Doubles
    value: Floats
    noise: Floats
    along: Floats
    across: Floats
    phase_x: NDArray[np.uintp]
    phase_y: NDArray[np.uintp]


def room_for(number: int) -> Run:
    """Return room for a run of so many pixels."""
    x, y = np.empty((2, number))
    value, noise = np.empty((2, number), np.float32)
    along, across = np.empty((2, 8, number), np.float32)
    phase_x, phase_y = np.empty((2, number), np.uintp)
    return Run(x, y, value, noise, along, across, phase_x, phase_y)


def weights_of(method: str) -> tuple[int, Floats]:
    """Return the number of taps in each direction (4, 6 or 8; 2 for NEAREST) and their weights at each phase.

    The taps begin ``taps / 2 - 1`` pixels before the pixel in which the position lies. But for NEAREST the weights have
    exact moments: they add up to one and have their centre at the position.
    """
    half = {"NEAREST": 1, "BILINEAR": 2, "LANCZOS2": 2, "LANCZOS3": 3, "LANCZOS4": 4}[method]
    phase = np.arange(PHASES + 1)[:, np.newaxis] / PHASES
    distance = np.arange(1 - half, half + 1)[np.newaxis] - phase
    if method == "NEAREST":
        weights = np.where((distance > -0.5) & (distance <= 0.5), 1.0, 0.0)
    elif method == "BILINEAR":
        weights = np.maximum(1 - np.abs(distance), 0)
    else:
        weights = np.where(np.abs(distance) < half, np.sinc(distance) * np.sinc(distance / half), 0)
        weights[np.abs(weights) < 1e-15] = 0
        weights = _with_exact_moments(weights, distance, half)
    table = np.zeros((PHASES + 1, 8), np.float32)
    table[:, : 2 * half] = weights
    return 2 * half, table


def _with_exact_moments(weights: Doubles, distance: Doubles, half: int) -> Doubles:
    """Return Lanczos weights that add up to one, and to zero times the distance.

    Windowed, they do neither: with LANCZOS3 flux would waver by 0.6 % with the phase, and, with the first put right
    alone, still by 0.1 % where a distortion changes the scale by 1 %. What is missing of the first moment is given by a
    straight line over the taps, up to 0.003 a weight.
    """
    weights = weights / weights.sum(axis=1, keepdims=True)
    missing = -np.sum(weights * distance, axis=1, keepdims=True)
    within = np.abs(distance) < half
    zeroth, first, second = (np.sum(within * distance**power, axis=1, keepdims=True) for power in range(3))
    slope = missing / (second - first**2 / zeroth)
    return np.asarray(weights + slope * (distance - first / zeroth) * within)


@compiled
def resample(tile: Tile, mesh: Mesh, kernel: Kernel, run: Run, made: Planes, window: tuple[int, int, int, int]) -> None:
    """Interpolate a tile for a window (first row, first column, rows, columns) of the planes that are made."""
    top, left, rows, columns = window
    step, samples, count = mesh.step, kernel.samples, mesh.nodes.shape[2]
    along = np.empty((3, count))
    lost = np.empty(columns, np.uint8)
    part = 1.0 / step
    share = kernel.factor / (samples * samples)
    noise_share = share * kernel.factor * kernel.noise_factor
    for row in range(rows):
        whole = slice(left, left + columns)
        row_data, row_variance, row_mask = (
            made.data[top + row, whole], made.variance[top + row, whole], made.mask[top + row, whole]
        )  # fmt: skip
        row_data[:], row_variance[:], row_mask[:], lost[:] = 0, 0, 0, 0
        cell_y = (row - mesh.first_y) // step
        for sub_y in range(samples):
            up = (row + (sub_y + 0.5) / samples - 0.5 - mesh.first_y - cell_y * step) / step
            _blend(mesh.nodes, cell_y, up, along)
            for cell in range(1, count - 2):
                origin = mesh.first_x + cell * step
                start, end = max(origin, 0), min(origin + step, columns)
                if start >= end:
                    continue
                bits, gone = row_mask[start:end], lost[start:end]
                data, variance = row_data[start:end], row_variance[start:end]
                a0, a1, a2, a3 = _cubic(along[2], cell)
                for sub_x in range(samples):
                    place = (start - origin + (sub_x + 0.5) / samples - 0.5) / step
                    inside = _find_places(along, cell, place, part, mesh.limits, end - start, run)
                    if inside and kernel.taps != 2 and not _any_touched(tile.touched, run, end - start):
                        _clean(tile, kernel, end - start, run)
                    else:
                        _with_care(tile, kernel, mesh.limits, end - start, run, bits, gone)
                    for index in range(end - start):
                        t = place + index * part
                        ratio = a0 + t * (a1 + t * (a2 + t * a3))
                        data[index] += np.float32(share * ratio) * run.value[index]
                        variance[index] += np.float32(noise_share * ratio * ratio) * run.noise[index]
        for column in range(columns):
            if lost[column]:
                row_data[column], row_variance[column] = 0, 0
                row_mask[column] = (row_mask[column] & ~np.uint16(INTERPOLATED)) | np.uint16(NO_DATA)


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
def _find_places(
    along: Doubles, cell: int, place: float, step: float, limits: tuple[float, float, float, float], number: int,
    run: Run,
) -> bool:  # fmt: skip
    """Find x and y of pixels of a cell, the first at `place` in it; return whether all are on the frame."""
    a0, a1, a2, a3 = _cubic(along[0], cell)
    b0, b1, b2, b3 = _cubic(along[1], cell)
    least_x, least_y = max(limits[0], 0.0), max(limits[2], 0.0)
    outside = 0
    for index in range(number):
        t = place + index * step
        x = a0 + t * (a1 + t * (a2 + t * a3))
        y = b0 + t * (b1 + t * (b2 + t * b3))
        run.x[index], run.y[index] = x, y
        outside += not ((x >= least_x) & (x <= limits[1]) & (y >= least_y) & (y <= limits[3]))  # so is NaN
    return outside == 0


@compiled
def _any_touched(touched: NDArray[np.uint8], run: Run, number: int) -> bool:
    flat, width = touched.reshape(-1), Whole(touched.shape[1])
    found = np.uint8(0)
    for index in range(number):
        found |= flat[Whole(int(run.y[index])) * width + Whole(int(run.x[index]))]
    return bool(found != 0)


@compiled
def _clean(tile: Tile, kernel: Kernel, number: int, run: Run) -> None:
    """Interpolate where nothing is masked and all is on the frame, pixels together that lie side by side there too."""
    start = 0
    while start < number:
        row, column = int(run.y[start]), int(run.x[start])
        end = start + 1
        while end < number and int(run.y[end]) == row and int(run.x[end]) == column + end - start:
            end += 1
        if end - start >= _TOGETHER:
            _side_by_side(tile, kernel, start, end, run)
        else:
            _one_by_one(tile, kernel, start, end, run)
        start = end


@compiled
def _side_by_side(tile: Tile, kernel: Kernel, start: int, end: int, run: Run) -> None:
    """Interpolate pixels that follow each other along a row of the frame: a processor does many at once."""
    taps, number, table = kernel.taps, end - start, kernel.table.reshape(-1)
    row, column = int(run.y[start]), int(run.x[start])
    along, across = run.along, run.across
    for index in range(number):
        run.phase_x[index] = Whole(int((run.x[start + index] - column - index) * PHASES + 0.5)) * Whole(8)
        run.phase_y[index] = Whole(int((run.y[start + index] - row) * PHASES + 0.5)) * Whole(8)
    for tap in range(taps):
        _take(table, run.phase_x, Whole(tap), number, along[tap])
        _take(table, run.phase_y, Whole(tap), number, across[tap])
    value = run.value[start:end]
    value[:] = 0
    left = column + PAD + 1 - taps // 2
    for tap in range(taps):
        line = tile.filled[row + PAD + 1 - taps // 2 + tap, left : left + number + taps]
        if taps == 6:
            _add_line6(line, along, across[tap], number, value)
        elif taps == 4:
            _add_line4(line, along, across[tap], number, value)
        else:
            _add_line8(line, along, across[tap], number, value)
    low, high = tile.variance[row, column : column + number + 1], tile.variance[row + 1, column : column + number + 1]
    noise, x, y = run.noise[start:end], run.x[start:end], run.y[start:end]
    for index in range(number):
        right, up = np.float32(x[index] - column - index), np.float32(y[index] - row)
        below = low[index] + right * (low[index + 1] - low[index])
        above = high[index] + right * (high[index + 1] - high[index])
        noise[index] = below + up * (above - below)


@compiled
def _take(table: Floats, phases: NDArray[np.uintp], tap: Whole, number: int, weights: Floats) -> None:
    for i in range(number):
        weights[i] = table[phases[i] + tap]


@compiled
def _add_line4(p: Floats, w: Floats, across: Floats, number: int, value: Floats) -> None:
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    for i in range(number):
        value[i] += across[i] * (w0[i] * p[i] + w1[i] * p[i + 1] + w2[i] * p[i + 2] + w3[i] * p[i + 3])


@compiled
def _add_line6(p: Floats, w: Floats, across: Floats, number: int, value: Floats) -> None:
    w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
    for i in range(number):
        total = w0[i] * p[i] + w1[i] * p[i + 1] + w2[i] * p[i + 2] + w3[i] * p[i + 3]
        value[i] += across[i] * (total + w4[i] * p[i + 4] + w5[i] * p[i + 5])


@compiled
def _add_line8(p: Floats, w: Floats, across: Floats, number: int, value: Floats) -> None:
    w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    for i in range(number):
        total = w0[i] * p[i] + w1[i] * p[i + 1] + w2[i] * p[i + 2] + w3[i] * p[i + 3]
        total += w4[i] * p[i + 4] + w5[i] * p[i + 5] + w6[i] * p[i + 6] + w7[i] * p[i + 7]
        value[i] += across[i] * total


@compiled
def _one_by_one(tile: Tile, kernel: Kernel, start: int, end: int, run: Run) -> None:
    image, stride = tile.filled.reshape(-1), Whole(tile.filled.shape[1])
    noises, wide = tile.variance.reshape(-1), Whole(tile.variance.shape[1])
    table, taps = kernel.table.reshape(-1), kernel.taps
    corner = Whole(PAD + 1 - taps // 2)
    one, eight = Whole(1), Whole(8)
    for index in range(start, end):
        ix, iy = int(run.x[index]), int(run.y[index])
        fx, fy = run.x[index] - ix, run.y[index] - iy
        tx, ty = Whole(int(fx * PHASES + 0.5)) * eight, Whole(int(fy * PHASES + 0.5)) * eight
        at = (Whole(iy) + corner) * stride + Whole(ix) + corner
        if taps == 6:
            run.value[index] = _taps6(image, at, stride, table, tx, ty)
        elif taps == 4:
            run.value[index] = _taps4(image, at, stride, table, tx, ty)
        else:
            run.value[index] = _taps8(image, at, stride, table, tx, ty)
        at = Whole(iy) * wide + Whole(ix)
        right, up = np.float32(fx), np.float32(fy)
        low = noises[at] + right * (noises[at + one] - noises[at])
        high = noises[at + wide] + right * (noises[at + wide + one] - noises[at + wide])
        run.noise[index] = low + up * (high - low)


@compiled
def _with_care(
    tile: Tile, kernel: Kernel, limits: tuple[float, float, float, float], number: int, run: Run,
    bits: NDArray[np.uint16], lost: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Interpolate where something is masked or off the frame, which is told in `bits` and `lost`."""
    image, stride = tile.filled.reshape(-1), Whole(tile.filled.shape[1])
    table, taps = kernel.table.reshape(-1), kernel.taps
    corner, eight = Whole(PAD + 1 - taps // 2), Whole(8)
    for index in range(number):
        x, y = run.x[index], run.y[index]
        run.value[index], run.noise[index] = 0, 0
        if not ((x >= limits[0]) & (x <= limits[1]) & (y >= limits[2]) & (y <= limits[3])):
            lost[index] = 1
            continue
        x, y = max(x, 0.0), max(y, 0.0)
        if taps == 2:
            x, y = np.floor(x + 0.5), np.floor(y + 0.5)
        ix, iy = int(x), int(y)
        fx, fy = x - ix, y - iy
        causes, is_wide, plain, noise = _near_masked(tile, iy, ix, fy, fx)
        bits[index] |= causes
        run.noise[index] = np.float32(noise)
        tx, ty = Whole(int(fx * PHASES + 0.5)) * eight, Whole(int(fy * PHASES + 0.5)) * eight
        at = (Whole(iy) + corner) * stride + Whole(ix) + corner
        if is_wide:
            run.value[index] = np.float32(plain)
            lost[index] |= (causes & np.uint16(NO_DATA)) != 0
        elif taps == 2:
            run.value[index] = image[at]
        elif taps == 6:
            run.value[index] = _taps6(image, at, stride, table, tx, ty)
        elif taps == 4:
            run.value[index] = _taps4(image, at, stride, table, tx, ty)
        else:
            run.value[index] = _taps8(image, at, stride, table, tx, ty)


@compiled
def _near_masked(tile: Tile, y: int, x: int, fy: float, fx: float) -> tuple[np.uint16, bool, float, float]:
    """Return (bits, whether a wide gap matters, the frame's own value, the variance) of a place near masked pixels.

    What falls into a wide gap that has no data is NO_DATA without INTERPOLATED. The variance is that of the good
    neighbours, where there are any.
    """
    height, width = tile.raw.shape
    bridged, wide = np.uint16(0), np.uint16(0)
    value, weights, good, good_weights, rest, rest_weights = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for dy in range(2):
        for dx in range(2):
            v, u = min(y + dy, height - 1), min(x + dx, width - 1)
            weight = (fy if dy else 1.0 - fy) * (fx if dx else 1.0 - fx)
            bits, kind, noise = tile.mask[v, u], tile.state[v, u], tile.variance[v, u]
            if kind == WIDE and weight > _LEAST_WIDE:
                wide |= bits
            elif bits and weight > _LEAST_BRIDGED:
                bridged |= bits | np.uint16(INTERPOLATED if kind == BRIDGED else 0)
            if weight > _LEAST_WIDE and np.isfinite(tile.raw[v, u]):
                value += weight * tile.raw[v, u]
                weights += weight
            if noise > 0 and np.isfinite(noise):
                rest += max(weight, 1e-9) * noise
                rest_weights += max(weight, 1e-9)
                if kind == GOOD:
                    good += weight * noise
                    good_weights += weight
    if wide & np.uint16(NO_DATA):
        bridged &= ~np.uint16(INTERPOLATED)
    if good_weights > _LEAST_BRIDGED:
        rest, rest_weights = good, good_weights
    plain = value / weights if weights > 0 else 0.0
    return bridged | wide, bool(wide != 0), plain, rest / rest_weights if rest_weights > 0 else 0.0


@inlined
def _taps4(image: Floats, at: Whole, stride: Whole, table: Floats, tx: Whole, ty: Whole) -> np.float32:
    one, two, three = Whole(1), Whole(2), Whole(3)
    x0, x1, x2, x3 = table[tx], table[tx + one], table[tx + two], table[tx + three]
    total = np.float32(0)
    for row in range(4):
        i = at + Whole(row) * stride
        along = x0 * image[i] + x1 * image[i + one] + x2 * image[i + two] + x3 * image[i + three]
        total += table[ty + Whole(row)] * along
    return total


@inlined
def _taps6(image: Floats, at: Whole, stride: Whole, table: Floats, tx: Whole, ty: Whole) -> np.float32:
    one, two, three, four, five = Whole(1), Whole(2), Whole(3), Whole(4), Whole(5)
    x0, x1, x2, x3 = table[tx], table[tx + one], table[tx + two], table[tx + three]
    x4, x5 = table[tx + four], table[tx + five]
    total = np.float32(0)
    for row in range(6):
        i = at + Whole(row) * stride
        along = x0 * image[i] + x1 * image[i + one] + x2 * image[i + two] + x3 * image[i + three]
        total += table[ty + Whole(row)] * (along + x4 * image[i + four] + x5 * image[i + five])
    return total


@inlined
def _taps8(image: Floats, at: Whole, stride: Whole, table: Floats, tx: Whole, ty: Whole) -> np.float32:
    one, two, three, four = Whole(1), Whole(2), Whole(3), Whole(4)
    x0, x1, x2, x3 = table[tx], table[tx + one], table[tx + two], table[tx + three]
    x4, x5, x6, x7 = table[tx + four], table[tx + four + one], table[tx + four + two], table[tx + four + three]
    total = np.float32(0)
    for row in range(8):
        i = at + Whole(row) * stride
        j = i + four
        along = x0 * image[i] + x1 * image[i + one] + x2 * image[i + two] + x3 * image[i + three]
        along += x4 * image[j] + x5 * image[j + one] + x6 * image[j + two] + x7 * image[j + three]
        total += table[ty + Whole(row)] * along
    return total


@warm_up
def _on_a_few_pixels() -> None:
    mask = np.zeros((8, 8), np.uint16)
    mask[3, 3] = 1
    tile = tile_of(np.ones((8, 8), np.float32), np.ones((8, 8), np.float32), mask)
    places = np.arange(-8.0, 24.0, 8)
    nodes = np.stack([np.broadcast_to(places, (4, 4)), np.broadcast_to(places[:, None], (4, 4)), np.ones((4, 4))])
    taps, table = weights_of("LANCZOS3")
    made = Planes(np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32), np.zeros((8, 8), np.uint16))
    mesh = Mesh(np.ascontiguousarray(nodes), 8, -8, -8, (0.0, 7.0, 0.0, 7.0))
    resample(tile, mesh, Kernel(taps, table, 1, 1.0, 1.0), room_for(8), made, (0, 0, 8, 8))
