"""The mean of stars' own zeropoints: clipped, weighted by their errors, with an error that the scatter bears out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
# Scatter of standard stars about a zeropoint where they are too few to show it: the rms of residuals of transformations
# to Landolt's system is 0.01 to 0.03 mag (Landolt 1992, AJ 104, 340, section 3).
USUAL_SCATTER = 0.03  # mag
FEWEST_FOR_SCATTER = 3
LEAST_SCATTER = 0.01  # mag: flats and illumination are seldom better, so bright stars are not clipped for less
ENOUGH_FOR_SCATTER = 10  # a few stars may agree by chance better than they should: the clip does not rely on it
_ROUNDS = 30


@dataclass(frozen=True)
class ZeropointFit:
    """A weighted mean [mag], its error, the scatter beyond the stars' own errors, and which stars were used.

    ``rms`` is the unweighted rms of those used about the mean; ``chi2`` their reduced chi square for their own errors.
    """

    zeropoint: float
    error: float
    scatter: float
    rms: float
    chi2: float
    used: NDArray[np.bool_]
    mismatched: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Stars used."""
        return int(self.used.sum())


def fit_zeropoint(values: Floats, errors: Floats, *, largest_difference: float, clip: float) -> ZeropointFit:
    """Return the zeropoint that the stars agree on.

    Parameters
    ----------
    values, errors : array
        Each star's own zeropoint with its error [mag]; at least one.
    largest_difference : float
        Stars farther than this from the median are no match at all [mag].
    clip : float
        Of those left, stars farther than so many sigma are not used; sigma is that of the star's own error and the
        scatter of all.

    Returns
    -------
    ZeropointFit
        Mean and error.

    Notes
    -----
    The scatter beyond the errors is what makes the reduced chi square 1 (Paule & Mandel 1982, J. Res. NBS 87, 377). The
    error of the mean is the larger of that from the weights and that which the residuals themselves show.
    """
    mismatched = np.abs(values - np.median(values)) > largest_difference
    if mismatched.all():  # two stars that disagree: neither can be told right
        mismatched[:] = False
    used = ~mismatched
    for _ in range(_ROUNDS):
        centre, beyond = _middle(values[used], errors[used])
        kept = ~mismatched & (np.abs(values - centre) <= clip * np.hypot(errors, beyond))
        if used.sum() < FEWEST_FOR_SCATTER or kept.sum() < FEWEST_FOR_SCATTER or (kept == used).all():
            break
        used = kept
    scatter = _scatter(values[used], errors[used])
    weights = 1 / (errors[used] ** 2 + scatter**2)
    mean = float(np.sum(weights * values[used]) / weights.sum())
    rms = _rms(values[used], mean)
    plain = 1 / errors[used] ** 2
    about = float(np.sum(plain * values[used]) / plain.sum())
    chi2 = float(np.sum(plain * (values[used] - about) ** 2) / max(int(used.sum()) - 1, 1))
    error = max(float(weights.sum() ** -0.5), _shown_error(values[used] - mean, weights))
    return ZeropointFit(mean, error, scatter, rms, chi2, used, mismatched)


def _shown_error(residuals: Floats, weights: Floats) -> float:
    """Return the error of a weighted mean that the residuals show (HC3: MacKinnon & White 1985, J. Econometrics 29)."""
    share = weights / weights.sum()
    if len(share) < 2:
        return 0.0
    return float(np.sqrt(np.sum((share * residuals / (1 - share)) ** 2)))


def _middle(values: Floats, errors: Floats) -> tuple[float, float]:
    """Return the weighted median, and the scatter beyond the errors with which the MAD of the pulls is that of 1."""
    beyond = LEAST_SCATTER if len(values) >= ENOUGH_FOR_SCATTER else USUAL_SCATTER
    order = np.argsort(values, kind="stable")
    for _ in range(_ROUNDS):
        share = np.cumsum(1 / np.hypot(errors, beyond)[order])
        centre = float(values[order[np.searchsorted(share, 0.5 * share[-1])]])
        pulls = np.abs(values - centre) / np.hypot(errors, beyond)
        if MAD_TO_SIGMA * float(np.median(pulls)) <= 1:
            break
        beyond *= 1.2
    return centre, beyond


def _rms(values: Floats, centre: float) -> float:
    return float(np.sqrt(np.sum((values - centre) ** 2) / max(len(values) - 1, 1)))


def _scatter(values: Floats, errors: Floats) -> float:
    """Return the scatter that, besides the errors, makes the reduced chi square 1; the usual one for a few stars."""
    if len(values) < FEWEST_FOR_SCATTER:
        return USUAL_SCATTER

    def excess(scatter: float) -> float:
        weights = 1 / (errors**2 + scatter**2)
        mean = np.sum(weights * values) / weights.sum()
        return float(np.sum(weights * (values - mean) ** 2) - (len(values) - 1))

    if excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, float(np.ptp(values)) + float(errors.max())
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return 0.5 * (low + high)
