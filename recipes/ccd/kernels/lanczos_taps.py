"""Kernels that combine the pixels around places that follow each other along a row of a tile.

A processor does many at once, where nothing keeps it from that: images are flat, indices without sign (or each would be
asked whether it counts from the end), weights lie ROOM apart, tap after tap. Sums are taken in one order, whatever the
place in a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up
from recipes.ccd.kernels.lanczos_weights import ROOM

Floats = NDArray[np.float32]
Four = tuple[np.float32, np.float32, np.float32, np.float32]
Whole = np.uintp


@inlined
def _four(weights: Floats, i: Whole) -> Four:
    """Return the weights of four taps, from the one at `i` on."""
    step = Whole(ROOM)
    return weights[i], weights[i + step], weights[i + step + step], weights[i + step + step + step]


@inlined
def _line4(p: Floats, i: Whole, w: Four) -> np.float32:
    """Return four pixels from `i` on times their weights."""
    one, two, three = Whole(1), Whole(2), Whole(3)
    return np.float32(w[0] * p[i] + w[1] * p[i + one] + w[2] * p[i + two] + w[3] * p[i + three])


@compiled
def combine4(
    image: Floats, at: Whole, stride: Whole, along: Floats, across: Floats, start: Whole, number: int, value: Floats
) -> None:
    """Combine 4 × 4 pixels for each place from `start` on; those of the first begin at `at` in the image."""
    at1 = at + stride
    at2, at3 = at1 + stride, at1 + stride + stride
    for index in range(number):
        i = Whole(index)
        w, v = _four(along, start + i), _four(across, start + i)
        total = v[0] * _line4(image, at + i, w)
        total += v[1] * _line4(image, at1 + i, w)
        total += v[2] * _line4(image, at2 + i, w)
        total += v[3] * _line4(image, at3 + i, w)
        value[start + i] = total


@inlined
def _line6(p: Floats, i: Whole, w: Four, w4: np.float32, w5: np.float32) -> np.float32:
    """Return six pixels from `i` on times their weights."""
    four, five = Whole(4), Whole(5)
    return np.float32(_line4(p, i, w) + w4 * p[i + four] + w5 * p[i + five])


@compiled
def combine6(
    image: Floats, at: Whole, stride: Whole, along: Floats, across: Floats, start: Whole, number: int, value: Floats
) -> None:
    """Combine 6 × 6 pixels for each place from `start` on; those of the first begin at `at` in the image."""
    at1 = at + stride
    at2 = at1 + stride
    at3, at4, at5 = at2 + stride, at2 + stride + stride, at2 + stride + stride + stride
    fifth, sixth = Whole(4 * ROOM), Whole(5 * ROOM)
    for index in range(number):
        i = Whole(index)
        w, w4, w5 = _four(along, start + i), along[start + i + fifth], along[start + i + sixth]
        v, v4, v5 = _four(across, start + i), across[start + i + fifth], across[start + i + sixth]
        total = v[0] * _line6(image, at + i, w, w4, w5)
        total += v[1] * _line6(image, at1 + i, w, w4, w5)
        total += v[2] * _line6(image, at2 + i, w, w4, w5)
        total += v[3] * _line6(image, at3 + i, w, w4, w5)
        total += v4 * _line6(image, at4 + i, w, w4, w5)
        value[start + i] = total + v5 * _line6(image, at5 + i, w, w4, w5)


@inlined
def _line8(p: Floats, i: Whole, w: Four, x: Four) -> np.float32:
    """Return eight pixels from `i` on times their weights."""
    return _line4(p, i, w) + _line4(p, i + Whole(4), x)


@compiled
def combine8(
    image: Floats, at: Whole, stride: Whole, along: Floats, across: Floats, start: Whole, number: int, value: Floats
) -> None:
    """Combine 8 × 8 pixels for each place from `start` on, four rows after four."""
    for half in range(2):
        first = at + Whole(4 * half) * stride
        _add_four_lines(image, first, stride, along, across[4 * half * ROOM :], start, number, value, half == 0)


@compiled
def _add_four_lines(
    image: Floats, at: Whole, stride: Whole, along: Floats, across: Floats, start: Whole, number: int, value: Floats,
    is_first: bool,
) -> None:  # fmt: skip
    at1 = at + stride
    at2, at3 = at1 + stride, at1 + stride + stride
    half = Whole(4 * ROOM)
    for index in range(number):
        i = Whole(index)
        w, x, v = _four(along, start + i), _four(along, start + i + half), _four(across, start + i)
        total = v[0] * _line8(image, at + i, w, x)
        total += v[1] * _line8(image, at1 + i, w, x)
        total += v[2] * _line8(image, at2 + i, w, x)
        total += v[3] * _line8(image, at3 + i, w, x)
        value[start + i] = total if is_first else value[start + i] + total


@compiled
def take(image: Floats, at: Whole, start: Whole, number: int, value: Floats) -> None:
    """Take the pixels as they are."""
    for index in range(number):
        i = Whole(index)
        value[start + i] = image[at + i]


@compiled
def between(
    image: Floats, at: Whole, stride: Whole, right: Floats, up: Floats, start: Whole, number: int, value: Floats
) -> None:
    """Interpolate linearly between 2 × 2 pixels, those of the first place at `at` in the image."""
    above, one = at + stride, Whole(1)
    for index in range(number):
        i = Whole(index)
        x, y, j, k = right[start + i], up[start + i], at + i, above + i
        low = image[j] + x * (image[j + one] - image[j])
        high = image[k] + x * (image[k + one] - image[k])
        value[start + i] = low + y * (high - low)


@warm_up
def _on_a_few_pixels() -> None:
    image, weights, value = np.ones(400, np.float32), np.ones(8 * ROOM, np.float32), np.zeros(ROOM, np.float32)
    zero, width = Whole(0), Whole(20)
    for combine in (combine4, combine6, combine8):
        combine(image, zero, width, weights, weights, zero, 8, value)
    take(image, zero, zero, 8, value)
    between(image, zero, width, value, value, zero, 8, value)
