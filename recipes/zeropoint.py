"""Zeropoint: the magnitude of one count a second above the atmosphere, from stars of known magnitude."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.photometric_band import Transformation, name_of, transformation
from recipes.ccd.standard_sources import fluxes, measured_sources, remarks
from recipes.ccd.standard_stars import Matches, Standards, match_standards, standards_near
from recipes.ccd.tangent_plane import project, separation
from recipes.ccd.wcs import celestial, pixel_scale_of, sky_positions
from recipes.ccd.zeropoint_fit import ZeropointFit, fit_zeropoint
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.tables import Column, Table
from recipes.values import PhotometricParameters

Floats = NDArray[np.float64]

UNKNOWN_ASTROMETRY = 0.5  # arcsec: rms where the frame does not tell
SIGMAS = 5.0  # of the coordinates, within which a star is looked for
LIGHT = 2.0  # FWHM: within such a radius is nearly all light of a star
MAGNITUDES = 2.5 / np.log(10)
FEWEST_FOR_SLOPE = 10  # stars that tell whether a colour term is wanting
_APERTURE = re.compile(r'\s*([0-9.]+)\s*(pixels?|pix|px|arcsec|arcseconds?|"|″)?\s*')


@dataclass(frozen=True)
class Stars:
    """The standards that were found on a frame, with what each says of the zeropoint."""

    matches: Matches
    standards: Standards
    sources: dict[str, Column]
    flux: Floats
    flux_error: Floats
    zeropoint: Floats
    error: Floats
    remark: NDArray[np.str_]


def zeropoint(
    calibrated_science: Frame,
    reference_catalogue: Table,
    *,
    flux_type: Literal["AUTO", "APER", "ISO"] = "AUTO",
    aperture: str = "10 arcsec",
    band: str = "",
    colour: str = "",
    colour_term: str = "",
    extinction: Annotated[str, Unit("mag/airmass")] = "",
    max_mag_diff: Annotated[float, Unit("mag"), Bounds(0.01, 20)] = 1.0,
    sigma_clipping_level: Annotated[float, Unit("sigma"), Bounds(1, 100)] = 3.0,
    search_distance: Annotated[float, Unit("arcsec"), Bounds(0, 10)] = 0.0,
) -> Outcome:
    r"""Find the zeropoint of a chip and filter from the stars of a reference catalogue.

    Parameters
    ----------
    calibrated_science : Frame
        Exposure of a chip with calibrated coordinates [electron or adu].
    reference_catalogue : Table
        Stars of known magnitude that cover the frame.
    flux_type : str, optional
        Kron ellipse (AUTO), circle (APER) or isophote (ISO); the zeropoint is for such fluxes.
    aperture : str, optional
        Diameter of the circle of APER, as ``10 arcsec`` or ``20 pixel``.
    band : str, optional
        Band of the catalogue; empty for what the camera's file declares or the filter's name tells.
    colour : str, optional
        Colour of the colour term, such as ``B-V``; empty for what is declared or usual.
    colour_term : str, optional
        What is added to the standard magnitude, times the colour; empty for what is declared, or none.
    extinction : str, optional
        Of the atmosphere; empty for what is declared, or usual in the band.
    max_mag_diff : float, optional
        Stars that differ more from the median zeropoint are no match at all.
    sigma_clipping_level : float, optional
        Of the others, those that differ by so many sigma are not used.
    search_distance : float, optional
        Stars are looked for so far from their positions; 0 for five times the rms of the coordinates.

    Returns
    -------
    Outcome
        PhotometricParameters, and a PhotSrcCatalog: all standards that were found, with what each says of the
        zeropoint, whether it was used, and why not.

    Raises
    ------
    UsageError
        No coordinates or exposure time, no band, or no standard that can be used.

    Notes
    -----
    Each star of standard magnitude :math:`m` and colour :math:`C`, seen with flux :math:`f` in :math:`t` seconds at
    airmass :math:`X`, says :math:`Z = m + c C + k X + 2.5 \log_{10}(f / t)` (Landolt 1992, AJ 104, 340, and any
    textbook, such as Budding & Demircan 2007, section 3.5), with an error from those of flux, magnitude and colour. The
    zeropoint is their clipped mean, weighted by these errors and by the scatter beyond them (Paule & Mandel 1982).
    """
    frame, attributes = calibrated_science, calibrated_science.attributes
    seconds, wcs = _seconds(frame), celestial(frame.wcs) if frame.wcs else None
    if wcs is None:
        raise UsageError(f"{frame.name} has no coordinates", hint="run Science on its frame first")
    filter_ = transformation(attributes, reference_catalogue, band=band, colour=colour, colour_term=colour_term,
                             extinction=extinction)  # fmt: skip
    scale = pixel_scale_of(frame.wcs) or attributes.pixel_scale or 1.0
    diameter = _diameter(aperture, scale)
    standards = _standards(frame, reference_catalogue, filter_, wcs)
    report(0.1, "measuring sources")
    sources, fwhm = measured_sources(frame, diameter)
    report(0.8, "matching with the catalogue")
    search = search_distance or SIGMAS * (frame.number("astrometric_rms") or UNKNOWN_ASTROMETRY)
    matches = match_standards(standards, sources, wcs, frame.shape, max(search, 0.5 * fwhm * scale))
    airmass = frame.number("airmass")
    dimming = filter_.extinction * airmass if airmass is not None else 0.0
    flux, flux_error = (values[matches.source] for values in fluxes(sources, flux_type))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((flux > 0) & (flux_error > 0), flux / flux_error, 0.0)
    reach = max(LIGHT * fwhm, diameter / 2 if flux_type == "APER" else 0.0)
    remark = remarks(sources, matches.source, ratio, reach, frame.mask, fwhm)
    stars = _stars(matches, standards, sources, (flux, flux_error, ratio), filter_, seconds, dimming, remark)
    good = stars.remark == ""
    _refuse_none(frame, reference_catalogue, filter_, stars, good)
    fit = fit_zeropoint(stars.zeropoint[good], stars.error[good], largest_difference=max_mag_diff,
                        clip=sigma_clipping_level)  # fmt: skip
    used = np.zeros(len(good), dtype=bool)
    used[good] = fit.used
    remark = stars.remark.copy()
    remark[np.flatnonzero(good)[fit.mismatched]] = "differs too much"
    remark[np.flatnonzero(good)[~fit.used & ~fit.mismatched]] = "clipped"
    table = _table(stars, frame, wcs, fit, used, remark)
    return _outcome(frame, reference_catalogue, filter_, stars, fit, table,
                    flux_type=f"{flux_type} {diameter:.2f} pixel" if flux_type == "APER" else flux_type)  # fmt: skip


def _seconds(frame: Frame) -> float:
    seconds = frame.number("exposure_time")
    if seconds is None or seconds <= 0:
        raise UsageError(f"{frame.name} does not tell how long it was exposed",
                         hint="set exposure_time in its attributes")  # fmt: skip
    if frame.unit not in ("electron", "adu"):
        raise UsageError(f"{frame.name} is in {frame.unit or 'no unit'}, not in counts of the exposure",
                         hint="choose a CalibratedScienceFrame")  # fmt: skip
    return seconds


def _diameter(text: str, scale: float) -> float:
    """Return the diameter in pixels."""
    found = _APERTURE.fullmatch(text)
    try:
        value = float(found[1]) if found else 0.0
    except ValueError:
        value = 0.0
    if found and found[2] and not found[2].startswith("pix") and found[2] != "px":
        value /= scale
    if not 1 <= value <= 2000:
        raise UsageError(f"aperture = {text!r} is no diameter from 1 to 2000 pixels",
                         hint="write it like 10 arcsec or 20 pixel")  # fmt: skip
    return value


def _standards(frame: Frame, catalogue: Table, filter_: Transformation, wcs: Any) -> Standards:
    rows, columns = frame.shape
    x, y = [(columns + 1) / 2, 1, columns, 1, columns], [(rows + 1) / 2, 1, 1, rows, rows]
    ra, dec = sky_positions(wcs, x, y)
    radius = float(separation(ra, dec, ra[0], dec[0]).max())
    found = standards_near(catalogue, frame.attributes, filter_, float(ra[0]), float(dec[0]), 1.1 * radius)
    if not len(found):
        raise UsageError(f"the reference catalogue {name_of(catalogue)} has no stars with a magnitude in "
                         f"{filter_.band} on {frame.name}",
                         hint="choose another catalogue or another frame")  # fmt: skip
    return found


def _stars(
    matches: Matches,
    standards: Standards,
    sources: dict[str, Column],
    fluxes_of: tuple[Floats, Floats, Floats],
    filter_: Transformation,
    seconds: float,
    dimming: float,
    remark: NDArray[np.str_],
) -> Stars:
    """Return what each standard that was found says of the zeropoint."""
    flux, flux_error, ratio = fluxes_of
    star = matches.standard
    change, colour_error = np.zeros(len(star)), np.zeros(len(star))
    if filter_.colour_term:
        change = filter_.colour_term * standards.colour[star]
        colour_error = abs(filter_.colour_term) * standards.colour_error[star]
        remark[~np.isfinite(change)] = "no colour"
    with np.errstate(divide="ignore", invalid="ignore"):
        values = standards.magnitude[star] + change + dimming + 2.5 * np.log10(flux / seconds)
        errors = np.sqrt((MAGNITUDES / ratio) ** 2 + standards.error[star] ** 2 + colour_error**2)
    return Stars(matches, standards, sources, flux, flux_error, values, errors, remark)


def _refuse_none(
    frame: Frame, catalogue: Table, filter_: Transformation, stars: Stars, good: NDArray[np.bool_]
) -> None:
    if good.any():
        return
    why = _counted(stars.matches.missing | dict(Counter(stars.remark.tolist())))
    raise UsageError(
        f"of the {filter_.band} stars of {name_of(catalogue)} on {frame.name} none can be used: {why}",
        hint="look at the frame's coordinates, choose another catalogue, or widen search_distance",
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()) if reason and count) or "none"


def _table(
    stars: Stars, frame: Frame, wcs: Any, fit: ZeropointFit, used: NDArray[np.bool_], remark: NDArray[np.str_]
) -> Table:
    star, source = stars.matches.standard, stars.matches.source
    x, y = (np.asarray(stars.sources[name].values[source], np.float64) for name in ("XWIN_IMAGE", "YWIN_IMAGE"))
    ra, dec = sky_positions(wcs, x, y)
    xi, eta = project(ra, dec, *_pointing(frame))
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


def _pointing(frame: Frame) -> tuple[float, float]:
    """Return where the telescope pointed; the reference point of the coordinates where that is not known."""
    ra, dec = frame.number("ra"), frame.number("dec")
    if ra is None or dec is None:
        return float(frame.wcs["CRVAL1"]), float(frame.wcs["CRVAL2"])
    return ra, dec


def _outcome(
    frame: Frame,
    catalogue: Table,
    filter_: Transformation,
    stars: Stars,
    fit: ZeropointFit,
    table: Table,
    *,
    flux_type: str,
) -> Outcome:
    airmass = frame.number("airmass")
    without = list(filter_.without)
    notes = [*filter_.notes]
    if airmass is None:
        without.append("airmass")
        notes.append("The airmass is not known: the zeropoint contains the extinction of this exposure.")
    left_out = stars.matches.missing | dict(Counter(table.columns["REMARK"].values.tolist()))
    notes.append(
        f"{fit.count} stars of {name_of(catalogue)} in {filter_.band} were used; left out: {_counted(left_out)}."
    )
    rows, columns = frame.shape
    ra, dec = _pointing(frame)
    shared = {
        "airmass": airmass, "catalogue": name_of(catalogue), "pointing_ra": ra, "pointing_dec": dec,
        "gain": frame.number("gain"),
    }  # fmt: skip
    parameters = PhotometricParameters(
        fit.zeropoint, fit.error, filter_.band, filter_.system,
        filter_.extinction if airmass is not None else 0.0,
        filter_.colour, filter_.colour_term, flux_type, frame.unit, fit.count, table,
    )  # fmt: skip
    measured = _measure(fit, stars, table)
    attributes = attributes_of([frame], **shared)
    of_stars = attributes_of([frame], **shared, **parameters.numbers(), columns=columns, rows=rows, wcs=dict(frame.wcs))
    return Outcome((
        Product("PhotometricParameters", parameters, attributes, measured, without, notes),
        Product("PhotSrcCatalog", replace(table, attributes=of_stars), of_stars, measured, without, notes),
    ))  # fmt: skip


def _measure(fit: ZeropointFit, stars: Stars, table: Table) -> list[Measured]:
    east, north = stars.matches.offset
    measured = [
        Measured("zeropoint", fit.zeropoint, fit.error, "mag"),
        Measured("zeropoint_error", fit.error, unit="mag"),
        Measured("star_count", fit.count),
        Measured("stars_found", len(stars.remark)),
        Measured("stars_not_found", sum(stars.matches.missing.values())),
        Measured("residual_rms", fit.rms, unit="mag"),
        Measured("scatter", fit.scatter, unit="mag"),
        Measured("chi2", fit.chi2),
        Measured("offset_east", east, unit="arcsec"),
        Measured("offset_north", north, unit="arcsec"),
    ]
    slope = _colour_slope(table, fit.scatter)
    return measured if slope is None else [*measured, Measured("colour_slope", *slope, unit="mag/mag")]


def _colour_slope(table: Table, scatter: float) -> tuple[float, float] | None:
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


RECIPE = Recipe(
    name="Zeropoint",
    version="1",
    function=zeropoint,
    inputs=(
        Input("calibrated_science", ("CalibratedScienceFrame",), minimum=1, maximum=1, primary=True),
        Input("reference_catalogue", ("ReferenceCatalogue",), minimum=1, maximum=1, chosen_by="sky", use="photometry"),
    ),
    outputs=("PhotometricParameters", "PhotSrcCatalog"),
    split_by=("product",),
)
