"""How faint a star may be and still be detected: from the threshold, the noise and the shape of the stars."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.psf import PointSpread

_REACH = 10  # pixels: the pixels that decide are the brightest
_PHASES = (-0.25, 0.25)  # places of the centre within a pixel to average over


@dataclass(frozen=True)
class Completeness:
    """Fluxes (in the frame's unit) at which half and nine tenths of the stars on empty sky are found."""

    half: float
    nine_tenths: float


def estimate_completeness(
    psf: PointSpread, noise: float, threshold: float, minimum_area: int, kernel: NDArray[np.float32]
) -> Completeness:
    """Estimate the completeness for stars.

    A star is found when `minimum_area` pixels of the filtered image exceed the threshold; so it hangs on the least
    bright of its `minimum_area` brightest pixels, which is as much above as below its expectation in half of the cases.

    Parameters
    ----------
    psf : PointSpread
        Shape of the stars.
    noise : float
        Of the sky, in the frame's unit.
    threshold : float
        Of the detection, in units of the noise.
    minimum_area : int
        Pixels above the threshold that make a source.
    kernel : array
        Filter of the detection.

    Returns
    -------
    Completeness
        Crowding and masked pixels are not in it.
    """
    from scipy.signal import convolve2d

    weights = kernel / kernel.sum()
    deciding = []
    y, x = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]
    for dy in _PHASES:
        for dx in _PHASES:
            stamp = psf.profile(np.hypot(x - dx, y - dy))
            filtered = np.sort(convolve2d(stamp, weights, mode="same").ravel())[::-1]
            deciding.append(filtered[min(minimum_area, filtered.size) - 1])
    light = float(np.mean(deciding))
    filtered_noise = float(np.sqrt(np.sum(np.square(weights)))) * noise
    nine_tenths = NormalDist().inv_cdf(0.9) * filtered_noise
    return Completeness(threshold * noise / light, (threshold * noise + nine_tenths) / light)
