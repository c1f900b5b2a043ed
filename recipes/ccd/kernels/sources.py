"""Kernels of the detection: filtering, threshold, and connected areas of pixels (Bertin & Arnouts 1996, section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up

Floats = NDArray[np.float32]


# Loops over views from their beginning: an index that may be negative keeps the compiler from using vectors.
@compiled
def _add(total: Floats, part: np.float32, line: Floats) -> None:
    for x in range(len(total)):
        total[x] += part * line[x]


@compiled
def _blank(line: Floats, bad: NDArray[np.bool_]) -> None:
    for x in range(len(line)):
        if bad[x]:
            line[x] = np.float32(0)


@compiled
def _mark(values: Floats, threshold: np.float32, noise: Floats, mark: NDArray[np.bool_]) -> int:
    for x in range(len(values)):
        mark[x] = values[x] > threshold * noise[x]
    return _count_runs(mark)


@compiled
def _count_runs(mark: NDArray[np.bool_]) -> int:
    count = 1 if mark[0] else 0
    here, before = mark[1:], mark[:-1]
    for x in range(len(here)):
        count += here[x] and not before[x]
    return count


@compiled
def threshold_rows(
    signal: Floats,
    bad: NDArray[np.bool_],
    noise: Floats,
    threshold: float,
    kernel: Floats,
    y0: int,
    y1: int,
    filtered: Floats,
    above: NDArray[np.bool_],
    runs_of_row: NDArray[np.int64],
) -> None:
    """Filter rows `y0` to `y1` of the image, mark pixels above the threshold, count their runs in each row.

    `bad` has no rows where no pixel is bad. Beyond the edge and where bad the signal is 0; bad pixels are never above.
    `kernel` has odd sides and a sum of 1, or no rows for no filter.
    """
    height, width = signal.shape
    reach_y, reach_x = kernel.shape[0] // 2, kernel.shape[1] // 2
    has_bad = bad.shape[0] > 0
    line = np.empty(width, np.float32)
    for y in range(y0, y1):
        total = filtered[y]
        if kernel.shape[0] == 0:
            total[:] = signal[y]
        else:
            total[:] = np.float32(0)
        for i in range(kernel.shape[0]):
            row = y + i - reach_y
            if row < 0 or row >= height:
                continue
            line[:] = signal[row]
            if has_bad:
                _blank(line, bad[row])
            for j in range(kernel.shape[1]):
                shift = j - reach_x
                low, high = max(0, -shift), min(width, width - shift)
                if low < high:
                    _add(total[low:high], kernel[i, j], line[low + shift : high + shift])
        if has_bad and kernel.shape[0] == 0:
            _blank(total, bad[y])
        runs_of_row[y] = _mark(total, np.float32(threshold), noise[y], above[y])
        if has_bad:
            mark = above[y]
            for x in range(width):
                mark[x] = mark[x] and not bad[y, x]
            runs_of_row[y] = _count_runs(mark)


@inlined
def root_of(parent: Any, index: int) -> int:
    """Return the root of `index` in a union-find forest, halving the path to it."""
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


@compiled
def connect(
    above: NDArray[np.bool_], first_run: NDArray[np.int64], minimum_area: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Return the areas of at least `minimum_area` pixels that touch each other, corners included.

    `first_run` holds the number of runs before each row, and of all. Returned are row, begin and end of each run, the
    runs ordered by area, and the number of runs before each area, and of all; areas are ordered by their first pixel.
    """
    height, width = above.shape
    count = int(first_run[height])
    row, begin, end = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    parent = np.arange(count)
    for y in range(height):
        run = first_run[y]
        if run == first_run[y + 1]:
            continue
        mark = above[y]
        x = 0
        while x < width:
            if not mark[x]:
                x += 1
                continue
            row[run], begin[run] = y, x
            while x < width and mark[x]:
                x += 1
            end[run] = x
            run += 1
        if y == 0:
            continue
        over = first_run[y - 1]
        for run in range(first_run[y], first_run[y + 1]):
            while over < first_run[y] and end[over] < begin[run]:
                over += 1
            touching = over
            while touching < first_run[y] and begin[touching] <= end[run]:
                one, two = root_of(parent, touching), root_of(parent, run)
                if one < two:
                    parent[two] = one
                elif two < one:
                    parent[one] = two
                touching += 1
    pixels, runs = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for run in range(count):
        root = root_of(parent, run)
        pixels[root] += end[run] - begin[run]
        runs[root] += 1
    place = np.full(count, -1)
    areas = 0
    for root in range(count):
        if pixels[root] >= minimum_area:
            place[root] = areas
            areas += 1
    first = np.zeros(areas + 1, np.int64)
    for root in range(count):
        if place[root] >= 0:
            first[place[root] + 1] = runs[root]
    first = np.cumsum(first)
    following = first[:-1].copy()
    order = np.empty(first[areas], np.int64)
    for run in range(count):
        area = place[root_of(parent, run)]
        if area >= 0:
            order[following[area]] = run
            following[area] += 1
    return row, begin, end, order, first


@compiled
def renumber(
    segmentation: NDArray[np.int32],
    row: NDArray[np.int32],
    begin: NDArray[np.int32],
    end: NDArray[np.int32],
    runs: NDArray[np.int64],
    base: int,
    number: NDArray[np.int32],
) -> None:
    """Replace each number n in the pixels of `runs` by ``number[base + n]``."""
    for run in runs:
        y = row[run]
        for x in range(begin[run], end[run]):
            segmentation[y, x] = number[base + segmentation[y, x]]


@compiled
def gather_bits(segmentation: NDArray[np.int32], mask: NDArray[np.uint16], bits: NDArray[np.uint16]) -> None:
    """Add to ``bits[n]`` the mask bits in the pixels of each source n."""
    height, width = segmentation.shape
    for y in range(height):
        for x in range(width):
            value = mask[y, x]
            if value != 0 and segmentation[y, x] > 0:
                bits[segmentation[y, x]] |= value


@warm_up
def _warm_up() -> None:
    image = np.zeros((8, 8), np.float32)
    image[2:4, 2:5] = 5.0
    noise = np.ones((8, 8), np.float32)
    kernel = np.full((3, 3), 1 / 9, np.float32)
    filtered, above = np.empty((8, 8), np.float32), np.empty((8, 8), np.bool_)
    count = np.empty(8, np.int64)
    threshold_rows(image, np.empty((0, 8), np.bool_), noise, 1.0, kernel, 0, 8, filtered, above, count)
    row, begin, end, order, first = connect(above, np.concatenate((np.zeros(1, np.int64), np.cumsum(count))), 2)
    segmentation = np.zeros((8, 8), np.int32)
    renumber(segmentation, row, begin, end, order[first[0] : first[1]], 0, np.zeros(2, np.int32))
    gather_bits(segmentation, np.zeros((8, 8), np.uint16), np.zeros(2, np.uint16))
