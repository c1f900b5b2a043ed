"""Kernels that take blended sources apart on a tree of thresholds (Bertin & Arnouts 1996, A&AS 117, 393)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up
from recipes.ccd.kernels.sources import root_of
from recipes.ccd.kernels.sources_moments import (
    ABCOR,
    CXX,
    CXY,
    CYY,
    FIELDS,
    FILTERED_PEAK,
    NPIX,
    Y2,
    A,
    B,
    X,
    Y,
    describe,
)

_FAR = 70.0  # exponent beyond which a profile has no light
_DARK = 1e-31  # light below which the nearest part has the pixel
_MOST = 4.0  # times its peak is the most that the wing of a source may reach in its centre


@inlined
def random_number(seed: int) -> float:
    """Return a number in [0, 1) that is always the same for a seed (the finaliser of SplitMix64)."""
    value = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float((value ^ (value >> np.uint64(31))) >> np.uint64(11)) / 9007199254740992.0


@compiled
def _levels(values: NDArray[np.float32], threshold: float, peak: float, count: int) -> Any:
    """Return the thresholds, spaced evenly in their logarithm, and the highest one that each pixel exceeds."""
    thresholds = np.empty(count)
    for k in range(count):
        thresholds[k] = threshold * (peak / threshold) ** (k / count)
    level = np.zeros(len(values), np.int32)
    scale = count / math.log(peak / threshold)
    for i in range(len(values)):
        if values[i] > threshold:
            k = min(int(scale * math.log(values[i] / threshold)), count - 1)
            while k + 1 < count and values[i] > thresholds[k + 1]:
                k += 1
            while k > 0 and not values[i] > thresholds[k]:
                k -= 1
            level[i] = k
    return thresholds, level


@compiled
def _grid(xs: NDArray[np.int32], ys: NDArray[np.int32]) -> Any:
    """Return the places of pixels in a grid with a margin (0 where there is none, else their index + 1)."""
    x0, y0 = xs.min() - 1, ys.min() - 1
    grid = np.zeros((ys.max() - y0 + 2, xs.max() - x0 + 2), np.int32)
    for i in range(len(xs)):
        grid[ys[i] - y0, xs[i] - x0] = i + 1
    return grid, x0, y0


@compiled
def _tree(
    xs: NDArray[np.int32],
    ys: NDArray[np.int32],
    values: NDArray[np.float32],
    level: NDArray[np.int32],
    count: int,
    minimum_area: int,
) -> Any:
    """Return parent, level, flux, size and a pixel of each branch, those of higher thresholds first, the trunk last.

    A branch is what of the area exceeds a threshold, is connected, and has at least `minimum_area` pixels.
    """
    number = len(xs)
    grid, x0, y0 = _grid(xs, ys)
    of_level = np.zeros(count + 1, np.int64)
    for i in range(number):
        of_level[count - level[i]] += 1
    start = np.cumsum(of_level)
    following = start[:-1].copy()
    order = np.empty(number, np.int64)
    for i in range(number):
        place = count - 1 - level[i]
        order[following[place]] = i
        following[place] += 1
    most = (count - 1) * (number // minimum_area) + 1
    node_parent, node_level = np.full(most, -1), np.zeros(most, np.int32)
    node_flux, node_size, node_pixel = np.zeros(most), np.zeros(most), np.zeros(most, np.int64)
    parent, size, flux = np.arange(number), np.ones(number, np.int64), values.astype(np.float64)
    node_of, stamp = np.full(number, -1), np.full(number, -1)
    added = np.zeros(number, np.bool_)
    active = np.empty(number, np.int64)
    active_count = nodes = before = 0
    for k in range(count - 1, 0, -1):
        place = count - 1 - k
        for which in range(start[place], start[place + 1]):
            i = order[which]
            added[i] = True
            active[active_count] = i
            active_count += 1
            gy, gx = ys[i] - y0, xs[i] - x0
            for ny in range(gy - 1, gy + 2):
                for nx in range(gx - 1, gx + 2):
                    other = grid[ny, nx] - 1
                    if other < 0 or other == i or not added[other]:
                        continue
                    one, two = root_of(parent, i), root_of(parent, other)
                    if one != two:
                        if size[one] < size[two]:
                            one, two = two, one
                        parent[two] = one
                        size[one] += size[two]
                        flux[one] += flux[two]
        kept, first = 0, nodes
        for which in range(active_count):
            root = root_of(parent, active[which])
            if stamp[root] == k:
                continue
            stamp[root] = k
            active[kept] = root
            kept += 1
            if size[root] >= minimum_area:
                node_level[nodes], node_flux[nodes], node_size[nodes] = k, flux[root], size[root]
                node_pixel[nodes] = root
                node_of[root] = nodes
                nodes += 1
        active_count = kept
        for node in range(before, first):
            node_parent[node] = node_of[root_of(parent, node_pixel[node])]
        before = first
    for node in range(before, nodes):
        node_parent[node] = nodes
    node_flux[nodes], node_size[nodes] = values.sum(), number
    nodes += 1
    return node_parent[:nodes], node_level[:nodes], node_flux[:nodes], node_size[:nodes], node_pixel[:nodes]


@compiled
def _branches(tree: Any, thresholds: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    """Return which branches are sources: of two or more that leave one, those with more than `least` above it."""
    node_parent, node_level, node_flux, node_size, _ = tree
    count = len(node_parent)
    large, whole = np.zeros(count, np.int64), np.ones(count, np.bool_)
    significant, chosen = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for node in range(count):
        if large[node] > 1:
            whole[node] = False
        above = node_parent[node]
        if above >= 0:
            significant[node] = node_flux[node] - thresholds[node_level[node]] * node_size[node] > least
            large[above] += significant[node]
            whole[above] = whole[above] and whole[node]
    for node in range(count - 1):
        chosen[node] = large[node_parent[node]] > 1 and whole[node] and significant[node]
    return chosen


@compiled
def _flood(
    grid: NDArray[np.int32],
    x: int,
    y: int,
    level: NDArray[np.int32],
    lowest: int,
    mark: int,
    labels: NDArray[np.int32],
    members: NDArray[np.int64],
) -> int:
    """Give `mark` to the pixels from (x, y) on that reach level `lowest`; return how many they are."""
    index = grid[y, x] - 1
    labels[index] = mark
    members[0] = index
    width = grid.shape[1]
    places = np.empty(len(members), np.int64)
    places[0] = y * width + x
    done, count = 0, 1
    while done < count:
        py, px = places[done] // width, places[done] % width
        done += 1
        for ny in range(py - 1, py + 2):
            for nx in range(px - 1, px + 2):
                other = grid[ny, nx] - 1
                if other >= 0 and labels[other] == 0 and level[other] >= lowest:
                    labels[other] = mark
                    members[count] = other
                    places[count] = ny * width + nx
                    count += 1
    return count


@compiled
def split(
    xs: NDArray[np.int32],
    ys: NDArray[np.int32],
    filtered: NDArray[np.float32],
    signal: NDArray[np.float32],
    threshold: float,
    count: int,
    contrast: float,
    least_branch: int,
    image_width: int,
    labels: NDArray[np.int32],
) -> NDArray[np.float64]:
    """Take an area apart on `count` thresholds; return a row for each part, empty where there is one source.

    `labels` becomes the number of the part (from 1) of each pixel. Pixels outside the branches go to one of them by
    chance, as probable as the light of its Gaussian profile there; the chance hangs on the pixel's place alone.
    """
    nothing = np.empty((0, FIELDS))
    peak = float(filtered.max())
    if not peak > threshold:
        return nothing
    thresholds, level = _levels(filtered, threshold, peak, count)
    tree = _tree(xs, ys, filtered, level, count, least_branch)
    nodes = np.flatnonzero(_branches(tree, thresholds, contrast * tree[2][-1]))
    if len(nodes) == 0:
        return nothing
    grid, x0, y0 = _grid(xs, ys)
    rows, amplitude = np.zeros((len(nodes), FIELDS)), np.empty(len(nodes))
    members = np.empty(len(xs), np.int64)
    for part, node in enumerate(nodes):
        pixel = tree[4][node]
        size = _flood(grid, xs[pixel] - x0, ys[pixel] - y0, level, tree[1][node], part + 1, labels, members)
        row = rows[part]
        describe(members[:size], xs, ys, filtered, signal, thresholds[tree[1][node]], False, row)
        exponent = row[NPIX] / (2 * math.pi * row[ABCOR] * row[A] * row[B])
        most = _MOST * row[FILTERED_PEAK]
        amplitude[part] = min(threshold * math.exp(exponent), most) if exponent < _FAR else most
    _share(xs, ys, rows, amplitude, image_width, labels)
    return rows


@compiled
def _share(
    xs: NDArray[np.int32],
    ys: NDArray[np.int32],
    rows: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    image_width: int,
    labels: NDArray[np.int32],
) -> None:
    """Give the pixels that belong to no part yet to one of them by chance; pixels come row by row."""
    count = len(rows)
    near, light = np.empty(count, np.int64), np.empty(count)
    nears, y_of_near = 0, -1
    for i in range(len(xs)):
        if labels[i] != 0:
            continue
        if ys[i] != y_of_near:
            # Parts whose light does not reach this row need no look.
            nears, y_of_near = 0, ys[i]
            for part in range(count):
                row = rows[part]
                if (ys[i] - row[Y]) ** 2 <= 2 * _FAR * row[ABCOR] * row[Y2]:
                    near[nears] = part
                    nears += 1
        total = 0.0
        for place in range(nears):
            row = rows[near[place]]
            distance = _distance(row, xs[i], ys[i])
            if distance < _FAR:
                total += amplitude[near[place]] * math.exp(-distance)
            light[place] = total
        if total > _DARK:
            drawn = total * random_number(ys[i] * image_width + xs[i])
            place = 0
            while place < nears - 1 and light[place] < drawn:
                place += 1
            labels[i] = near[place] + 1
            continue
        least = 1e300
        for part in range(count):
            distance = _distance(rows[part], xs[i], ys[i])
            if distance < least:
                labels[i], least = part + 1, distance


@compiled
def _distance(row: Any, x: int, y: int) -> float:
    """Return the exponent of a part's Gaussian profile at a pixel."""
    dx, dy = x - row[X], y - row[Y]
    return float(0.5 * (row[CXX] * dx * dx + row[CYY] * dy * dy + row[CXY] * dx * dy) / row[ABCOR])


@warm_up
def _warm_up() -> None:
    image = np.full((6, 12), 2.0, np.float32)
    image[1:5, 1:5] = image[1:5, 7:11] = 20.0
    ys, xs = np.nonzero(image)
    values = image.ravel()
    labels = np.zeros(len(values), np.int32)
    split(xs.astype(np.int32), ys.astype(np.int32), values, values, 1.5, 32, 0.005, 3, 12, labels)
