"""Kernel that makes sources of connected areas: takes them apart, measures the parts, numbers their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.ccd.kernels.sources_deblending import split
from recipes.ccd.kernels.sources_moments import (
    BLENDED,
    FIELDS,
    FLAG,
    TRUNCATED,
    X,
    Y,
    describe,
    measure_isophote,
)

_BRANCH_AREA = 3  # pixels that make a branch, or as few as make a source


@compiled
def _by_label(labels: NDArray[np.int32], count: int) -> Any:
    """Return the pixels ordered by their label (from 1), and the number of them before each label, and of all."""
    first = np.zeros(count + 1, np.int64)
    for label in labels:
        first[label] += 1
    first = np.cumsum(first)
    following = first.copy()
    order = np.empty(len(labels), np.int64)
    for i in range(len(labels)):
        order[following[labels[i] - 1]] = i
        following[labels[i] - 1] += 1
    return order, first


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
        if len(parts) == 0:
            labels[:] = 1
        members_of, first_of = _by_label(labels, count)
        if found + count > len(result):
            larger = np.zeros((2 * (found + count), FIELDS))
            larger[:found] = result[:found]
            result = larger
        for part in range(count):
            row = result[found]
            members = members_of[first_of[part] : first_of[part + 1]]
            if len(parts):
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
