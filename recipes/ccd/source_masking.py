"""Masking the sources of a frame generously: what is to be left is sky alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.detection import DEFAULT_KERNEL, extract
from recipes.frame import FloatArray

THRESHOLD = 1.5  # sigma, SExtractor's default
MINIMUM_AREA = 5  # pixels, likewise
# A segment grows by its own radius and a little more: at twice its radius a star of Moffat wings (beta 2.5 to 3.5) has
# 1/32 or less of the brightness at the isophote, a twentieth of the noise of one frame.
GROWTH = 1.0
LEAST_GROWTH = 3.0  # pixels
MOST_GROWTH = 80.0  # pixels
# Faint wide light (halos, ghosts, galaxies' outskirts) shows after binning, as 16 pixels are a quarter of the noise.
BINNING = 4


def mask_sources(
    signal: FloatArray, noise: FloatArray, bad: NDArray[np.bool_], *, faint: bool = True
) -> NDArray[np.bool_]:
    """Return where sources are, grown until their wings are lost in the noise of a stack.

    Parameters
    ----------
    signal : array of float32
        Sky-subtracted pixels.
    noise : array of float32
        Noise of the sky in each pixel.
    bad : array of bool
        Pixels to leave out of the search.
    faint : bool, optional
        Look for faint wide light too, in the image binned 4 × 4; not where fringes would be taken for it.

    Returns
    -------
    array of bool
        True on sources; bad pixels alone are not marked.
    """
    from recipes.ccd.kernels.sky_stack import grow_segments

    clean = np.ascontiguousarray(np.where(bad, np.float32(0), signal), np.float32)
    segments = _segments(clean, noise, bad)
    grown = np.zeros(signal.shape, np.bool_)
    grow_segments(segments, _radii(segments), grown)
    if faint and min(signal.shape) >= 8 * BINNING:
        _add_faint(grown, clean, noise, bad)
    return grown


def _segments(signal: FloatArray, noise: FloatArray, bad: NDArray[np.bool_]) -> NDArray[np.int32]:
    # One level and full contrast: blends need not be taken apart to be masked.
    _, segments = extract(signal, THRESHOLD, noise=noise, bad=bad, minimum_area=MINIMUM_AREA, kernel=DEFAULT_KERNEL,
                          deblend_levels=1, deblend_contrast=1.0)  # fmt: skip
    return np.ascontiguousarray(segments, np.int32)


def _radii(segments: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return by how much each segment grows, by its number."""
    area = np.bincount(segments.ravel())
    growth = LEAST_GROWTH + GROWTH * np.sqrt(area / np.pi)
    return np.minimum(growth, MOST_GROWTH).astype(np.float32)


def _add_faint(grown: NDArray[np.bool_], signal: FloatArray, noise: FloatArray, bad: NDArray[np.bool_]) -> None:
    """Add to `grown`, in place, what is found in the image binned without the sources found so far."""
    height, width = (length // BINNING * BINNING for length in signal.shape)
    usable = ~(bad | grown)[:height, :width]
    cells = (height // BINNING, BINNING, width // BINNING, BINNING)
    number = usable.reshape(cells).sum(axis=(1, 3)).astype(np.float32)
    total = np.where(usable, signal[:height, :width], np.float32(0)).reshape(cells).sum(axis=(1, 3), dtype=np.float32)
    some = np.maximum(number, np.float32(1))
    means = np.asarray(total / some, np.float32)
    sigma = noise[:height:BINNING, :width:BINNING] / np.sqrt(some)
    empty = number < BINNING * BINNING / 4
    means[empty] = 0.0
    segments = _segments(means, np.ascontiguousarray(sigma, np.float32), empty)
    faint = np.zeros(means.shape, np.bool_)
    from recipes.ccd.kernels.sky_stack import grow_segments

    grow_segments(segments, np.full(int(segments.max()) + 1, 1.5, np.float32), faint)
    grown[:height, :width] |= np.repeat(np.repeat(faint, BINNING, axis=0), BINNING, axis=1)
