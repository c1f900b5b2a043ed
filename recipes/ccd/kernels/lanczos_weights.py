"""Weights of the interpolations, as polynomials of the phase: a processor works out many at once, and asks no table.

Lanczos windowed sinc: Duchon 1979, J. Appl. Meteor. 18, 1016.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, warm_up

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

WIDEST = 512  # pixels of a row for which weights are worked out together: they stay in the innermost cache
SPARE = 16  # pixels that are interpolated together: up to so many beyond the last one are worked out, not used
ROOM = WIDEST + SPARE
# Even and odd terms each: degree 9, right to 4e-7 of the largest weight, as float32 is itself.
_TERMS = 5
_NODES = 257


def weights_of(method: str) -> tuple[int, Floats]:
    """Return the number of taps in each direction (4, 6 or 8; 2 for NEAREST) and the polynomials of their weights.

    The taps begin ``taps / 2 - 1`` pixels before the pixel in which the position lies; for NEAREST that is rounded
    first. The weights have exact moments: they add up to one and have their centre at the position. The polynomials, of
    shape (taps / 2, 2, terms), are those of the first half of the taps, even and odd terms in the phase less a half;
    the other half mirrors them.
    """
    half = {"NEAREST": 1, "BILINEAR": 2, "LANCZOS2": 2, "LANCZOS3": 3, "LANCZOS4": 4}[method]
    # The nodes of a Chebyshev polynomial: what fits there fits all over.
    middle = 0.5 * np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)[:, np.newaxis]
    distance = np.arange(1 - half, half + 1)[np.newaxis] - 0.5 - middle
    if method in ("NEAREST", "BILINEAR"):
        weights = np.maximum(1 - np.abs(distance), 0)
    else:
        weights = np.where(np.abs(distance) < half, np.sinc(distance) * np.sinc(distance / half), 0)
        weights = _with_exact_moments(weights, distance, half)
    # A linear fit keeps the sums that are polynomials themselves: the moments stay exact.
    terms = np.linalg.lstsq(middle ** np.arange(2 * _TERMS), weights[:, :half], rcond=None)[0]
    return 2 * half, np.ascontiguousarray(terms.reshape(_TERMS, 2, half).T, np.float32)


def weights_at(phase: Doubles, terms: Floats) -> Doubles:
    """Return the weights at phases between 0 and 1, of shape (taps, phases)."""
    middle = phase - 0.5
    powers = (middle * middle) ** np.arange(_TERMS)[:, np.newaxis]
    even, odd = np.moveaxis(terms.astype(np.float64), 1, 0) @ powers
    return np.concatenate([even + middle * odd, (even - middle * odd)[::-1]])


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
def find_weights(phase: Floats, number: int, terms: Floats, weights: Floats) -> None:
    """Put the weights at the first `number` phases into `weights`: ROOM places for each tap."""
    last = 2 * terms.shape[0] - 1
    for tap in range(terms.shape[0]):
        before = weights[tap * ROOM : tap * ROOM + number]
        behind = weights[(last - tap) * ROOM : (last - tap) * ROOM + number]
        _find_two(phase, number, terms[tap], before, behind)


@compiled
def _find_two(phase: Floats, number: int, terms: Floats, before: Floats, behind: Floats) -> None:
    e0, e1, e2, e3, e4 = terms[0, 0], terms[0, 1], terms[0, 2], terms[0, 3], terms[0, 4]
    o0, o1, o2, o3, o4 = terms[1, 0], terms[1, 1], terms[1, 2], terms[1, 3], terms[1, 4]
    for index in range(number):
        middle = phase[index] - np.float32(0.5)
        square = middle * middle
        even = e0 + square * (e1 + square * (e2 + square * (e3 + square * e4)))
        odd = middle * (o0 + square * (o1 + square * (o2 + square * (o3 + square * o4))))
        before[index] = even + odd
        behind[index] = even - odd


@warm_up
def _on_a_few_pixels() -> None:
    taps, terms = weights_of("LANCZOS3")
    find_weights(np.zeros(8, np.float32), 8, terms, np.zeros(taps * ROOM, np.float32))
