"""SourceList: the sources of a calibrated frame, with positions, shapes and fluxes."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.completeness import Completeness, estimate_completeness
from recipes.ccd.cosmic_rays import filled
from recipes.ccd.detection import DEFAULT_KERNEL, extract
from recipes.ccd.photometry import Image, measure_sources
from recipes.ccd.psf import PointSpread, measure_psf
from recipes.ccd.sky import Sky, measure_sky
from recipes.ccd.wcs import celestial, sky_positions
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame
from recipes.masks import SATURATED
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.tables import Column, Table

HEALPIX_ORDER = 29  # the deepest of 64-bit indices (HATS and MOC use it too); coarser cells are its leading bits
WIDE = 5  # pixels: masked areas wider than this are left out, what is narrower is filled from its neighbours
LINE_RATIO = 20  # length over width from which saturated pixels are a line of the detector, not a star and its bleeding
BRIGHT = 50.0  # signal to noise of stars that tell how large a star is
STAR_LIMIT = 1.12  # half-light radii in units of the stars' where a source is as likely a star as a galaxy
STAR_WIDTH = 0.04  # of that limit, at high signal to noise


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
        Its weight: what has none is left out, besides what the frame's own mask says.
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
    Background, detection, deblending, Kron and windowed quantities as in SExtractor (Bertin & Arnouts 1996, A&AS 117,
    393) by its library form sep (Barbary 2016, JOSS 1, 58), filtered with the 3 × 3 kernel of default.conv.
    ``CLASS_STAR`` is not SExtractor's neural network: it is a logistic function of FLUX_RADIUS in units of that of the
    frame's stars, softer for faint sources. The completeness is that of stars on empty sky.
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
    pixels, unfit, bad = _prepared(frame, weight)
    sky = measure_sky(pixels, unfit, back_size, back_filtersize)
    signal = np.where(bad, np.float32(0), pixels - sky.level_map)
    gain = 1.0 if frame.unit == "electron" else frame.number("gain")
    report(0.2, "detecting")
    if detection_frame is None:
        to_search, its_noise, its_bad = signal, sky.noise_map, bad
    else:
        to_search, its_noise, its_bad = _detection_image(detection_frame, back_size, back_filtersize)
    found, segmentation = extract(to_search, detect_thresh, noise=its_noise, bad=its_bad, minimum_area=detect_minarea,
                                  gain=gain, kernel=DEFAULT_KERNEL, deblend_levels=deblend_nthresh,
                                  deblend_contrast=deblend_mincont)  # fmt: skip
    if detection_frame is not None and len(found):
        found = _measured_here(found, segmentation, signal)
    report(0.5, "measuring sources")
    image = Image(signal, sky.noise_map, sky.level_map, bad, frame.mask, segmentation, gain, frame.unit)
    zeropoint = frame.number("zeropoint")
    columns = measure_sources(image, found, kron_factor=kron[0], least_kron=kron[1], apertures=np.array(apertures),
                              zeropoint=zeropoint or 0.0)  # fmt: skip
    psf = measure_psf(signal, sky.noise_map, unfit)
    columns["CLASS_STAR"] = Column(_star_likeness(columns, psf), "", "1 as small as a star, 0 larger")
    wcs = celestial(frame.wcs) if frame.wcs else None
    if wcs is not None:
        columns |= _sky_columns(wcs, columns)
    complete = estimate_completeness(psf, sky.noise, detect_thresh, detect_minarea, DEFAULT_KERNEL) if psf else None
    measured = _measure(columns, sky, psf, complete, frame, zeropoint)
    numbers = {value.name: value.value for value in measured}
    attributes = attributes_of([frame], **numbers, apertures=apertures, airmass=frame.attributes.airmass)
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


def _prepared(frame: Frame, weight: Frame | None) -> tuple[FloatArray, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the pixels with narrow defects filled, where the mask says anything, and what stays left out.

    Saturated pixels stay in, unless they are lines of the detector: a bright star with a hole would be found as a ring
    of pieces. A source that a cosmic ray or a hot pixel hits would be found in two, so these are filled from their
    neighbours; IMAFLAGS_ISO tells of them.
    """
    from scipy import ndimage

    mask = frame.mask
    unfit = mask != 0
    bad = ((mask & ~np.uint16(SATURATED)) != 0) | _saturated_lines((mask & np.uint16(SATURATED)) != 0)
    if weight is not None:
        without = (weight.data <= 0) & ~unfit
        bad |= without
        unfit = unfit | without
    wide = ndimage.binary_opening(bad, np.ones((WIDE, WIDE), dtype=bool)) if bad.any() else bad
    narrow = bad & ~wide
    data = np.array(frame.data)
    data[bad] = 0.0
    if narrow.any():
        # Wide areas must not flow into the narrow ones beside them, so both are bad while filling.
        data[narrow] = filled(data, bad, rounds=WIDE)[narrow]
    return np.ascontiguousarray(data, dtype=np.float32), unfit, wide


