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
    BLENDED,
    CXX,
    CXY,
    CYY,
    FIELDS,
    FILTERED_PEAK,
    FLAG,
    NPIX,
    TRUNCATED,
    A,
    B,
    X,
    Y,
    describe,
    measure_isophote,
)

_BRANCH_AREA = 3  # pixels that make a branch, or as few as make a source
_FAR = 70.0  # exponent beyond which a profile has no light
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
    light = np.empty(len(nodes))
    for i in range(len(xs)):
        if labels[i] != 0:
            continue
        nearest, least, total = 0, 1e30, 0.0
        for part in range(len(nodes)):
            row = rows[part]
            dx, dy = xs[i] - row[X], ys[i] - row[Y]
            distance = 0.5 * (row[CXX] * dx * dx + row[CYY] * dy * dy + row[CXY] * dx * dy) / row[ABCOR]
            if distance < _FAR:
                total += amplitude[part] * math.exp(-distance)
            light[part] = total
            if distance < least:
                nearest, least = part, distance
        if total > 1e-31:
            drawn = total * random_number(ys[i] * image_width + xs[i])
            nearest = 0
            while nearest < len(nodes) - 1 and light[nearest] < drawn:
                nearest += 1
        labels[i] = nearest + 1
    return rows


@compiled
def measure_areas(
    areas: Any,
    runs: Any,
    planes: Any,
    settings: Any,
    segmentation: NDArray[np.int32],
) -> NDArray[np.float64]:
    """Take areas apart and measure the sources; number their pixels in `segmentation` from 1 on.

    `areas` are first and end of the range of areas; `runs` what :func:`connect` returns; `planes` filtered, signal,
    noise of the detection, measured image and its noise; `settings` threshold, gain, least area, levels, contrast.
    """
    first_area, end_area = areas
    run_row, run_begin, run_end, order, first = runs
    filtered, signal, noise, measured, noise_here = planes
    relative, gain, minimum_area, levels, contrast = settings
    height, width = filtered.shape
    least_branch = min(minimum_area, _BRANCH_AREA)
    result = np.zeros((max(16, end_area - first_area), FIELDS))
    found = 0
    for area in range(first_area, end_area):
        number = 0
        for run in order[first[area] : first[area + 1]]:
            number += run_end[run] - run_begin[run]
        xs, ys = np.empty(number, np.int32), np.empty(number, np.int32)
        f, s, n = np.empty(number, np.float32), np.empty(number, np.float32), np.empty(number, np.float32)
        m, h = np.empty(number, np.float32), np.empty(number, np.float32)
        i, threshold = 0, 0.0
        for run in order[first[area] : first[area + 1]]:
            y = run_row[run]
            for x in range(run_begin[run], run_end[run]):
                xs[i], ys[i] = x, y
                f[i], s[i], n[i] = filtered[y, x], signal[y, x], noise[y, x]
                m[i], h[i] = measured[y, x], noise_here[y, x]
                threshold += relative * n[i]
                i += 1
        threshold /= number
        labels = np.zeros(number, np.int32)
        parts = np.empty((0, FIELDS))
        if levels > 1 and contrast < 1 and number >= 2 * least_branch:
            parts = split(xs, ys, f, s, threshold, levels, contrast, least_branch, width, labels)
        count = max(1, len(parts))
        if found + count > len(result):
            larger = np.zeros((2 * (found + count), FIELDS))
            larger[:found] = result[:found]
            result = larger
        for part in range(count):
            row = result[found]
            members = np.arange(number)
            if len(parts):
                members = np.flatnonzero(labels == part + 1)
                row[X], row[Y], row[FLAG] = parts[part, X], parts[part, Y], BLENDED
            describe(members, xs, ys, f, s, threshold, len(parts) > 0, row)
            measure_isophote(members, xs, ys, f, m, n, h, relative, gain, minimum_area, row)
            found += 1
            touches = False
            for index in members:
                x, y = xs[index], ys[index]
                segmentation[y, x] = found
                touches = touches or x == 0 or y == 0 or x == width - 1 or y == height - 1
            if touches:
                row[FLAG] += TRUNCATED
    return result[:found].copy()


@warm_up
def _warm_up() -> None:
    from recipes.ccd.kernels.sources import connect

    image = np.zeros((8, 16), np.float32)
    image[2:6, 2:6] = image[2:6, 9:13] = 20.0
    image[3:5, 2:13] += 5.0
    above = image > 1
    starts = above & ~np.roll(above, 1, axis=1)
    runs = connect(above, np.concatenate((np.zeros(1, np.int64), np.cumsum(starts.sum(axis=1)))), 4)
    noise = np.ones_like(image)
    planes = (image, image, noise, image, noise)
    measure_areas((0, len(runs[4]) - 1), runs, planes, (1.5, 1.0, 4, 32, 0.005), np.zeros((8, 16), np.int32))
