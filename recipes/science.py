"""Science: a reduced frame gets its coordinates and its scale of fluxes, and goes onto the common grid of the sky."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from recipes.ccd.astrometric_quality import (
    describe_coordinates,
    measure_coordinates,
    measure_fluxes,
    residuals_of,
)
from recipes.ccd.coordinates import Coordinates, Wanted, find_coordinates
from recipes.ccd.flux_scale import FluxScale, absolute_scale, relative_scale
from recipes.ccd.grid import Grid, Projection
from recipes.ccd.plate import Plate
from recipes.ccd.regridding import Method, Regridded, regrid
from recipes.ccd.sky import measure_sky
from recipes.ccd.sky_fields import (
    alignment_frames,
    field_centres,
    nearest_centre,
    read_centres,
    rounded_scale,
    settle_grid,
)
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.tables import Table
from recipes.values import AstrometricParameters, PhotometricParameters

# What a reduced frame knows of itself beyond what all frames share, and later recipes use.
_HANDED_ON = (
    "airmass",
    "gain",
    "read_noise",
    "sky_level",
    "sky_noise",
    "psf_radius",
    "psf_fwhm",
    "overscan_correction",
)


def science(
    reduced_science: Frame,
    reference_catalogue: Table | None = None,
    photometric_parameters: PhotometricParameters | None = None,
    alignment_frame: Frame | None = None,
    *,
    distortion_degree: Annotated[int, Bounds(1, 5)] = 2,
    maximum_pointing_error: Annotated[float, Unit("arcmin"), Bounds(0.01, 60)] = 2.0,
    maximum_rotation: Annotated[float, Unit("degree"), Bounds(0, 45)] = 2.0,
    maximum_scale_error: Annotated[float, Bounds(0, 0.2)] = 0.03,
    sigma_clip: Annotated[float, Unit("sigma"), Bounds(1.5, 20)] = 3.0,
    output_zeropoint: Annotated[float, Unit("mag"), Bounds(-50, 50)] = 25.0,
    projection: Projection = "TAN",
    grid_centres: Annotated[str, Unit("degree")] = "",
    pixel_scale: Annotated[float, Unit("arcsec"), Bounds(0, 3600)] = 0.0,
    resampling: Method = "LANCZOS3",
) -> Outcome:
    r"""Calibrate a reduced frame on the sky: coordinates from reference stars, scale of fluxes, common grid.

    Parameters
    ----------
    reduced_science : Frame
        Calibrated exposure of one chip [electron or adu].
    reference_catalogue : Table, optional
        Stars with known positions, with proper motions where they are known.
    photometric_parameters : PhotometricParameters, optional
        Zeropoint of the chip and filter; without it the scale of fluxes is relative.
    alignment_frame : Frame, optional
        Another exposure of the chip and field with coordinates: aligned with where no catalogue serves, and its stars
        set the relative scale of fluxes where it has the same filter.
    distortion_degree : int, optional
        Highest degree of the polynomial that is fitted on top of the distortion that the header states.
    maximum_pointing_error : float, optional
        How far the header's pointing may be off.
    maximum_rotation : float, optional
        How far the header's position angle may be off.
    maximum_scale_error : float, optional
        How far the header's pixel scale may be off, as a fraction.
    sigma_clip : float, optional
        Stars farther from their references are left out of the fit.
    output_zeropoint : float, optional
        Magnitude of a value of 1 in the regridded frame, where a zeropoint is given.
    projection : str, optional
        Of the common grid.
    grid_centres : str, optional
        Tangent points of the grids, like ``150.1,2.2; 210.5,-30``; each frame takes the nearest. Where empty they are
        settled for the whole run: the centres of its fields, rounded to 0.1 degree.
    pixel_scale : float, optional
        Of the grid; 0 settles it for the whole run: the median of its frames, to three digits.
    resampling : str, optional
        Interpolation onto the grid.

    Returns
    -------
    Outcome
        AstrometricParameters; a CalibratedScienceFrame, which is the reduced frame with the coordinates found; a
        RegriddedFrame on the common grid, and its WeightFrame: inverse variance, zero where it is masked.

    Raises
    ------
    UsageError
        The frame has no coordinates and none can be found; a zeropoint of another chip or filter; a grid elsewhere.

    Notes
    -----
    For each rotation and scale within the limits, pairs of stars vote for an offset; how likely the winner is by chance
    follows from the pairs around it (Poisson). Then stars are paired with their nearest references and a polynomial in
    the tangent plane is fitted by clipped least squares, in turns, until the pairs stay the same. Eight stars carry the
    linear part; terms of higher degree need three stars each, and are kept where the stars call for them (Akaike 1974,
    IEEE Trans. Autom. Control 19, 716) and no corner becomes uncertain by more than a pixel. With three to seven
    references an offset alone is fitted, of low confidence. Coordinates are written as TAN, or TPV where there is
    distortion, which SWarp, SCAMP, astropy and DS9 read alike.

    With zeropoint :math:`Z`, extinction :math:`k`, airmass :math:`X` and exposure time :math:`t` values are multiplied
    with :math:`10^{-0.4 (Z - k X - Z_{out})} / t`; without a zeropoint they are those of a second, made to agree with
    those of the alignment frame.
    """
    if not reduced_science.has_data:
        raise UsageError(f"{reduced_science.name} has no pixels, only a mask", hint="give a ReducedScienceFrame")
    wanted = Wanted(60 * maximum_pointing_error, maximum_rotation, maximum_scale_error, distortion_degree, sigma_clip)
    report(0.02, "finding stars and where they lie")
    found = find_coordinates(reduced_science, reference_catalogue, alignment_frame, wanted)
    scale = None
    unused = reference_catalogue is not None and found.confidence not in ("good", "low")
    without = ["reference_catalogue"] if unused else []
    if photometric_parameters is not None:
        scale = absolute_scale(reduced_science, photometric_parameters, output_zeropoint)
    if scale is None:
        without += ["photometric_parameters"] if photometric_parameters is not None else []
        scale = relative_scale(found.measured, found.other)
    plate = found.solution.plate
    cards = plate.cards()
    grid = _grid(plate, projection, grid_centres, pixel_scale)
    pixels = reduced_science.strip(0, reduced_science.shape[0])  # of a file, each plane read once
    variance = pixels.variance
    if variance is None:
        variance = _estimated_variance(reduced_science)
        without.append("variance")
    report(0.4, "regridding")
    regridded = regrid(reduced_science.data, variance, reduced_science.mask, cards, grid, method=resampling,
                       scale=scale.factor, name=reduced_science.name)  # fmt: skip
    report(0.85, "measuring")
    return Outcome(tuple(_products(found, scale, cards, regridded, grid, variance, without)))


def _grid(plate: Plate, projection: str, grid_centres: str, pixel_scale: float) -> Grid:
    """Return the grid nearest to the frame; settled from it alone where the run did not."""
    x, y = plate.centre
    ra, dec = plate.sky(np.array([x]), np.array([y]))
    here = float(ra[0]), float(dec[0])
    centre = nearest_centre(read_centres(grid_centres) or field_centres([here]), here)
    return Grid(*centre, pixel_scale or rounded_scale(plate.pixel_scale), projection)


def _estimated_variance(frame: Frame) -> FloatArray:
    """Return the variance of a frame that came without: sky noise, and the sources' photons where the gain is known."""
    data, bad = frame.data, frame.mask != 0
    sky = measure_sky(data, bad, name=frame.name)
    variance = sky.noise_map.astype(np.float32) ** 2
    gain = 1.0 if frame.unit == "electron" else frame.number("gain")
    if gain:
        variance += np.maximum(np.where(bad, 0, data - sky.level_map), 0) / np.float32(gain)
    return variance


