"""How much a source looks like a star: its half-light radius against that of the frame's stars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.psf import PointSpread

BRIGHT = 20.0  # signal to noise of sources that tell how large a star is
FEWEST = 5
NEAR = (0.6, 1.5)  # in units of the half-light radius of the isolated stars, where there are any
LEAST_LIMIT = 0.12  # by how much a source is larger than a star where it is as likely the one as the other
LEAST_WIDTH = 0.04  # of that limit, at high signal to noise
_UNKNOWN = 0.5


def star_likeness(
    radius: NDArray[np.floating],
    signal_to_noise: NDArray[np.floating],
    flags: NDArray[np.integer],
    psf: PointSpread | None,
) -> NDArray[np.float32]:
    """Return for each source how much it looks like a star: 1 as small as a star, 0 larger.

    Parameters
    ----------
    radius : array
        Half-light radii [pixel].
    signal_to_noise : array
        Flux over its error.
    flags : array
        SExtractor's FLAGS.
    psf : PointSpread or None
        Of isolated stars, where there were any.

    Returns
    -------
    array of float32
        0.5 for all where nothing tells how large a star is.

    Notes
    -----
    Stars are where the radii of bright sources crowd: their mode. How much smaller ones scatter about it (galaxies are
    only larger) tells how well radii are known in this frame: in a crowded one neighbours spoil them, and the limit is
    wider and softer. Faint sources are judged as softly as their noise asks.
    """
    sizes: NDArray[np.float64] = radius.astype(np.float64)
    usual, scatter = _locus(sizes, signal_to_noise, flags, psf)
    if usual is None:
        return np.full(len(sizes), _UNKNOWN, dtype=np.float32)
    limit = 1 + max(LEAST_LIMIT, 2 * scatter)
    width = np.sqrt(LEAST_WIDTH**2 + (0.5 * scatter) ** 2 + 1.0 / np.maximum(signal_to_noise, 1.0) ** 2)
    exponent = np.clip((sizes / usual - limit) / width, -50, 50)
    return np.asarray(np.where(sizes > 0, 1 / (1 + np.exp(exponent)), _UNKNOWN), dtype=np.float32)


def _locus(
    radius: NDArray[np.float64],
    signal_to_noise: NDArray[np.floating],
    flags: NDArray[np.integer],
    psf: PointSpread | None,
) -> tuple[float | None, float]:
    """Return the radius of stars and their relative scatter about it; None where nothing tells."""
    bright = (signal_to_noise > BRIGHT) & ((flags & ~3) == 0) & (radius > 0)
    if psf is not None:
        bright &= (radius > NEAR[0] * psf.half_light_radius) & (radius < NEAR[1] * psf.half_light_radius)
    clean = bright & (flags == 0)
    values = np.sort(radius[clean if clean.sum() >= FEWEST else bright])
    if len(values) < FEWEST:
        return (None, 0.0) if psf is None else (psf.half_light_radius, LEAST_LIMIT)
    usual = _mode(values)
    below = usual - values[values <= usual]
    return usual, float(1.4826 * np.median(below)) / usual


def _mode(values: NDArray[np.float64]) -> float:
    """Return the middle of the narrowest interval that holds half of the sorted values, then half of those, ...

    (The half-sample mode of Bickel & Frühwirth 2006, stopped at ten values: what is narrower is chance.)
    """
    while len(values) > 10:
        half = -(-len(values) // 2)
        start = int(np.argmin(values[half - 1 :] - values[: len(values) - half + 1]))
        values = values[start : start + half]
    return float(np.median(values))
