"""Cosmic rays by their sharp edges: LA Cosmic (van Dokkum 2001, PASP 113, 1420), looked for only where they can be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.psf import PointSpread
from recipes.frame import FloatArray, strip_bounds
from recipes.progress import report

# Neighbours of a hit count from this fraction of the threshold on (van Dokkum 2001, section 3).
NEIGHBOUR_FRACTION = 0.3
ITERATIONS = 4
FILLED_ROUNDS = 3  # of bad pixels, inwards: the filters of good pixels see no farther
STRIP_ROWS = 256  # rows that a thread takes at a time
SHARPNESS_MARGIN = 1.3  # of our choice: stars differ by the place of their centre within a pixel, and by noise
UNKNOWN_SHARPNESS = 3.5  # of a star with a FWHM of 3 pixels
SAMPLE = 200_000  # pixels that tell levels of the frame


def find_cosmic_rays(
    data: FloatArray,
    variance: FloatArray,
    bad: NDArray[np.bool_],
    *,
    laplacian_threshold: float,
    contrast: float,
    detection_threshold: float,
    signal: FloatArray,
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
    signal : array
        `data` less its sky.
    psf : PointSpread, optional
        Of the frame's stars: what is no sharper than they are is not a hit.
    progress : tuple of float
        Fractions of the job's progress at its beginning and end.

    Returns
    -------
    array of bool
        True where a cosmic ray is.
    """
    found = la_cosmic(data, variance, bad, laplacian_threshold, contrast, progress)
    hits = np.zeros(data.shape, dtype=bool)
    if not len(found.y):
        return hits
    y, x, group = found.y, found.x, found.group
    # What the noise would be without the hit: its own light is taken out of the variance.
    values, variances = data[y, x], variance[y, x]
    excess = np.maximum(values - found.cleaned, 0.0)
    noise = np.sqrt(np.maximum(variances - excess * _poisson_slope(data, variance, bad), 0.0) + 1e-12)
    highest = np.zeros(group.max() + 1)
    np.maximum.at(highest, group, excess / noise)
    peak = signal[y, x]
    sharp = _sharper_than_stars(peak, found.median - (values - peak), group, psf)
    kept = (highest >= detection_threshold)[group] & sharp
    hits[y[kept], x[kept]] = True
    return hits


@dataclass(frozen=True)
class Hits:
    """Pixels that LA Cosmic takes for hits, in the order of rows and columns.

    ``cleaned`` is what the pixel holds without the hit, ``median`` that of the 5 × 5 pixels around it as they are
    (bad ones filled), ``group`` the number of the touching hits that it belongs to.
    """

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    cleaned: FloatArray
    median: FloatArray
    group: NDArray[np.int64]


def la_cosmic(
    data: FloatArray,
    variance: FloatArray,
    bad: NDArray[np.bool_],
    threshold: float,
    contrast: float,
    progress: tuple[float, float] = (0.0, 1.0),
) -> Hits:
    """Return what LA Cosmic finds, with all of its medians in full.

    Parameters
    ----------
    data, variance : array
        Science pixels and their variance.
    bad : array of bool
        Pixels that are known to be bad.
    threshold : float
        Laplacian to noise of a hit.
    contrast : float
        Least ratio of Laplacian to fine structure.
    progress : tuple of float
        Fractions of the job's progress at its beginning and end.

    Returns
    -------
    Hits
        None of them bad.
    """
    from recipes.ccd.kernels import cosmic_rays as kernels

    margin = kernels.MARGIN
    height, width = data.shape
    clean = np.empty((height + 2 * margin, width + 2 * margin), np.float32)
    spread = np.empty_like(clean)
    state = np.full(clean.shape, kernels.BAD, np.uint8)
    strips = strip_bounds(height, STRIP_ROWS)
    threads.each(lambda rows: kernels.prepare(data, variance, bad, clean, spread, state, *rows), strips)
    kernels.fill_bad(clean, spread, state, FILLED_ROUNDS)
    level, level_variance = _levels(data, variance, bad)
    limits = np.float32(threshold), np.float32(NEIGHBOUR_FRACTION * threshold), np.float32(contrast)
    hits = [np.empty(0, np.int64)]
    for turn in range(ITERATIONS):
        report(progress[0] + (progress[1] - progress[0]) * turn / ITERATIONS, "looking for cosmic rays")
        kernels.mirror(clean)
        kernels.mirror(spread)
        planes = clean, spread, state
        found = threads.each(partial(_look, planes, limits, turn > 0), strips)
        new, changed = kernels.clean_hits(clean, spread, state, np.unique(np.concatenate(found)), level, level_variance)
        if not len(new):
            break
        hits.append(new)
        kernels.mark_again(state, changed)
    positions = np.sort(np.concatenate(hits))
    y, x = positions // clean.shape[1], positions % clean.shape[1]
    cleaned = clean[y, x]
    clean[y, x] = data[y - margin, x - margin]
    kernels.mirror(clean)
    group = kernels.group_touching(positions, clean.shape[1])
    return Hits(y - margin, x - margin, cleaned, kernels.medians_around(clean, positions), group)


def _look(
    planes: tuple[FloatArray, FloatArray, NDArray[np.uint8]],
    limits: tuple[np.float32, np.float32, np.float32],
    again: bool,
    rows: tuple[int, int],
) -> NDArray[np.int64]:
    from recipes.ccd.kernels.cosmic_rays import MARGIN, find_hits

    return np.asarray(find_hits(*planes, rows[0] + MARGIN, rows[1] + MARGIN, *limits, again))


def _levels(data: FloatArray, variance: FloatArray, bad: NDArray[np.bool_]) -> tuple[np.float32, np.float32]:
    """Return the median of data and variance over a sample of the good pixels."""
    step = max(1, data.size // SAMPLE)
    good = ~bad.ravel()[::step]
    values, variances = data.ravel()[::step][good], variance.ravel()[::step][good]
    if not values.size:
        return np.float32(0), np.float32(0)
    return np.float32(np.median(values)), np.float32(np.median(variances))


def _sharper_than_stars(
    peak: FloatArray, median: FloatArray, group: NDArray[np.int64], psf: PointSpread | None
) -> NDArray[np.bool_]:
    """Return which hits belong to a group whose peak stands higher above its 5 × 5 median than a star's does.

    LA Cosmic grows hits into all that is bright beside them, so a hit (or a bad pixel) near the core of a bright star
    takes the whole core with it. Of such a group only the pixels that are sharp themselves are kept.
    """
    sharp = peak > SHARPNESS_MARGIN * _star_sharpness(psf) * median
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
    step = max(1, data.size // SAMPLE)
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