def _products(
    found: Coordinates, scale: FluxScale, cards: dict[str, Any], regridded: Regridded, grid: Grid, variance: FloatArray,
    without: list[str],
) -> list[Product]:  # fmt: skip
    """Return the four products."""
    frame = found.measured.frame
    handed_on = {name: value for name in _HANDED_ON if (value := getattr(frame.attributes, name, None)) is not None}
    known = handed_on | _about(found)
    attributes = attributes_of([frame], **known)
    measured, notes = measure_coordinates(found), [describe_coordinates(found), *found.notes]
    parameters = AstrometricParameters(
        cards,
        float(np.sqrt(np.mean(found.solution.fit.rms**2))) if found.solution.fit else 0.0,
        found.solution.fit.count if found.solution.fit else 0,
        found.confidence,
        found.reference,
        residuals_of(found),
    )
    calibrated = Frame(frame.data, variance=variance, mask=frame.mask, unit=frame.unit, wcs=cards)
    on_grid = attributes_of([frame], **(known | _about_fluxes(found, scale, regridded, grid)))
    fluxes = measure_fluxes(scale, regridded)
    image = Frame(regridded.data, variance=regridded.variance, mask=regridded.mask, unit=scale.unit,
                  wcs=regridded.cards)  # fmt: skip
    weight = Frame(_weight(regridded), mask=regridded.mask, unit=f"1/({scale.unit})**2" if scale.unit else "",
                   wcs=regridded.cards)  # fmt: skip
    of_weight = on_grid.model_copy(update={"belongs_to": "RegriddedFrame"})
    all_without, all_notes = [*without, *scale.without], [*notes, *scale.notes]
    return [
        Product("AstrometricParameters", parameters, attributes, measured, without, notes),
        Product("CalibratedScienceFrame", calibrated, attributes, measured, without, notes),
        Product("RegriddedFrame", image, on_grid, [*measured, *fluxes], all_without, all_notes),
        Product("WeightFrame", weight, of_weight, [], all_without, all_notes),
    ]


