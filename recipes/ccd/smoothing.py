"""Replacing bad pixels by the median around them, and the Gaussian low-pass that parts small from large scales."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.frame import FloatArray

_PIXELS_AT_ONCE = 20_000


def fill_bad(data: FloatArray, bad: NDArray[np.bool_], size: int) -> tuple[FloatArray, int]:
    """Return `data` with its bad pixels replaced by the median of the good ones in a box of `size`, and their number.

    Where the box holds no good pixel the median of all good ones is taken.
    """
    rows, columns = np.nonzero(bad)
    filled = np.array(data, np.float32)
    if not len(rows):
        return filled, 0
    half = size // 2
    holes = np.where(bad, np.float32(np.inf), data)
    padded = np.pad(holes, half, constant_values=np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * half + 1, 2 * half + 1))
    good = data[~bad]
    fallback = np.float32(np.median(good)) if good.size else np.float32(1)
    for start in range(0, len(rows), _PIXELS_AT_ONCE):
        part = slice(start, start + _PIXELS_AT_ONCE)
        boxes = np.sort(windows[rows[part], columns[part]].reshape(-1, windows.shape[2] * windows.shape[3]), axis=1)
        count = np.count_nonzero(np.isfinite(boxes), axis=1)
        low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, boxes.shape[1] - 1)
        index = np.arange(len(boxes))
        with np.errstate(invalid="ignore"):
            median = (boxes[index, low] + boxes[index, high]) / 2
        filled[rows[part], columns[part]] = np.where(count > 0, median, fallback)
    return filled, len(rows)


def low_pass(data: FloatArray, cycles: float, mirror: tuple[int, int]) -> FloatArray:
    """Return `data` smoothed by a Gaussian that is `cycles` per frame wide (sigma) in the frequency plane.

    That is a Gaussian of sigma = length / (2 pi cycles) pixels along each axis. The frame is continued by its mirror
    image for `mirror` (y, x) pixels, and by its last value beyond, so that opposite edges do not mix.
    """
    from scipy import fft

    pads, sigmas = [], []
    for length, margin in zip(data.shape, mirror, strict=True):
        sigma = length / (2 * np.pi * cycles)
        sigmas.append(sigma)
        pads.append((min(margin, length - 1), max(0, int(np.ceil(4 * sigma)) - margin)))
    mirrored = np.pad(data, [(reflect, reflect) for reflect, _ in pads], mode="reflect")
    extended = np.pad(mirrored, [(edge, edge) for _, edge in pads], mode="edge")
    shape = [fft.next_fast_len(length, real=True) for length in extended.shape]
    rest = [(0, wanted - length) for wanted, length in zip(shape, extended.shape, strict=True)]
    extended = np.pad(extended, rest, mode="edge")
    rows = np.exp(-2 * (np.pi * fft.fftfreq(shape[0]) * sigmas[0]) ** 2).astype(np.float32)
    columns = np.exp(-2 * (np.pi * fft.rfftfreq(shape[1]) * sigmas[1]) ** 2).astype(np.float32)
    transformed = fft.rfft2(extended) * rows[:, np.newaxis] * columns
    smooth = fft.irfft2(transformed, s=shape)
    y0, x0 = sum(pads[0]), sum(pads[1])
    return np.asarray(smooth[y0 : y0 + data.shape[0], x0 : x0 + data.shape[1]], np.float32)
