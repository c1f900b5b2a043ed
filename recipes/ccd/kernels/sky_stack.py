"""Stacking frames of the sky pixel by pixel with clipping about the median, and growing the segments of sources."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up


@compiled
def clipped_median(
    values: NDArray[np.float32],
    sigma: NDArray[np.float32],
    threshold: float,
    iterations: int,
    median: NDArray[np.float32],
    variance: NDArray[np.float32],
    count: NDArray[np.int16],
    rejected: NDArray[np.int16],
) -> None:
    """Fill `median`, its `variance`, and how many values were kept and `rejected`, for each pixel of a stack.

    `values` and `sigma` are frames x rows x columns; what is no number is not used. A value farther than `threshold`
    of its own sigma from the median is rejected and the median taken anew. Without any value the median is NaN.
    The variance is that of the median of Gaussian values, that of equal ones (recipes.ccd.raw.median_variance) with
    the harmonic mean of the sigmas, which is right for many.
    """
    frames, height, width = values.shape
    kept = np.empty(frames, np.float32)
    noise = np.empty(frames, np.float32)
    for y in range(height):
        for x in range(width):
            valid = _sorted(values, sigma, y, x, kept, noise)
            number = _clip(kept, noise, valid, threshold, iterations)
            count[y, x] = number
            rejected[y, x] = valid - number
            if number == 0:
                median[y, x] = np.nan
                variance[y, x] = 0.0
                continue
            median[y, x] = (kept[(number - 1) // 2] + kept[number // 2]) * np.float32(0.5)
            inverse = 0.0
            for place in range(number):
                inverse += 1.0 / noise[place]
            variance[y, x] = np.pi / (2.0 * (number - 1) + np.pi) * (number / inverse) ** 2


@inlined
def _sorted(
    values: NDArray[np.float32],
    sigma: NDArray[np.float32],
    y: int,
    x: int,
    kept: NDArray[np.float32],
    noise: NDArray[np.float32],
) -> int:
    """Fill `kept` with the sorted values of a pixel and `noise` with their sigma; return how many there are."""
    number = 0
    for frame in range(values.shape[0]):
        value = values[frame, y, x]
        if not np.isfinite(value):
            continue
        place = number
        while place > 0 and kept[place - 1] > value:
            kept[place] = kept[place - 1]
            noise[place] = noise[place - 1]
            place -= 1
        kept[place] = value
        noise[place] = sigma[frame, y, x]
        number += 1
    return number


@inlined
def _clip(kept: NDArray[np.float32], noise: NDArray[np.float32], number: int, threshold: float, iterations: int) -> int:
    """Leave in `kept` and `noise` what is within the limits of the median; return how many that are."""
    for _ in range(iterations):
        if number == 0:
            break
        middle = (kept[(number - 1) // 2] + kept[number // 2]) * np.float32(0.5)
        inside = 0
        for place in range(number):
            if abs(kept[place] - middle) <= threshold * noise[place]:
                inside += 1
        # Where the median itself falls between two groups nothing would be left: the pixel keeps what it had.
        if inside in (number, 0):
            break
        inside = 0
        for place in range(number):
            if abs(kept[place] - middle) <= threshold * noise[place]:
                kept[inside] = kept[place]
                noise[inside] = noise[place]
                inside += 1
        number = inside
    return number


@compiled
def grow_segments(segments: NDArray[np.int32], radii: NDArray[np.float32], grown: NDArray[np.bool_]) -> None:
    """Set `grown` within the radius of each segment's number around its pixels; segment 0 is none."""
    height, width = segments.shape
    for y in range(height):
        for x in range(width):
            number = segments[y, x]
            if number == 0:
                continue
            grown[y, x] = True
            inner = (
                y > 0 and x > 0 and y < height - 1 and x < width - 1
                and segments[y - 1, x] == number and segments[y + 1, x] == number
                and segments[y, x - 1] == number and segments[y, x + 1] == number
            )  # fmt: skip
            if inner:
                continue
            radius = radii[number]
            reach = int(radius)
            for row in range(max(y - reach, 0), min(y + reach + 1, height)):
                half = int(np.sqrt(radius * radius - (row - y) * (row - y)))
                for column in range(max(x - half, 0), min(x + half + 1, width)):
                    grown[row, column] = True


@warm_up
def _warm_up() -> None:
    stack = np.ones((3, 2, 2), np.float32)
    plane = np.empty((2, 2), np.float32)
    number = np.empty((2, 2), np.int16)
    clipped_median(stack, stack, 5.0, 5, plane, plane.copy(), number, number.copy())
    grow_segments(np.ones((2, 2), np.int32), np.ones(2, np.float32), np.zeros((2, 2), np.bool_))
