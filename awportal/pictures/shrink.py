"""Shrink a frame of any size to a picture's size in one pass, and measure it on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awportal.pictures.frame_file import STRIP_BYTES, FrameError, FrameFile, Hdu

SAMPLE_PIXELS = 400_000
NO_DATA = 32


@dataclass
class SmallFrame:
    """A frame shrunk by averaging blocks of factor × factor pixels, first row at the bottom of the sky."""

    image: NDArray[np.float32]
    mask: NDArray[np.uint16] | None
    factor: int
    shape: tuple[int, int]
    sample: NDArray[np.float32]
    counts: dict[int, int] = field(default_factory=dict)


def picture_layer(frame: FrameFile, extension: int | None = None) -> Hdu | None:
    """Return the unit that is shown: `extension` of a file of several chips, else SCI, WEIGHT, the first image."""
    if extension is not None and extension < len(frame.hdus) and frame.hdus[extension].shape:
        return frame.hdus[extension]
    others = (hdu for hdu in frame.hdus if hdu.shape and hdu.name != "MASK")
    return frame.find("SCI", "WEIGHT") or next(others, frame.find("MASK"))


def shrink(frame: FrameFile, longest: int, extension: int | None = None) -> SmallFrame:
    """Return the frame's picture layer with its mask, its longer side at most `longest`."""
    mask_hdu = frame.find("MASK")
    hdu = picture_layer(frame, extension)
    if hdu is None or hdu.shape is None:
        raise FrameError("the file holds no image")
    factor = max(1, -(-max(hdu.shape) // longest))
    if hdu is mask_hdu:
        mask, counts = _shrink_mask(frame, hdu, factor)
        image = np.zeros(mask.shape, np.float32)
        return SmallFrame(image, mask, factor, hdu.shape, np.zeros(0, np.float32), counts)
    image, sample = _shrink_image(frame, hdu, factor)
    small = SmallFrame(image, None, factor, hdu.shape, sample)
    if mask_hdu is not None and mask_hdu.shape == hdu.shape:
        small.mask, small.counts = _shrink_mask(frame, mask_hdu, factor)
    return small


def _strips(frame: FrameFile, hdu: Hdu, factor: int) -> Iterator[NDArray[Any]]:
    """Yield strips of a whole number of blocks of rows (the last one as it comes)."""
    _, width = hdu.shape or (0, 1)
    rows = max(factor, STRIP_BYTES // (4 * width) // factor * factor)
    return frame.strips(hdu, rows)


def _shrink_image(frame: FrameFile, hdu: Hdu, factor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    height, width = hdu.shape or (0, 0)
    step = max(1, int((height * width / SAMPLE_PIXELS) ** 0.5))
    parts, samples = [], []
    for strip in _strips(frame, hdu, factor):
        samples.append(np.asarray(strip[::step, ::step], np.float32).ravel())
        if strip.shape[0] >= factor:
            # Sum rows first: that runs along memory, and a block with a NaN stays NaN, which the mask's tint shows.
            rows = strip.shape[0] // factor
            by_rows = strip[: rows * factor].reshape(rows, factor, width).sum(axis=1, dtype=np.float32)
            parts.append(by_rows[:, : width // factor * factor].reshape(rows, -1, factor).mean(axis=2))
    if not parts:
        raise FrameError("the image is empty")
    sample = np.concatenate(samples)
    return np.concatenate(parts) / np.float32(factor), sample[np.isfinite(sample)]


def _shrink_mask(frame: FrameFile, hdu: Hdu, factor: int) -> tuple[NDArray[np.uint16], dict[int, int]]:
    parts = []
    histogram = np.zeros(1 << 16, np.int64)
    for strip in _strips(frame, hdu, factor):
        bits = strip.astype(np.int64).astype(np.uint16) if strip.dtype.kind == "f" else strip.astype(np.uint16)
        histogram += np.bincount(bits.ravel(), minlength=1 << 16)
        if bits.shape[0] >= factor:
            rows = bits.shape[0] // factor
            by_rows = np.bitwise_or.reduce(bits[: rows * factor].reshape(rows, factor, -1), axis=1)
            by_rows = by_rows[:, : bits.shape[1] // factor * factor].reshape(rows, -1, factor)
            parts.append(np.bitwise_or.reduce(by_rows, axis=2))
    if not parts:
        raise FrameError("the mask is empty")
    values = np.arange(1 << 16)
    counts = {1 << bit: int(histogram[(values >> bit) & 1 == 1].sum()) for bit in range(16)}
    return np.concatenate(parts), {bit: count for bit, count in counts.items() if count}
