"""The fit of a frame's coordinates to reference stars: pairs, clipped least squares, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.plate import Plate, powers
from recipes.ccd.reference_stars import ReferenceStars
from recipes.ccd.star_matching import alike, pairs_within
from recipes.ccd.stars import Stars
from recipes.ccd.tangent_plane import project

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

LEAST_STARS = 8  # for the whole linear part; with fewer an offset is all that is fitted
STARS_A_TERM = 3.0  # of the polynomial on each axis
ROUNDS = 15
LEAST_DISTANCE = 1.0  # pixels within which pairs are looked for at the end
FLOOR = 0.005  # pixels: no position is better, whatever its photons say
MAD = 1.4826
_UNSURE_CORNER = 1.0  # pixels by which a corner may be uncertain, for the terms to be kept that make it so


@dataclass(frozen=True)
class Fit:
    """A fitted plate and its pairs.

    Parameters
    ----------
    plate : Plate
        The coordinates.
    star, reference : array
        Places of the pairs used in the lists.
    residuals : array
        Star less reference, towards east and north [arcsec].
    error : array
        Expected size of a residual on an axis [arcsec].
    degree : int
        Of the polynomial that was fitted on top of the header's; 0 is an offset alone.
    corner_error : float
        Greatest error of the fitted coordinates on the frame, from the scatter of the stars [arcsec].
    """

    plate: Plate
    star: Places
    reference: Places
    residuals: Floats
    error: Floats
    degree: int
    corner_error: float

    @property
    def count(self) -> int:
        """How many pairs were used."""
        return len(self.star)

    @property
    def rms(self) -> Floats:
        """Root mean square of the residuals towards east and north [arcsec]."""
        return np.sqrt(np.mean(self.residuals**2, axis=0)) if self.count else np.zeros(2)


def fit_plate(
    plate: Plate, stars: Stars, references: ReferenceStars, *, degree: int, distance: float, clip: float
) -> Fit | None:
    """Fit a polynomial of at most `degree` on top of a plate that is right to `distance` arcsec.

    Parameters
    ----------
    plate : Plate
        First coordinates.
    stars : Stars
        Of the frame; those that are clean serve.
    references : ReferenceStars
        On the frame and around it.
    degree : int
        Highest degree; less where stars are few, cover a part of the frame alone, or do not call for its terms.
    distance : float
        Within which pairs are looked for at first [arcsec].
    clip : float
        Pairs farther apart than so many sigma are left out.

    Returns
    -------
    Fit or None
        None where fewer than eight pairs are left.
    """
    usable = np.flatnonzero(stars.clean)
    clean = stars.where(usable)
    fitted = _iterated(plate, clean, references, degree, distance, clip)
    for lower in range(fitted.degree - 1 if fitted else 0, 0, -1):
        simpler = _iterated(plate, clean, references, lower, distance, clip)
        if fitted is None or simpler is None:
            break
        unsure = fitted.corner_error > _UNSURE_CORNER * plate.pixel_scale
        if not unsure and _called_for(fitted, simpler, clean, references):
            break
        fitted = simpler
    return replace(fitted, star=usable[fitted.star]) if fitted else None


def _called_for(fitted: Fit, simpler: Fit, stars: Stars, references: ReferenceStars) -> bool:
    """Return whether the stars call for the terms that the simpler fit lacks (Akaike 1974: 2 in chi2 for each)."""
    x, y = stars.x[fitted.star], stars.y[fitted.star]
    ra, dec = references.ra[fitted.reference], references.dec[fitted.reference]
    known = np.stack(project(ra, dec, *simpler.plate.tangent), axis=-1)
    away = (np.stack(simpler.plate.plane(x, y), axis=-1) - known) * 3600
    chi2, chi2_simpler = (float(np.sum((values / fitted.error[:, None]) ** 2)) for values in (fitted.residuals, away))
    more = 2 * (len(powers(fitted.degree)) - len(powers(simpler.degree)))
    freedom = max(2 * (fitted.count - len(powers(fitted.degree))), 1)
    return chi2_simpler - chi2 > 2 * more * max(chi2 / freedom, 1e-12)


def _iterated(
    plate: Plate, stars: Stars, references: ReferenceStars, degree: int, distance: float, clip: float
) -> Fit | None:
    """Match and fit in turn until the pairs stay the same; the linear part alone while pairs are far apart."""
    scale, floor = plate.pixel_scale, 0.05 * plate.pixel_scale
    before: tuple[bytes, int] = (b"", 0)
    fit: Fit | None = None
    for round_number in range(ROUNDS):
        star, reference = _pairs(plate, stars, references, distance)
        if len(star) < LEAST_STARS:
            return None
        now = 1 if round_number < 2 else highest_degree(len(star), degree)
        error = np.hypot(np.hypot(stars.error[star] * scale, references.error[reference]), floor)
        fit, kept = _clipped_fit(plate, stars, references, star, reference, error, now, clip)
        if fit is None:
            return None
        plate = fit.plate
        floor = max(_floor(fit, stars, references, scale), FLOOR * scale)
        spread = MAD * float(np.median(np.abs(fit.residuals)))
        distance = min(distance, max(3 * clip * spread, LEAST_DISTANCE * scale))
        state = (np.concatenate([star[kept], reference[kept]]).tobytes(), now)
        if state == before and round_number > 2:
            break
        before = state
    return fit


def highest_degree(count: int, degree: int) -> int:
    """Return the highest degree, up to `degree` and from 1, whose terms so many stars can carry."""
    return next((d for d in range(degree, 1, -1) if count >= STARS_A_TERM * len(powers(d))), min(degree, 1))


def _pairs(plate: Plate, stars: Stars, references: ReferenceStars, distance: float) -> tuple[Places, Places]:
    own = np.stack(plate.plane(stars.x, stars.y), axis=-1) * 3600
    known = np.stack(project(references.ra, references.dec, *plate.tangent), axis=-1) * 3600
    star, reference = pairs_within(own, known, distance)
    likely = alike(references.magnitude[reference] + 2.5 * np.log10(stars.flux[star]))
    return star[likely], reference[likely]


def _clipped_fit(
    plate: Plate, stars: Stars, references: ReferenceStars, star: Places, reference: Places, error: Floats, degree: int,
    clip: float,
) -> tuple[Fit | None, NDArray[np.bool_]]:  # fmt: skip
    """Fit with the pairs that stay within `clip` sigma; return the fit, and which pairs those are."""
    x, y = stars.x[star], stars.y[star]
    terms = plate.terms(x, y, degree)
    known = np.stack(project(references.ra[reference], references.dec[reference], *plate.tangent), axis=-1)
    wanted = (known - np.stack(plate.plane(x, y), axis=-1)) * 3600
    kept: NDArray[np.bool_] = np.ones(len(star), dtype=bool)
    for _ in range(10):
        weighted = terms[kept] / error[kept, None]
        found, *_ = np.linalg.lstsq(weighted, wanted[kept] / error[kept, None], rcond=None)
        residuals = terms @ found - wanted
        pull = np.abs(residuals) / error[:, None]
        spread = max(MAD * float(np.median(pull[kept])), 1e-12)
        now = np.asarray(pull.max(axis=1) <= clip * spread)
        if now.sum() < LEAST_STARS or (now == kept).all():
            break
        kept = now
    if kept.sum() < max(LEAST_STARS, len(powers(degree))):
        return None, kept
    moved = plate.plus(found / 3600).touching()
    corner = _corner_error(plate, weighted, residuals[kept], error[kept], degree)
    fit = Fit(moved, star[kept], reference[kept], residuals[kept], error[kept], degree, corner)
    return fit, kept


def _floor(fit: Fit, stars: Stars, references: ReferenceStars, scale: float) -> float:
    """Return what the scatter of the better half of the pairs has beyond the errors that are known [arcsec]."""
    known = np.hypot(stars.error[fit.star] * scale, references.error[fit.reference])
    better = known <= np.median(known)
    scatter = MAD * float(np.median(np.abs(fit.residuals[better])))
    return float(np.sqrt(max(scatter**2 - float(np.median(known[better])) ** 2, 0.0)))


def _corner_error(plate: Plate, weighted: Floats, residuals: Floats, error: Floats, degree: int) -> float:
    """Return the greatest standard error of the fitted polynomial at corners and edges [arcsec]."""
    freedom = max(2 * (len(residuals) - weighted.shape[1]), 1)
    chi2 = max(float(np.sum((residuals / error[:, None]) ** 2)) / freedom, 1e-12)
    height, width = plate.shape
    x, y = (
        grid.ravel() for grid in np.meshgrid([0.5, (width + 1) / 2, width + 0.5], [0.5, (height + 1) / 2, height + 0.5])
    )
    there = plate.terms(x, y, degree)
    _, values, axes = np.linalg.svd(weighted, full_matrices=False)
    if values[-1] <= 1e-9 * values[0]:
        return float("inf")
    spread = there @ axes.T / values
    return float(np.sqrt(chi2 * np.max(np.sum(spread**2, axis=1))))
