"""SourceList: the sources of a calibrated frame, with positions, shapes and fluxes."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from recipes.ccd.completeness import Completeness, estimate_completeness
from recipes.ccd.detection import DEFAULT_KERNEL, extract
from recipes.ccd.photometry import Image, measure_sources
from recipes.ccd.psf import PointSpread, measure_psf
from recipes.ccd.search_image import prepare
from recipes.ccd.sky import Sky
from recipes.ccd.star_likeness import star_likeness
from recipes.ccd.wcs import celestial, sky_positions
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.tables import Column, Table

HEALPIX_ORDER = 29  # the deepest of 64-bit indices (HATS and MOC use it too); coarser cells are its leading bits
FRAMES = ("CalibratedScienceFrame", "ReducedScienceFrame", "RegriddedFrame", "CoaddedRegriddedFrame")
_HANDED_ON = ("airmass", "zeropoint", "zeropoint_error", "grid")
_DEPTH = 5.0  # sigma
_EVERY = 8  # pixels: one of so many, along x and along y, tells the usual noise


def source_list(
    frame: Frame,
    weight: Frame | None = None,
    detection_frame: Frame | None = None,
    *,
    detect_thresh: Annotated[float, Unit("sigma"), Bounds(0.1, 1000)] = 1.5,
    detect_minarea: Annotated[int, Unit("pixel"), Bounds(1, 10000)] = 5,
    deblend_nthresh: Annotated[int, Bounds(1, 64)] = 32,
    deblend_mincont: Annotated[float, Bounds(0, 1)] = 0.005,
    back_size: Annotated[int, Unit("pixel"), Bounds(8, 4096)] = 64,
    back_filtersize: Annotated[int, Bounds(1, 15)] = 3,
    phot_apertures: Annotated[str, Unit("pixel")] = "5,10,20",
    phot_autoparams: str = "2.5,3.5",
) -> Outcome:
    r"""Find the sources of a frame and measure them, as SExtractor does.

    Parameters
    ----------
    frame : Frame
        Calibrated frame; sources are measured on it, and found on it unless a detection frame is given.
    weight : Frame, optional
        Its weight: it tells how the noise varies, instead of the frame's own variance, and what has none is left out
        besides what the frame's mask says.
    detection_frame : Frame, optional
        Frame on the same pixels, to find the sources on (dual mode).
    detect_thresh : float, optional
        Sources are what stands so far above the sky, after filtering.
    detect_minarea : int, optional
        Pixels above the threshold that make a source.
    deblend_nthresh : int, optional
        Levels on which blends are taken apart.
    deblend_mincont : float, optional
        Least part of a blend's flux that makes a source of its own; 1 takes nothing apart.
    back_size : int, optional
        Side of the mesh on which the sky is measured.
    back_filtersize : int, optional
        Cells of the mesh over which a median smooths the sky.
    phot_apertures : str, optional
        Diameters of the circular apertures, with commas between.
    phot_autoparams : str, optional
        Kron radii of FLUX_AUTO's ellipse, and its least size in isophotal radii.

    Returns
    -------
    Outcome
        A SourceList: a table with SExtractor's column names and units; sky coordinates and a HEALPix index where the
        frame has a coordinate system; magnitudes are instrumental where it has no zeropoint.

    Raises
    ------
    UsageError
        A weight or detection frame of other pixels, or parameters that are no lists of numbers.

    Notes
    -----
    Detection, deblending, cleaning and all columns as in SExtractor (Bertin & Arnouts 1996, A&AS 117, 393, and its
    manual), filtered with the 3 × 3 kernel of default.conv; the background is that of its library form sep (Barbary
    2016, JOSS 1, 58). The noise is one number, or follows a variance or weight as with WEIGHT_TYPE MAP_VAR or
    MAP_WEIGHT. Where a frame's values are no counts (regridded and coadded ones) the photons' noise follows from how
    its variance rises with its signal. ``SID`` is the source's number in the list; the list's own is its product
    number. ``CLASS_STAR`` is not SExtractor's neural network: it is a logistic function of FLUX_RADIUS in units of that
    of the frame's stars, softer for faint sources and in crowded frames. The completeness is that of stars on empty
    sky; ``depth_flux`` is five times the sky's noise in a circle of radius FWHM.
    """
    apertures = _numbers("phot_apertures", phot_apertures)
    kron = _numbers("phot_autoparams", phot_autoparams, 2)
    for other in (weight, detection_frame):
        if other is not None and other.shape != frame.shape:
            raise UsageError(
                f"{other.name} has {other.shape[1]} × {other.shape[0]} pixels, {frame.name} has "
                f"{frame.shape[1]} × {frame.shape[0]}",
                hint="weight and detection frame must lie on the same pixels as the frame",
            )
    report(0.05, "measuring the sky")
    image = prepare(frame, weight, back_size, back_filtersize)
    search = image if detection_frame is None else prepare(detection_frame, None, back_size, back_filtersize)
    report(0.2, "detecting")
    found, segmentation = extract(search.signal, detect_thresh, noise=search.noise, bad=search.bad, gain=image.gain,
                                  minimum_area=detect_minarea, kernel=DEFAULT_KERNEL, deblend_levels=deblend_nthresh,
                                  deblend_contrast=deblend_mincont, measured=image.signal,
                                  measured_noise=image.noise)  # fmt: skip
    report(0.5, "measuring sources")
    here = Image(image.signal, image.noise, image.sky.level_map, image.bad, image.mask, segmentation, image.gain,
                 frame.unit, search.signal, search.bad)  # fmt: skip
    zeropoint = frame.number("zeropoint")
    columns = measure_sources(here, found, kron_factor=kron[0], least_kron=kron[1], apertures=np.array(apertures),
                              zeropoint=zeropoint or 0.0)  # fmt: skip
    psf = measure_psf(image.signal, image.noise, image.unfit)
    columns["CLASS_STAR"] = _class_star(columns, psf)
    wcs = celestial(frame.wcs) if frame.wcs else None
    if wcs is not None:
        columns |= _sky_columns(wcs, columns)
    noise = float(np.median(image.noise[::_EVERY, ::_EVERY]))
    complete = estimate_completeness(psf, noise, detect_thresh, detect_minarea, DEFAULT_KERNEL) if psf else None
    measured = _measure(columns, image.sky, noise, psf, complete, frame, zeropoint)
    numbers = {value.name: value.value for value in measured}
    handed_on = {name: value for name in _HANDED_ON if (value := getattr(frame.attributes, name, None)) is not None}
    attributes = attributes_of([frame], **numbers, **handed_on, apertures=apertures, source_kind=frame.kind)
    without = [*([] if wcs is not None else ["coordinate system"]), *([] if zeropoint is not None else ["zeropoint"])]
    notes = [f"{len(found)} sources, apertures of {phot_apertures} pixels."]
    return Outcome.one(
        Product("SourceList", Table(columns, "SOURCES", attributes), attributes, measured, without, notes)
    )


def _numbers(name: str, text: str, count: int | None = None) -> list[float]:
    """Return the positive numbers of a list like ``5,10,20``; raise UsageError where it is none."""
    try:
        values = [float(part) for part in text.replace(";", ",").split(",") if part.strip()]
    except ValueError:
        values = []
    if not values or min(values) <= 0 or not np.isfinite(values).all() or (count is not None and len(values) != count):
        wanted = f"{count} numbers" if count else "numbers"
        raise UsageError(f"{name} = {text!r} is not a list of {wanted} above zero", hint="write them like 2.5,3.5")
    return values


def _class_star(columns: dict[str, Column], psf: PointSpread | None) -> Column:
    flux, error = columns["FLUX_AUTO"].values, columns["FLUXERR_AUTO"].values
    ratio = np.divide(flux, error, out=np.zeros(len(flux)), where=error > 0)
    values = star_likeness(columns["FLUX_RADIUS"].values, ratio, columns["FLAGS"].values, psf)
    return Column(values, "", "1 as small as a star, 0 larger")


def _sky_columns(wcs: Any, columns: dict[str, Column]) -> dict[str, Column]:
    """Return sky positions of barycentres and windowed positions, and the HEALPix cell of the latter."""
    import astropy.units as u
    from astropy_healpix import lonlat_to_healpix

    ra, dec = sky_positions(wcs, columns["X_IMAGE"].values, columns["Y_IMAGE"].values)
    ra_window, dec_window = sky_positions(wcs, columns["XWIN_IMAGE"].values, columns["YWIN_IMAGE"].values)
    cells = np.zeros(len(ra), dtype=np.int64)
    if len(ra):
        cells = lonlat_to_healpix(ra_window * u.deg, dec_window * u.deg, 2**HEALPIX_ORDER, order="nested")
    return {
        "ALPHA_J2000": Column(ra, "deg", "right ascension of the barycentre"),
        "DELTA_J2000": Column(dec, "deg", "declination of the barycentre"),
        "ALPHAWIN_J2000": Column(ra_window, "deg", "windowed right ascension"),
        "DELTAWIN_J2000": Column(dec_window, "deg", "windowed declination"),
        "HPX29": Column(np.asarray(cells, dtype=np.int64), "", "HEALPix cell, nested, order 29"),
    }


def _measure(
    columns: dict[str, Column],
    sky: Sky,
    noise: float,
    psf: PointSpread | None,
    complete: Completeness | None,
    frame: Frame,
    zeropoint: float | None,
) -> list[Measured]:
    stars = columns["CLASS_STAR"].values > 0.5
    measured = [
        Measured("source_count", len(stars)),
        Measured("star_count", int(stars.sum())),
        Measured("flagged_fraction", float(np.mean(columns["FLAGS"].values != 0)) if len(stars) else 0.0),
        Measured("sky_level", sky.level, unit=frame.unit),
        Measured("sky_noise", noise, unit=frame.unit),
    ]
    if psf is not None:
        # Sky noise in a circle of radius FWHM, which holds nearly all light of a star.
        depth = _DEPTH * noise * float(np.sqrt(np.pi)) * psf.fwhm
        measured.append(Measured("psf_fwhm", psf.fwhm, unit="pixel"))
        measured.append(Measured("depth_flux", depth, unit=frame.unit))
        if zeropoint is not None:
            measured.append(Measured("depth_magnitude", float(zeropoint - 2.5 * np.log10(depth)), unit="mag"))
    if complete is not None:
        measured.append(Measured("completeness_50_flux", complete.half, unit=frame.unit))
        measured.append(Measured("completeness_90_flux", complete.nine_tenths, unit=frame.unit))
        if zeropoint is not None:
            magnitude = zeropoint - 2.5 * np.log10(complete.half)
            measured.append(Measured("completeness_50_magnitude", float(magnitude), unit="mag"))
    return measured


RECIPE = Recipe(
    name="SourceList",
    version="2",
    function=source_list,
    inputs=(
        Input("frame", FRAMES, minimum=1, maximum=1, primary=True),
        Input("weight", ("WeightFrame",), minimum=0, preferred=False, chosen_by="job"),
        Input("detection_frame", FRAMES, minimum=0, preferred=False, chosen_by="run"),
    ),
    outputs=("SourceList",),
    split_by=("product",),
    runs_on="node",
)
