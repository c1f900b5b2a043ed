"""Noise of the sky in each pixel, as detection and photometry need it: from a variance or weight where there is one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.sky import Sky
from recipes.frame import FloatArray, strip_bounds

LIT = 2.0  # sigma from which a pixel's variance is taken to hold the photons of a source
_EVERY = 16  # pixels: one of so many, along x and along y, tells the scale of the variance
_STRIP_ROWS = 256


def pixel_noise(
    variance: FloatArray | None, signal: FloatArray, left_out: NDArray[np.bool_], sky: Sky
) -> tuple[FloatArray, float]:
    """Return the noise of the sky in each pixel, and the factor by which it is more than the variance tells.

    Parameters
    ----------
    variance : array or None
        Of each pixel, in the image's unit squared; what is not above zero is unknown. It may hold the photons of
        sources. None where the noise is the same everywhere.
    signal : array
        Sky-subtracted pixels.
    left_out : array of bool
        Pixels that tell nothing about the scale.
    sky : Sky
        Noise as the pixels show it.

    Returns
    -------
    noise : array of float32
        In the image's unit.
    factor : float
        1 where there is no variance.

    Notes
    -----
    As SExtractor takes WEIGHT_TYPE MAP_VAR and MAP_WEIGHT (its manual, "Weighting"): the map tells how the noise
    varies, its scale is that of the pixels themselves, by the median of their ratio. Without a map the noise is one
    number. SExtractor's maps are without the photons of the sources, so these are taken out first.
    """
    if variance is None:
        return np.full(signal.shape, sky.noise, np.float32), 1.0
    from recipes.ccd.kernels.sources_noise import without_sources

    limit = np.float32(LIT) * sky.noise_map
    of_sky = np.empty(signal.shape, np.float32)
    variance = np.ascontiguousarray(variance, np.float32)
    threads.each(lambda rows: without_sources(variance, signal, limit, *rows, of_sky),
                 strip_bounds(signal.shape[0], _STRIP_ROWS))  # fmt: skip
    noise = np.sqrt(of_sky, out=of_sky)
    some = (slice(None, None, _EVERY), slice(None, None, _EVERY))
    known = (noise[some] > 0) & ~left_out[some]
    if not known.any():
        return np.full(signal.shape, sky.noise, np.float32), 1.0
    factor = float(np.median(sky.noise_map[some][known] / noise[some][known]))
    noise *= np.float32(factor)
    noise[~(noise > 0)] = np.float32(sky.noise)
    return noise, factor
