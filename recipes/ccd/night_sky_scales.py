"""The large scales of a night-sky flat relative to another flat, as far as they stand above its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.sky import robust_noise
from recipes.ccd.smoothing import fill_bad, low_pass
from recipes.frame import FloatArray, Frame

# A band of scales is taken where its variance is so many times that of the noise in it.
LEAST_POWER = 5.0
_STEP = 1.5  # from one band of scales to the next


@dataclass(frozen=True)
class LargeScales:
    """What a flat is multiplied by to have the night sky's large scales, of median 1, and down to which scale."""

    factor: FloatArray
    cycles: float


def large_scales_of(
    night_sky: Frame, flat: FloatArray, bad: NDArray[np.bool_], size: int, cycles: float, mirror: tuple[int, int]
) -> LargeScales | None:
    """Return the large scales of the ratio of `night_sky` to `flat`, None where not even the largest are known.

    Parameters
    ----------
    night_sky : Frame
        Night-sky flat with its variance; without one the noise is taken from differences of neighbours.
    flat : array of float32
        The flat that is to be corrected, without bad pixels.
    bad : array of bool
        Pixels to leave out.
    size : int
        Width of the box whose median replaces a bad pixel.
    cycles : float
        The finest scale to look at: sigma of the low-pass in cycles over the frame.
    mirror : tuple of int
        Pixels (y, x) of mirrored edge.

    Returns
    -------
    LargeScales or None
        Scales from the largest on, a factor 1.5 at a time, as long as the variance of the next is five times what the
        noise alone would make.
    """
    response = np.asarray(night_sky.data / np.maximum(flat, np.float32(1e-6)), np.float32)
    ratio, _ = fill_bad(response, bad, size)
    ratio /= np.float32(np.median(ratio[~bad]) if not bad.all() else 1)
    noise = _pixel_variance(night_sky, flat, ratio, bad)
    known, found = np.ones_like(ratio), 0.0
    before = 0.0
    finer = min(1.0, cycles)
    while True:
        smooth = low_pass(ratio, finer, mirror)
        band = smooth - known
        expected = noise * _noise_factor(ratio.shape, before, finer)
        if not float(np.var(band, dtype=np.float64)) >= LEAST_POWER * expected:
            break
        known, found, before = smooth, finer, finer
        if finer >= cycles:
            break
        finer = min(finer * _STEP, cycles)
    return LargeScales(known, found) if found else None


def _pixel_variance(night_sky: Frame, flat: FloatArray, ratio: FloatArray, bad: NDArray[np.bool_]) -> float:
    good = ~bad
    if night_sky.variance is not None:
        return float(np.median(night_sky.variance[good] / np.maximum(flat[good], np.float32(1e-6)) ** 2))
    pairs = good[:, 1:] & good[:, :-1]
    return robust_noise((ratio[:, 1:] - ratio[:, :-1])[pairs]) ** 2 / 2


def _noise_factor(shape: tuple[int, ...], coarse: float, fine: float) -> float:
    """Return the variance of white noise between the low-passes of `coarse` and `fine` cycles, in that of a pixel."""
    areas = [np.prod([length / (2 * np.pi * cycles) for length in shape]) if cycles else np.inf for cycles in
             (coarse, fine)]  # fmt: skip
    # Gaussians of areas sigma_x sigma_y: the overlap of two is 1 / (2 pi (sum of their areas)) as both scale alike.
    return float((1 / areas[0] + 1 / areas[1] - 4 / (areas[0] + areas[1])) / (4 * np.pi))
