"""Noise of the sky in each pixel, as detection and photometry need it: from a variance or weight where there is one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.sky import Sky
from recipes.frame import FloatArray, strip_bounds

LIT = 2.0  # sigma from which a pixel's variance is taken to hold the photons of a source
_EVERY = 16  # pixels: one of so many, along x and along y, tells the scale of the variance
_STRIP_ROWS = 256
PHOTON_SIGNAL = 10.0  # sigma from which a pixel's variance tells of its own photons
FEWEST_PHOTON_PIXELS = 50
_PHOTON_ROWS = 256  # of the frame tell how the variance rises with the signal


@dataclass(frozen=True)
class PixelNoise:
    """Noise of the sky in each pixel, and what the variance tells besides.

    Attributes
    ----------
    noise : array of float32
        In the image's unit.
    factor : float
        By which the noise is more than the variance tells; 1 without a variance.
    photons : float or None
        By how much the variance rises for each unit of signal, scaled as the noise: the inverse of the gain. None where
        there is no variance or too little light.
    """

    noise: FloatArray
    factor: float = 1.0
    photons: float | None = None


def pixel_noise(variance: FloatArray | None, signal: FloatArray, left_out: NDArray[np.bool_], sky: Sky) -> PixelNoise:
    """Return the noise of the sky in each pixel.

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
    PixelNoise
        One number everywhere where there is no variance.

    Notes
    -----
    As SExtractor takes WEIGHT_TYPE MAP_VAR and MAP_WEIGHT (its manual, "Weighting"): the map tells how the noise
    varies, its scale is that of the pixels themselves, by the median of their ratio. Without a map the noise is one
    number. SExtractor's maps are without the photons of the sources, so these are taken out first.
    """
    if variance is None:
        return PixelNoise(np.full(signal.shape, sky.noise, np.float32))
    from recipes.ccd.kernels.sources_noise import without_sources

    limit = np.float32(LIT) * sky.noise_map
    of_sky = np.empty(signal.shape, np.float32)
    variance = np.ascontiguousarray(variance, np.float32)
    photons = _photons(variance, signal, limit, left_out)
    threads.each(lambda rows: without_sources(variance, signal, limit, photons or 0.0, *rows, of_sky),
                 strip_bounds(signal.shape[0], _STRIP_ROWS))  # fmt: skip
    noise = np.sqrt(of_sky, out=of_sky)
    some = (slice(None, None, _EVERY), slice(None, None, _EVERY))
    known = (noise[some] > 0) & ~left_out[some]
    if not known.any():
        return PixelNoise(np.full(signal.shape, sky.noise, np.float32))
    factor = float(np.median(sky.noise_map[some][known] / noise[some][known]))
    noise *= np.float32(factor)
    noise[~(noise > 0)] = np.float32(sky.noise)
    return PixelNoise(noise, factor, None if photons is None else photons * factor**2)


def _photons(variance: FloatArray, signal: FloatArray, limit: FloatArray, left_out: NDArray[np.bool_]) -> float | None:
    """Return by how much the variance of bright pixels rises with their signal; None where it does not."""
    from recipes.ccd.kernels.sources_noise import without_sources

    some = slice(None, None, max(1, len(signal) // _PHOTON_ROWS))
    its_variance, light, its_limit = (np.ascontiguousarray(plane[some]) for plane in (variance, signal, limit))
    of_sky = np.empty_like(light)
    without_sources(its_variance, light, its_limit, 0.0, 0, len(light), of_sky)
    bright = (light > np.float32(PHOTON_SIGNAL / LIT) * its_limit) & ~left_out[some] & (its_variance > 0)
    if np.count_nonzero(bright) < FEWEST_PHOTON_PIXELS:
        return None
    slope = float(np.median((its_variance[bright] - of_sky[bright]) / light[bright]))
    return slope if slope > 0 else None