def _saturated_lines(saturated: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the saturated pixels that form thin lines: bad columns and rows, not stars."""
    from scipy import ndimage

    lines = np.zeros(saturated.shape, dtype=bool)
    labels, _ = ndimage.label(saturated, np.ones((3, 3), dtype=bool))
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if max(height, width) > LINE_RATIO * min(height, width):
            lines[rows, columns] |= labels[rows, columns] == number
    return lines


def _detection_image(
    frame: Frame, back_size: int, filter_size: int
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    pixels, unfit, bad = _prepared(frame, None)
    sky = measure_sky(pixels, unfit, back_size, filter_size)
    return np.where(bad, np.float32(0), pixels - sky.level_map), sky.noise_map, bad


def _measured_here(found: NDArray[Any], segmentation: NDArray[np.int32], signal: FloatArray) -> NDArray[Any]:
    """Return the sources of a detection frame with isophotal flux and peak as this frame has them (dual mode)."""
    from scipy import ndimage

    index = np.arange(1, len(found) + 1)
    here = found.copy()
    here["flux"] = ndimage.sum_labels(signal, segmentation, index)
    here["peak"] = ndimage.maximum(signal, segmentation, index)
    return here


def _star_likeness(columns: dict[str, Column], psf: PointSpread | None) -> NDArray[np.float32]:
    radius = columns["FLUX_RADIUS"].values.astype(np.float64)
    if psf is None:
        return np.full(len(radius), 0.5, dtype=np.float32)
    error = columns["FLUXERR_AUTO"].values
    ratio = np.divide(columns["FLUX_AUTO"].values, error, out=np.zeros(len(radius)), where=error > 0)
    near = np.abs(radius / psf.half_light_radius - 1) < 0.15
    bright = radius[near & (ratio > BRIGHT) & (columns["FLAGS"].values == 0)]
    of_stars = float(np.median(bright)) if len(bright) >= 3 else psf.half_light_radius
    width = STAR_WIDTH + 1.0 / np.maximum(ratio, 1.0)
    exponent = np.clip((radius / of_stars - STAR_LIMIT) / width, -50, 50)
    return np.asarray(1 / (1 + np.exp(exponent)), dtype=np.float32)


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
        Measured("sky_noise", sky.noise, unit=frame.unit),
    ]
    if psf is not None:
        measured.append(Measured("psf_fwhm", psf.fwhm, unit="pixel"))
    if complete is not None:
        measured.append(Measured("completeness_50_flux", complete.half, unit=frame.unit))
        measured.append(Measured("completeness_90_flux", complete.nine_tenths, unit=frame.unit))
        if zeropoint is not None:
            magnitude = zeropoint - 2.5 * np.log10(complete.half)
            measured.append(Measured("completeness_50_magnitude", float(magnitude), unit="mag"))
    return measured


RECIPE = Recipe(
    name="SourceList",
    version="1",
    function=source_list,
    inputs=(
        Input("frame", ("ReducedScienceFrame",), minimum=1, maximum=1, primary=True),
        Input("weight", ("WeightFrame",), minimum=0, preferred=False, chosen_by="job"),
        Input("detection_frame", ("ReducedScienceFrame",), minimum=0, preferred=False, chosen_by="job"),
    ),
    outputs=("SourceList",),
    split_by=("product",),
    runs_on="node",
)
