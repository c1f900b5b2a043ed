"""Zeropoint: the magnitude of one count a second above the atmosphere, from stars of known magnitude."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.photometric_band import Transformation, name_of, transformation
from recipes.ccd.standard_sources import fluxes, measured_sources, remarks
from recipes.ccd.standard_stars import Standards, match_standards, standards_near
from recipes.ccd.star_zeropoints import StarZeropoints, colour_slope, pointing_of, star_zeropoints, table_of_stars
from recipes.ccd.tangent_plane import separation
from recipes.ccd.wcs import celestial, pixel_scale_of, sky_positions
from recipes.ccd.zeropoint_fit import ZeropointFit, fit_zeropoint
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.tables import Table
from recipes.values import PhotometricParameters

UNKNOWN_ASTROMETRY = 0.5  # arcsec: rms where the frame does not tell
SIGMAS = 5.0  # of the coordinates, within which a star is looked for
LIGHT = 2.0  # FWHM: within such a radius is nearly all light of a star
_APERTURE = re.compile(r'\s*([0-9.]+)\s*(pixels?|pix|px|arcsec|arcseconds?|"|″)?\s*')


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
                             extinction=extinction, name=frame.name)  # fmt: skip
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
    stars = star_zeropoints(matches, standards, sources, (flux, flux_error, ratio), filter_, seconds, dimming, remark)
    good = stars.remark == ""
    _refuse_none(frame, reference_catalogue, filter_, stars, good)
    fit = fit_zeropoint(stars.zeropoint[good], stars.error[good], largest_difference=max_mag_diff,
                        clip=sigma_clipping_level)  # fmt: skip
    used = np.zeros(len(good), dtype=bool)
    used[good] = fit.used
    remark = stars.remark.copy()
    remark[np.flatnonzero(good)[fit.mismatched]] = "differs too much"
    remark[np.flatnonzero(good)[~fit.used & ~fit.mismatched]] = "clipped"
    table = table_of_stars(stars, frame, wcs, fit, used, remark)
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


def _refuse_none(
    frame: Frame, catalogue: Table, filter_: Transformation, stars: StarZeropoints, good: NDArray[np.bool_]
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


def _outcome(
    frame: Frame,
    catalogue: Table,
    filter_: Transformation,
    stars: StarZeropoints,
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
    ra, dec = pointing_of(frame)
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


def _measure(fit: ZeropointFit, stars: StarZeropoints, table: Table) -> list[Measured]:
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
    slope = colour_slope(table, fit.scatter)
    return measured if slope is None else [*measured, Measured("colour_slope", *slope, unit="mag/mag")]


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
