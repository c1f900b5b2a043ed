"""How good the coordinates and the scale of fluxes of a frame are: measured values, residuals, and a sentence."""

from __future__ import annotations

import math

from recipes.ccd.astrometry import Solution
from recipes.ccd.coordinates import Coordinates
from recipes.ccd.flux_scale import FluxScale
from recipes.ccd.regridding import Regridded
from recipes.quality import Measured
from recipes.tables import Column, Table


def measure_coordinates(found: Coordinates) -> list[Measured]:
    """Return how good the coordinates are; the frame that others are aligned with needs no stars."""
    solution, fit = found.solution, found.solution.fit
    scale = solution.plate.pixel_scale
    measured = [
        Measured("stars_found", len(found.measured.stars)),
        Measured("reference_stars", fit.count if fit else 0, limited=fit is not None or not found.itself),
    ]
    if found.overlap_rms is not None:
        measured += [
            Measured("overlap_rms", found.overlap_rms, unit="arcsec"),
            Measured("overlap_rms_pixel", found.overlap_rms / scale, unit="pixel"),
            Measured("overlap_stars", found.overlap_stars),
        ]
    if fit is None:
        return measured
    rms_ra, rms_dec = (float(value) for value in fit.rms)
    return [
        *measured,
        Measured("rms_ra", rms_ra, rms_ra / math.sqrt(2 * fit.count), "arcsec"),
        Measured("rms_dec", rms_dec, rms_dec / math.sqrt(2 * fit.count), "arcsec"),
        Measured("rms_pixel", math.sqrt((rms_ra**2 + rms_dec**2) / 2) / scale, unit="pixel"),
        Measured("corner_error", fit.corner_error, unit="arcsec"),
        Measured("corner_error_pixel", fit.corner_error / scale, unit="pixel"),
        Measured("distortion_degree", fit.degree),
        Measured("chance_log10", solution.log_odds),
        *(_measure_header(solution) if found.from_header else []),
    ]


def _measure_header(solution: Solution) -> list[Measured]:
    """Return how wrong the header's coordinates were."""
    return [
        Measured("pointing_offset", solution.offset, unit="arcsec"),
        Measured("rotation", solution.rotation, unit="degree"),
        Measured("scale_change", solution.scale - 1),
    ]


def measure_fluxes(scale: FluxScale, regridded: Regridded) -> list[Measured]:
    """Return the scale of fluxes, and how much of the frame is masked on the grid."""
    inside = regridded.variance > 0
    good = inside & (regridded.mask == 0)
    measured = [
        Measured("flux_scale", scale.factor, scale.factor * scale.error),
        Measured("flux_scale_error", scale.error),
        Measured("flux_scale_stars", scale.stars),
        Measured("masked_fraction", float(1 - good.sum() / inside.sum()) if inside.any() else 1.0),
    ]
    if scale.zeropoint is not None:
        measured.append(Measured("zeropoint", scale.zeropoint, scale.zeropoint_error, "mag"))
    return measured


def residuals_of(found: Coordinates) -> Table | None:
    """Return the stars that were used, with their residuals."""
    fit, stars, references = found.solution.fit, found.measured.stars, found.references
    if fit is None or references is None:
        return None
    star, reference = fit.star, fit.reference
    return Table(
        {
            "X_IMAGE": Column(stars.x[star], "pixel", "windowed position"),
            "Y_IMAGE": Column(stars.y[star], "pixel", "windowed position"),
            "RA": Column(references.ra[reference], "deg", "of the reference, at the epoch"),
            "DEC": Column(references.dec[reference], "deg", "of the reference, at the epoch"),
            "DRA": Column(fit.residuals[:, 0], "arcsec", "star less reference, on the sky"),
            "DDEC": Column(fit.residuals[:, 1], "arcsec", "star less reference"),
            "ERROR": Column(fit.error, "arcsec", "expected residual on an axis"),
            "FLUX": Column(stars.flux[star], found.measured.frame.unit, "of the star"),
            f"MAG_{references.band}" if references.band else "MAG": Column(references.magnitude[reference], "mag", ""),
            "REFERENCE": Column(references.number[reference], "", "row in the reference, from 0"),
        },
        "RESIDUALS",
        plots=(("X_IMAGE", "DRA"), ("Y_IMAGE", "DDEC"), ("DRA", "DDEC")),
    )


def describe_coordinates(found: Coordinates) -> str:
    """Return a sentence on where the coordinates come from."""
    fit, solution = found.solution.fit, found.solution
    if fit is None:
        return "Others of the run are aligned with it." if found.itself else "Its coordinates could not be calibrated."
    what = f"a polynomial of degree {fit.degree}" if fit.degree else "an offset alone"
    off = f"the header's pointing was {solution.offset:.1f} arcsec off; " if found.from_header else ""
    return (
        f"Coordinates: {what} fitted to {fit.count} stars of {found.reference}, rms {fit.rms[0]:.3f} and "
        f"{fit.rms[1]:.3f} arcsec; {off}odds of chance 1e"
        f"{solution.log_odds:.0f}; confidence {found.confidence}."
    )
