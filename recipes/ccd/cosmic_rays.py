"""Cosmic rays by their sharp edges: LA Cosmic (van Dokkum 2001, PASP 113, 1420), as McCully's astroscrappy does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from recipes.frame import FloatArray

# Neighbours of a hit count from this fraction of the threshold on (van Dokkum 2001, section 3).
NEIGHBOUR_FRACTION = 0.3
ITERATIONS = 4
_EIGHT = np.ones((3, 3), dtype=bool)


def find_cosmic_rays(
    data: FloatArray,
    variance: FloatArray,
    bad: NDArray[np.bool_],
    *,
    laplacian_threshold: float,
    contrast: float,
    detection_threshold: float,
) -> NDArray[np.bool_]:
    """Find pixels hit by cosmic rays.

    Parameters
    ----------
    data : array
        Science pixels with their sky, in any unit.
    variance : array
        Variance of `data`, in its unit squared.
    bad : array of bool
        Pixels that are known to be bad: they are neither hits nor do they make hits of their neighbours.
    laplacian_threshold : float
        A pixel is a candidate where the Laplacian exceeds this many times the noise (LA Cosmic's sigclip).
    contrast : float
        Least ratio of the Laplacian to the fine structure, which tells hits from stars (LA Cosmic's objlim).
    detection_threshold : float
        A hit is kept if its brightest pixel stands this many sigma above its surroundings.

    Returns
    -------
    array of bool
        True where a cosmic ray is.
    """
    import astroscrappy

    hits, cleaned = astroscrappy.detect_cosmics(
        np.ascontiguousarray(data),
        inmask=np.ascontiguousarray(bad),
        invar=np.ascontiguousarray(variance),
        sigclip=laplacian_threshold,
        sigfrac=NEIGHBOUR_FRACTION,
        objlim=contrast,
        gain=1.0,
        satlevel=np.inf,
        niter=ITERATIONS,
        sepmed=True,
        cleantype="medmask",
        fsmode="median",
    )
    hits = np.asarray(hits, dtype=bool) & ~bad
    if not hits.any():
        return hits
    # What the noise would be without the hit: its own light is taken out of the variance.
    excess = np.where(hits, data - cleaned, 0.0)
    noise = np.sqrt(np.maximum(variance - np.maximum(excess, 0.0) * _poisson_slope(data, variance, bad), 0.0) + 1e-12)
    labels, count = ndimage.label(hits, structure=_EIGHT)
    highest = ndimage.maximum(excess / noise, labels, index=np.arange(1, count + 1))
    kept = np.concatenate([[False], np.asarray(highest) >= detection_threshold])
    return np.asarray(kept[labels])


def _poisson_slope(data: FloatArray, variance: FloatArray, bad: NDArray[np.bool_]) -> float:
    """Return by how much the variance grows with the signal (1 in electrons): from the brighter and the median pixels."""
    step = max(1, data.size // 200_000)
    good = ~bad.ravel()[::step]
    values, variances = data.ravel()[::step][good], variance.ravel()[::step][good]
    if values.size < 100:
        return 0.0
    low, high = np.percentile(values, [10, 99])
    dim, bright = values <= low, values >= high
    span = float(values[bright].mean() - values[dim].mean())
    if span <= 0:
        return 0.0
    return max(0.0, float(variances[bright].mean() - variances[dim].mean()) / span)
