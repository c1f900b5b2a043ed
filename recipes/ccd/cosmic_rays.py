"""Cosmic rays by their sharp edges: LA Cosmic (van Dokkum 2001, PASP 113, 1420), as McCully's astroscrappy does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.psf import PointSpread
from recipes.frame import FloatArray

# Neighbours of a hit count from this fraction of the threshold on (van Dokkum 2001, section 3).
NEIGHBOUR_FRACTION = 0.3
ITERATIONS = 4
MARGIN = 6  # pixels of mirrored sky around the frame: the filters of LA Cosmic, up to 7 × 7, have no edge then
SHARPNESS_MARGIN = 1.3  # of our choice: stars differ by the place of their centre within a pixel, and by noise
UNKNOWN_SHARPNESS = 3.5  # of a star with a FWHM of 3 pixels
_EIGHT = np.ones((3, 3), dtype=bool)


def find_cosmic_rays(
    data: FloatArray,
    variance: FloatArray,
    bad: NDArray[np.bool_],
    *,
    laplacian_threshold: float,
    contrast: float,
    detection_threshold: float,
    sky: FloatArray,
    psf: PointSpread | None = None,
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
    sky : array
        Level of the sky, in the unit of `data`.
    psf : PointSpread, optional
        Of the frame's stars: what is no sharper than they are is not a hit.

    Returns
    -------
    array of bool
        True where a cosmic ray is.
    """
    import astroscrappy

    smooth = filled(data, bad)
    inside = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    padded_hits, padded_cleaned = astroscrappy.detect_cosmics(
        np.pad(smooth, MARGIN, mode="symmetric"),
        inmask=np.pad(bad, MARGIN, mode="symmetric"),
        invar=np.pad(filled(variance, bad), MARGIN, mode="symmetric"),
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
    hits, cleaned = np.asarray(padded_hits, dtype=bool)[inside] & ~bad, padded_cleaned[inside]
    if not hits.any():
        return hits
    from scipy import ndimage

    # What the noise would be without the hit: its own light is taken out of the variance.
    excess = np.where(hits, data - cleaned, 0.0)
    noise = np.sqrt(np.maximum(variance - np.maximum(excess, 0.0) * _poisson_slope(data, variance, bad), 0.0) + 1e-12)
    labels, count = ndimage.label(hits, structure=_EIGHT)
    highest = ndimage.maximum(excess / noise, labels, index=np.arange(1, count + 1))
    strong = np.concatenate([[False], np.asarray(highest) >= detection_threshold])[labels]
    return _sharper_than_stars(smooth - sky, np.where(strong, labels, 0), psf)


def _sharper_than_stars(signal: FloatArray, labels: NDArray[np.intp], psf: PointSpread | None) -> NDArray[np.bool_]:
    """Return the hits whose peak stands higher above its 5 × 5 median than a star's does.

    LA Cosmic grows hits into all that is bright beside them, so a hit (or a bad pixel) near the core of a bright star
    takes the whole core with it. Of such a group only the pixels that are sharp themselves are kept.
    """
    y, x = np.nonzero(labels)
    if not len(y):
        return np.zeros(labels.shape, dtype=bool)
    padded = np.pad(signal, 2, mode="symmetric")
    around = np.median(np.stack([padded[y + dy, x + dx] for dy in range(5) for dx in range(5)]), axis=0)
    sharp = signal[y, x] > SHARPNESS_MARGIN * _star_sharpness(psf) * around
    group = labels[y, x]
    order = np.lexsort((-signal[y, x], group))
    first = order[np.r_[True, np.diff(group[order]) > 0]]  # the brightest pixel of each group
    group_is_sharp = np.zeros(labels.max() + 1, dtype=bool)
    group_is_sharp[group[first]] = sharp[first]
    kept = np.zeros(labels.shape, dtype=bool)
    kept[y, x] = sharp | group_is_sharp[group]
    return kept


def _star_sharpness(psf: PointSpread | None) -> float:
    """Return the peak of a star centred on a pixel over the median of the 5 × 5 pixels around it."""
    if psf is None:
        return UNKNOWN_SHARPNESS
    y, x = np.mgrid[-2:3, -2:3]
    stamp = psf.profile(np.hypot(x, y))
    return float(stamp.max() / np.median(stamp))


def filled(data: FloatArray, bad: NDArray[np.bool_], rounds: int = 3) -> FloatArray:
    """Return `data` with bad pixels replaced by the mean of their good neighbours, inwards for so many rounds.

    What a bad pixel holds would otherwise make hits of its neighbours.
    """
    image = np.array(data, dtype=np.float32)
    left = bad.copy()
    for _ in range(rounds):
        y, x = np.nonzero(left)
        if not len(y):
            break
        total, number = np.zeros(len(y), np.float32), np.zeros(len(y), np.float32)
        for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
            rows, columns = np.clip(y + dy, 0, bad.shape[0] - 1), np.clip(x + dx, 0, bad.shape[1] - 1)
            good = ~left[rows, columns]
            total[good] += image[rows[good], columns[good]]
            number[good] += 1
        known = number > 0
        image[y[known], x[known]] = total[known] / number[known]
        left[y[known], x[known]] = False
    return image


def _poisson_slope(data: FloatArray, variance: FloatArray, bad: NDArray[np.bool_]) -> float:
    """Return by how much the variance grows with the signal (1 in electrons), from bright and dim pixels."""
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
