"""What each standard star that was found on a frame says of its zeropoint, and the table that tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.photometric_band import Transformation
from recipes.ccd.standard_stars import Matches, Standards
from recipes.ccd.tangent_plane import project
from recipes.ccd.wcs import sky_positions
from recipes.ccd.zeropoint_fit import ZeropointFit
from recipes.frame import Frame
from recipes.tables import Column, Table

Floats = NDArray[np.float64]

MAGNITUDES = 2.5 / np.log(10)
FEWEST_FOR_SLOPE = 10  # stars that tell whether a colour term is wanting


@dataclass(frozen=True)
class StarZeropoints:
    """The standards that were found on a frame, with what each says of the zeropoint."""

    matches: Matches
    standards: Standards
    sources: dict[str, Column]
    flux: Floats
    flux_error: Floats
    zeropoint: Floats
    error: Floats
    remark: NDArray[np.str_]


def star_zeropoints(
    matches: Matches,
    standards: Standards,
    sources: dict[str, Column],
    fluxes_of: tuple[Floats, Floats, Floats],
    filter_: Transformation,
    seconds: float,
    dimming: float,
    remark: NDArray[np.str_],
) -> StarZeropoints:
    """Return what each standard that was found says of the zeropoint.

    Parameters
    ----------
    matches : Matches
        Which source each standard is.
    standards : Standards
        Stars of known magnitude.
    sources : dict of Column
        All sources of the frame.
    fluxes_of : tuple of array
        Flux, error and their ratio of the sources that were matched.
    filter_ : Transformation
        Colour term and extinction.
    seconds, dimming : float
        Exposure time, and what the atmosphere takes away [mag].
    remark : array of str
        Why a star is not to be used.

    Returns
    -------
    StarZeropoints
        With the remark of those whose colour is wanting and not known.
    """
    flux, flux_error, ratio = fluxes_of
    star = matches.standard
    change, colour_error = np.zeros(len(star)), np.zeros(len(star))
    if filter_.colour_term:
        change = filter_.colour_term * standards.colour[star]
        colour_error = abs(filter_.colour_term) * standards.colour_error[star]
        remark = remark.copy()
        remark[~np.isfinite(change)] = "no colour"
    with np.errstate(divide="ignore", invalid="ignore"):
        values = standards.magnitude[star] + change + dimming + 2.5 * np.log10(flux / seconds)
        errors = np.sqrt((MAGNITUDES / ratio) ** 2 + standards.error[star] ** 2 + colour_error**2)
    return StarZeropoints(matches, standards, sources, flux, flux_error, values, errors, remark)


def table_of_stars(
    stars: StarZeropoints, frame: Frame, wcs: Any, fit: ZeropointFit, used: NDArray[np.bool_], remark: NDArray[np.str_]
) -> Table:
    """Return all standards that were found, with what each says of the zeropoint and whether it counts."""
    star, source = stars.matches.standard, stars.matches.source
    x, y = (np.asarray(stars.sources[name].values[source], np.float64) for name in ("XWIN_IMAGE", "YWIN_IMAGE"))
    ra, dec = sky_positions(wcs, x, y)
    xi, eta = project(ra, dec, *pointing_of(frame))
    standards = stars.standards
    columns = {
        "NUMBER": Column(np.arange(1, len(star) + 1, dtype=np.int32), "", "running number in this list"),
        "X_IMAGE": Column(x, "pixel", "windowed position"),
        "Y_IMAGE": Column(y, "pixel", "windowed position"),
        "RA": Column(ra, "deg", "of the source, ICRS"),
        "DEC": Column(dec, "deg", "of the source, ICRS"),
        "XI": Column(xi, "deg", "towards east of the pointing"),
        "ETA": Column(eta, "deg", "towards north of the pointing"),
        "FLUX": Column(stars.flux, frame.unit, "of the exposure"),
        "FLUXERR": Column(stars.flux_error, frame.unit, "error of FLUX"),
        "MAG_REF": Column(standards.magnitude[star], "mag", "of the catalogue"),
        "MAGERR_REF": Column(standards.error[star], "mag", "error of MAG_REF"),
        "COLOUR": Column(standards.colour[star], "mag", "of the catalogue"),
        "ZP": Column(stars.zeropoint, "mag", "zeropoint by this star alone"),
        "ZPERR": Column(stars.error, "mag", "error of ZP"),
        "RESIDUAL": Column(stars.zeropoint - fit.zeropoint, "mag", "ZP less the zeropoint"),
        "USED": Column(used, "", "whether it counts"),
        "REMARK": Column(remark, "", "why it does not"),
        "REFERENCE": Column(standards.number[star], "", "row in the catalogue, from 0"),
    }
    return Table(columns, "STANDARDS", plots=(("MAG_REF", "RESIDUAL"), ("COLOUR", "RESIDUAL")))


def pointing_of(frame: Frame) -> tuple[float, float]:
    """Return where the telescope pointed; the reference point of the coordinates where that is not known."""
    ra, dec = frame.number("ra"), frame.number("dec")
    if ra is None or dec is None:
        return float(frame.wcs["CRVAL1"]), float(frame.wcs["CRVAL2"])
    return ra, dec


def colour_slope(table: Table, scatter: float) -> tuple[float, float] | None:
    """Return how residuals change with colour, and the error of that: a colour term that is wanting or wrong."""
    colour, residual, error = (table.columns[name].values for name in ("COLOUR", "RESIDUAL", "ZPERR"))
    used = table.columns["USED"].values & np.isfinite(colour)
    if used.sum() < FEWEST_FOR_SLOPE or np.ptp(colour[used]) < 0.1:
        return None
    weight = 1 / (error[used] ** 2 + scatter**2)
    about = colour[used] - np.sum(weight * colour[used]) / weight.sum()
    spread = float(np.sum(weight * about**2))
    # A term that is too small leaves red stars' zeropoints too low: the slope is of the other sign.
    return float(-np.sum(weight * about * residual[used]) / spread), float(spread**-0.5)
