"""Cosmic rays by their sharp edges: LA Cosmic (van Dokkum 2001, PASP 113, 1420), as McCully's astroscrappy does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.psf import PointSpread
from recipes.frame import FloatArray, strip_bounds
from recipes.progress import tracked

# Neighbours of a hit count from this fraction of the threshold on (van Dokkum 2001, section 3).
NEIGHBOUR_FRACTION = 0.3
ITERATIONS = 4
MARGIN = 6  # pixels of mirrored sky around the frame: the filters of LA Cosmic, up to 7 × 7, have no edge then
STRIP_ROWS, OVERLAP = 512, 48  # rows at a time, to bound memory; four iterations reach no farther than the overlap
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
    progress: tuple[float, float] = (0.0, 1.0),
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
    progress : tuple of float
        Fractions of the job's progress at its beginning and end.

    Returns
    -------
    array of bool
        True where a cosmic ray is.
    """
    smooth = filled(data, bad)
    hits, cleaned = np.zeros(data.shape, dtype=bool), smooth.copy()
    bounds = strip_bounds(data.shape[0], STRIP_ROWS)
    for y0, y1 in tracked(bounds, "looking for cosmic rays", *progress):
        # What is found depends on no more than OVERLAP rows around, so strips give what the whole frame would.
        top, bottom = max(y0 - OVERLAP, 0), min(y1 + OVERLAP, data.shape[0])
        found, without = _la_cosmic(
            smooth[top:bottom], filled(variance[top:bottom], bad[top:bottom]), bad[top:bottom], laplacian_threshold,
            contrast,
        )  # fmt: skip
        hits[y0:y1], cleaned[y0:y1] = found[y0 - top : y1 - top], without[y0 - top : y1 - top]
    hits &= ~bad
    y, x = np.nonzero(hits)
    if not len(y):
        return hits
    from scipy import ndimage

    group = ndimage.label(hits, structure=_EIGHT)[0][y, x]
    # What the noise would be without the hit: its own light is taken out of the variance.
    excess = np.maximum(data[y, x] - cleaned[y, x], 0.0)
    noise = np.sqrt(np.maximum(variance[y, x] - excess * _poisson_slope(data, variance, bad), 0.0) + 1e-12)
    highest = np.zeros(group.max() + 1)
    np.maximum.at(highest, group, excess / noise)
    kept = (highest >= detection_threshold)[group] & _sharper_than_stars(smooth, sky, y, x, group, psf)
    hits[y[~kept], x[~kept]] = False
    return hits


def _la_cosmic(
    data: FloatArray, variance: FloatArray, bad: NDArray[np.bool_], threshold: float, contrast: float
) -> tuple[NDArray[np.bool_], FloatArray]:
    """Return the hits and the image without them."""
    import astroscrappy

    hits, cleaned = astroscrappy.detect_cosmics(
        np.pad(data, MARGIN, mode="symmetric"),
        inmask=np.pad(bad, MARGIN, mode="symmetric"),
        invar=np.pad(variance, MARGIN, mode="symmetric"),
        sigclip=threshold,
        sigfrac=NEIGHBOUR_FRACTION,
        objlim=contrast,
        gain=1.0,
        satlevel=np.inf,
        niter=ITERATIONS,
        sepmed=True,
        cleantype="medmask",
        fsmode="median",
    )
    inside = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return np.asarray(hits, dtype=bool)[inside], np.asarray(cleaned)[inside]


def _sharper_than_stars(
    data: FloatArray,
    sky: FloatArray,
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    group: NDArray[np.int32],
    psf: PointSpread | None,
) -> NDArray[np.bool_]:
    """Return which hits belong to a group whose peak stands higher above its 5 × 5 median than a star's does.

    LA Cosmic grows hits into all that is bright beside them, so a hit (or a bad pixel) near the core of a bright star
    takes the whole core with it. Of such a group only the pixels that are sharp themselves are kept.
    """
    height, width = data.shape
    level = sky[y, x]
    around = [
        data[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
        for dy in range(-2, 3)
        for dx in range(-2, 3)
    ]
    peak = data[y, x] - level
    sharp = peak > SHARPNESS_MARGIN * _star_sharpness(psf) * (np.median(np.stack(around), axis=0) - level)
    order = np.lexsort((-peak, group))
    first = order[np.r_[True, np.diff(group[order]) > 0]]  # the brightest pixel of each group
    group_is_sharp = np.zeros(group.max() + 1, dtype=bool)
    group_is_sharp[group[first]] = sharp[first]
    return np.asarray(sharp | group_is_sharp[group])


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
