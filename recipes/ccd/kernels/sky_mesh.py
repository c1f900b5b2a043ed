"""Kernels of the sky's mesh: clipped histograms of cells (Bertin & Arnouts 1996, section 3), and splines by rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up

_LANES = 64  # sums are taken in so many, whatever the processor's width: bytes do not depend on it
_FIRST_CLIP = 2.0  # sigma about the mean, once, to find where the histogram must lie
_PILOT = 63  # values spread over a cell, near whose median the sky is looked for
_PILOT_REACH = np.float32(15.0)  # median absolute deviations, 10 sigma: good to a fifth from so many values
_FARTHEST = np.float32(1e17)  # from that median nothing is sky, and squares would be too large for a float
_REACH = 5.0  # sigma of what is left of that: half the histogram's width
_BINS = 512  # a fiftieth of a sigma each
_CLIP = 3.0  # sigma about the median
_MOST_ROUNDS = 100
_SETTLED = 1e-4  # relative change of sigma at which the clip has converged
_CROWDED = 0.3  # sigma between mean and median from which a cell is crowded and its mode not to be told
_ZERO = np.float32(0)


@compiled
def _gather(data: Any, bad: Any, edges: Any, found: Any) -> int:
    """Fill `found` with the usable numbers of a cell (first and end of its rows, and of its columns)."""
    number = 0
    for y in range(edges[0], edges[1]):
        line, its_bad = data[y, edges[2] : edges[3]], bad[y, edges[2] : edges[3]]
        lost = 0
        for x in range(len(line)):
            lost += its_bad[x] | (line[x] - line[x] != _ZERO)
        into = found[number : number + len(line)]
        if lost == 0:
            for x in range(len(line)):
                into[x] = line[x]
        elif lost < len(line):
            place = 0
            for x in range(len(line)):
                into[place] = line[x]
                place += not (its_bad[x] | (line[x] - line[x] != _ZERO))
                if place == len(line) - lost:
                    break
        number += len(line) - lost
    return number


@compiled
def _moments(values: Any, about: Any, reach: Any) -> tuple[float, float]:
    """Return mean and standard deviation of the values within `reach` of a number."""
    sums, squares, numbers = np.zeros(_LANES, np.float32), np.zeros(_LANES, np.float32), np.zeros(_LANES, np.int32)
    for start in range(0, len(values), _LANES):
        part = values[start : start + _LANES]
        for lane in range(len(part)):
            step = part[lane] - about
            inside = abs(step) <= reach
            step = step if inside else _ZERO
            sums[lane] += step
            squares[lane] += step * step
            numbers[lane] += inside
    total, square, number = 0.0, 0.0, 0
    for lane in range(_LANES):
        total += sums[lane]
        square += squares[lane]
        number += numbers[lane]
    if number == 0:
        return np.float64(about), 0.0
    mean = total / number
    return about + mean, np.sqrt(max(square / number - mean * mean, 0.0))


@compiled
def _pilot(values: Any) -> tuple[Any, Any]:
    """Return the median of some values spread over a cell, and how far from it the sky may lie."""
    number = min(_PILOT, len(values))
    taken = np.empty(number, np.float32)
    for index in range(number):
        taken[index] = values[index * len(values) // number]
    median = np.sort(taken)[number // 2]
    reach = _PILOT_REACH * np.sort(np.abs(taken - median))[number // 2]
    # Where half of them are the same number they tell nothing of the noise.
    return median, min(reach, _FARTHEST) if reach > 0 else _FARTHEST


@inlined
def _median_place(below: Any, low: int, end: int) -> float:
    """Return the place of the median of the bins from `low` on, in bins; `below` counts what is below each."""
    wanted = 0.5 * (below[low] + below[end])
    first, last = low, end
    while last - first > 1:
        half = (first + last) // 2
        if below[half] <= wanted:
            first = half
        else:
            last = half
    inside = below[first + 1] - below[first]
    return first + ((wanted - below[first]) / inside if inside > 0 else 0.5)


@compiled
def _clipped(values: Any, below: Any, sums: Any, squares: Any) -> tuple[float, float]:
    """Return level and noise of the sky in a cell; the three buffers have a place more than there are bins."""
    mean, sigma = _moments(values, *_pilot(values))
    mean, sigma = _moments(values, np.float32(mean), np.float32(_FIRST_CLIP * sigma))
    if not sigma > 0:
        return mean, 0.0
    width = 2 * _REACH * sigma / _BINS
    low, per_bin = np.float32(mean - _REACH * sigma), np.float32(1 / width)
    below[:] = 0
    for value in values:
        place = (value - low) * per_bin
        if (place >= _ZERO) & (place < np.float32(_BINS)):
            below[np.int64(place) + 1] += 1
    for place in range(_BINS):  # from how many are in each bin to how many are below it, and their sums
        number = below[place + 1]
        below[place + 1] = below[place] + number
        sums[place + 1] = sums[place] + number * place
        squares[place + 1] = squares[place] + number * place * place
    first, end, before = 0, _BINS, 0.0
    middle, centre, spread = 0.5 * _BINS, 0.5 * _BINS, 0.0
    for _ in range(_MOST_ROUNDS):
        number = below[end] - below[first]
        if number == 0:
            break
        centre = (sums[end] - sums[first]) / number
        spread = np.sqrt(max((squares[end] - squares[first]) / number - centre * centre, 0.0))
        centre += 0.5
        middle = _median_place(below, first, end)
        if spread == 0 or abs(spread - before) <= _SETTLED * spread:
            break
        before = spread
        first = max(0, int(np.floor(middle - _CLIP * spread)))
        end = min(_BINS, int(np.ceil(middle + _CLIP * spread)))
    crowded = abs(centre - middle) >= _CROWDED * spread
    level = middle if crowded else 2.5 * middle - 1.5 * centre
    return float(low) + float(level * width), float(spread * width)


@compiled
def measure_cells(
    data: Any, bad: Any, edges_y: Any, edges_x: Any, row: int, levels: Any, noises: Any, counts: Any
) -> None:
    """Fill level, noise and number of usable pixels of the cells of one row of the mesh.

    Parameters
    ----------
    data, bad : array of float32, array of bool, rows x columns
        Image, and what to leave out.
    edges_y, edges_x : array of int
        Where the cells begin, and where the last ends.
    row : int
        Which row of cells.
    levels, noises, counts : array of float64, array of int, cells along y x cells along x
        Filled; NaN where a cell has no usable pixel.
    """
    rows = edges_y[row + 1] - edges_y[row]
    widest = 0
    for column in range(len(edges_x) - 1):
        widest = max(widest, edges_x[column + 1] - edges_x[column])
    found = np.empty(rows * widest + 1, np.float32)
    below, sums = np.zeros(_BINS + 1, np.int64), np.zeros(_BINS + 1, np.int64)
    squares = np.zeros(_BINS + 1, np.int64)
    edges = np.array([edges_y[row], edges_y[row + 1], 0, 0])
    for column in range(len(edges_x) - 1):
        edges[2], edges[3] = edges_x[column], edges_x[column + 1]
        number = _gather(data, bad, edges, found)
        counts[row, column] = number
        levels[row, column], noises[row, column] = np.nan, np.nan
        if number > 0:
            levels[row, column], noises[row, column] = _clipped(found[:number], below, sums, squares)


@compiled
def fill_spline(mesh: Any, nodes_y: Any, nodes_x: Any, least: Any, y0: int, y1: int, out: Any) -> None:
    """Fill rows with a bicubic spline, no less than `least`.

    Parameters
    ----------
    mesh : array of float64, 4 x cells along y x cells along x
        Values at the nodes, their second derivatives along y, along x, and along y of those along x.
    nodes_y, nodes_x : array of float64
        Places of the nodes [pixel]; beyond the outer ones the outer pieces hold.
    """
    width, count = out.shape[1], len(nodes_x)
    values, bends = np.empty(count), np.empty(count)
    for y in range(y0, y1):
        _along(mesh[:2], nodes_y, y, values)
        _along(mesh[2:], nodes_y, y, bends)
        for piece in range(max(count - 1, 1)):
            first = 0 if piece == 0 else int(np.ceil(nodes_x[piece]))
            end = width if piece >= count - 2 else int(np.ceil(nodes_x[piece + 1]))
            a, b, c, d = np.float32(values[piece]), _ZERO, _ZERO, _ZERO
            if count > 1:
                step = nodes_x[piece + 1] - nodes_x[piece]
                slope = (values[piece + 1] - values[piece]) / step
                b = np.float32(slope - step * (2 * bends[piece] + bends[piece + 1]) / 6)
                c, d = np.float32(bends[piece] / 2), np.float32((bends[piece + 1] - bends[piece]) / (6 * step))
            _cubic(a, b, c, d, np.float32(first - nodes_x[piece]), least, out[y, first:end])


@compiled
def _along(planes: Any, nodes: Any, y: int, values: Any) -> None:
    """Fill the values at row `y` of splines along y, given at their nodes with their second derivatives."""
    if len(nodes) == 1:
        values[:] = planes[0, 0]
        return
    piece = 0
    while piece < len(nodes) - 2 and y >= nodes[piece + 1]:
        piece += 1
    step = nodes[piece + 1] - nodes[piece]
    part = (y - nodes[piece]) / step
    rest = 1 - part
    bend_low, bend_high = (rest**3 - rest) * step * step / 6, (part**3 - part) * step * step / 6
    for x in range(len(values)):
        straight = rest * planes[0, piece, x] + part * planes[0, piece + 1, x]
        values[x] = straight + bend_low * planes[1, piece, x] + bend_high * planes[1, piece + 1, x]


@compiled
def _cubic(a: Any, b: Any, c: Any, d: Any, start: Any, least: Any, out: Any) -> None:
    for x in range(len(out)):
        t = start + np.float32(x)
        value = a + t * (b + t * (c + t * d))
        out[x] = value if value > least else least


@warm_up
def _warm_up() -> None:
    data, bad = np.ones((8, 8), np.float32), np.zeros((8, 8), np.bool_)
    data[::2, 1] = 2
    edges, cells = np.array([0, 8]), np.zeros((1, 1))
    measure_cells(data, bad, edges, edges, 0, cells, cells.copy(), np.zeros((1, 1), np.int64))
    fill_spline(np.ones((4, 1, 1)), np.zeros(1), np.zeros(1), np.float32(0), 0, 8, data)