def _about(found: Coordinates) -> dict[str, Any]:
    """Return the attributes that tell where the frame lies and how sure that is."""
    plate, fit = found.solution.plate, found.solution.fit
    x, y = plate.centre
    ra, dec = plate.sky(np.array([x]), np.array([y]))
    return {
        "has_wcs": True,
        "centre_ra": round(float(ra[0]), 7),
        "centre_dec": round(float(dec[0]), 7),
        "pixel_scale": round(plate.pixel_scale, 6),
        "astrometric_rms": float(np.sqrt(np.mean(fit.rms**2))) if fit else None,
        "astrometric_stars": fit.count if fit else 0,
        "astrometric_degree": fit.degree if fit else None,
        "astrometric_confidence": found.confidence,
        "astrometric_reference": found.reference,
    }


def _about_fluxes(found: Coordinates, scale: FluxScale, regridded: Regridded, grid: Grid) -> dict[str, Any]:
    """Return the attributes of what lies on the grid."""
    frame, plate = found.measured.frame, found.solution.plate
    pixels = grid.pixel_scale / plate.pixel_scale
    gain = 1.0 if frame.unit == "electron" else frame.number("gain")
    fwhm, level, noise = (frame.number(name) for name in ("psf_fwhm", "sky_level", "sky_noise"))
    lengths = {"psf_fwhm": fwhm, "psf_radius": frame.number("psf_radius")}
    values = {
        "grid": grid.name,
        "pixel_scale": grid.pixel_scale,
        "zeropoint": scale.zeropoint,
        "zeropoint_error": scale.zeropoint_error if scale.zeropoint is not None else None,
        "flux_scale": scale.factor,
        "flux_scale_error": scale.error,
        "flux_scale_reference": scale.reference or None,
        "gain": gain / scale.factor if gain else None,
        "noise_correlation": regridded.noise_correlation,
        "sky_level": level * scale.factor * pixels**2 if level is not None else None,
        "sky_noise": noise * scale.factor * pixels if noise is not None else None,
        # A level of the raw frame says nothing of scaled pixels: the mask does.
        "saturation": None,
    }
    return values | {name: length / pixels for name, length in lengths.items() if length is not None}


def _weight(regridded: Regridded) -> FloatArray:
    """Return the inverse variance, zero where the mask says anything or the variance is not known."""
    usable = (regridded.mask == 0) & (regridded.variance > 0)
    weight = np.zeros_like(regridded.variance)
    np.divide(np.float32(1.0), regridded.variance, out=weight, where=usable)
    return weight


RECIPE = Recipe(
    name="Science",
    version="1",
    function=science,
    inputs=(
        Input("reduced_science", ("ReducedScienceFrame",), minimum=1, maximum=1, primary=True),
        Input("reference_catalogue", ("ReferenceCatalogue",), minimum=0, chosen_by="sky", use="astrometry"),
        Input("photometric_parameters", ("PhotometricParameters",), minimum=0),
        Input("alignment_frame", ("ReducedScienceFrame",), minimum=0, preferred=False, chosen_by="run"),
    ),
    outputs=("AstrometricParameters", "CalibratedScienceFrame", "RegriddedFrame", "WeightFrame"),
    split_by=("product",),
    settle=settle_grid,
    choose_in_run=alignment_frames,
)
