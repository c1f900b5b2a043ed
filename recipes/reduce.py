"""Reduce: a raw science exposure becomes a calibrated frame with its weight."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from recipes.ccd.calibrating import (
    Calibrated,
    Calibrations,
    calibrate,
    find_noise,
    sampled_levels,
    saturation_levels,
    weight_of,
)
from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.cosmic_rays import find_cosmic_rays
from recipes.ccd.debias import DebiasedChip, check_serves, usable_dark
from recipes.ccd.edges import find_bad_edges
from recipes.ccd.psf import PointSpread, measure_psf
from recipes.ccd.raw import OverscanMethod
from recipes.ccd.satellite_trail import find_trails
from recipes.ccd.sky import Sky, measure_sky
from recipes.ccd.wcs import centre_of, pixel_scale_of, trimmed_wcs
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import COSMIC_RAY, NO_DATA, SATELLITE, count_by_cause
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.values import GainLinearity, ReadNoise


def reduce(
    raw_science: Frame,
    bias_frame: Frame | None = None,
    master_flat: Frame | None = None,
    hot_pixel_map: Frame | None = None,
    cold_pixel_map: Frame | None = None,
    gain_linearity: GainLinearity | None = None,
    read_noise: ReadNoise | None = None,
    dark_frame: Frame | None = None,
    *,
    overscan_correction: OverscanMethod = 6,
    saturation_fraction: Annotated[float, Bounds(0.1, 1.0)] = 0.95,
    detection_threshold: Annotated[float, Unit("sigma"), Bounds(1, 100)] = 5.0,
    cosmic_sigclip: Annotated[float, Unit("sigma"), Bounds(1, 100)] = 4.5,
    cosmic_objlim: Annotated[float, Bounds(0.1, 100)] = 5.0,
    hough_threshold: Annotated[float, Unit("sigma"), Bounds(1, 1000)] = 6.0,
    back_size: Annotated[int, Unit("pixel"), Bounds(8, 4096)] = 64,
) -> Outcome:
    r"""Calibrate a raw science exposure: level, dark current, flat field, gain; mask what is bad, weigh the rest.

    Parameters
    ----------
    raw_science : Frame
        One exposure of one chip [adu].
    bias_frame : Frame, optional
        Master bias made with the same overscan method [adu].
    master_flat : Frame, optional
        Flat field of the chip and filter, of mean 1.
    hot_pixel_map : Frame, optional
        Map of pixels that glow.
    cold_pixel_map : Frame, optional
        Map of pixels that do not answer to light as others do.
    gain_linearity : GainLinearity, optional
        Gain [electron/adu] and full well [adu]; without it the product stays in adu.
    read_noise : ReadNoise, optional
        Read noise [adu]; without it that of the bias or of the overscan is taken.
    dark_frame : Frame, optional
        Dark current [adu/s], scaled by the exposure time; left out if its temperature differs by more than 2 °C.
    overscan_correction : int, optional
        0 none; 1-4 one number: median of prescan-x, overscan-x, prescan-y, overscan-y; 5-8 the same for each row (x) or
        column (y). A chip that lacks the section is corrected with what it has.
    saturation_fraction : float, optional
        Pixels above this part of the lower of full well and 65535 adu are saturated.
    detection_threshold : float, optional
        A cosmic ray's brightest pixel stands at least so far above its surroundings.
    cosmic_sigclip : float, optional
        Laplacian to noise from which a pixel may be a cosmic ray.
    cosmic_objlim : float, optional
        Least contrast between Laplacian and fine structure, which tells cosmic rays from stars.
    hough_threshold : float, optional
        Significance from which a straight line is looked at as a satellite's trail.
    back_size : int, optional
        Side of the mesh on which the sky is measured.

    Returns
    -------
    Outcome
        A ReducedScienceFrame [electron, or adu where the gain is not known] with variance and mask, sky not subtracted,
        and a WeightFrame: its inverse variance, zero where it is masked.

    Raises
    ------
    UsageError
        A calibration of another chip, filter, shape or overscan method, or neither bias nor overscan.

    Notes
    -----
    With signal :math:`s` (raw less overscan, bias and dark), flat :math:`f`, gain :math:`g` and read noise
    :math:`\sigma` [adu] the product is :math:`g s / f` and its variance
    :math:`g^2 [(s / g + \sigma^2 (1 + v) + V_{bias} + t^2 V_{dark}) / f^2 + (s / f^2)^2 V_f]`, v being what the
    overscan's median adds (Howell 2006, Handbook of CCD Astronomy, section 4.4). Cosmic rays: LA Cosmic (van Dokkum
    2001, PASP 113, 1420); satellites: Hough transform. Rows and columns at the edges that do not see the sky as the
    rest does are masked as no data.
    """
    usable, left_out = usable_dark(dark_frame, [raw_science])
    chip = DebiasedChip(raw_science, overscan_correction, bias_frame, usable)
    if bias_frame is None and not chip.has_overscan:
        raise UsageError(
            f"{raw_science.name} has no overscan and no bias was given: its level cannot be known",
            hint="make a BiasFrame of this chip and readout mode first",
        )
    for calibration, of_filter in ((master_flat, True), (hot_pixel_map, False), (cold_pixel_map, True)):
        if calibration is not None:
            check_serves(calibration, raw_science, chip.shape, of_filter)
    for value in (gain_linearity, read_noise):
        if value is not None:
            check_serves(value, raw_science)
    pixel_maps = [pixel_map for pixel_map in (hot_pixel_map, cold_pixel_map) if pixel_map is not None]
    report(0.05, "calibrating")
    saturation = saturation_levels(chip, gain_linearity, saturation_fraction)
    chip.saturation = min(saturation.values())
    noise, notes = find_noise(chip, lambda: sampled_levels(chip), bias_frame, gain_linearity, read_noise)
    given = Calibrations(bias_frame, usable, master_flat, None, pixel_maps)
    made = calibrate(chip, given, noise, saturation)
    made.notes += notes
    if overscan_correction and not chip.has_overscan:
        made.without.append("overscan")
    if dark_frame is not None and usable is None:
        made.without.append("dark_frame")
    sky, psf, trails = _mask_events(made, back_size, hough_threshold, cosmic_sigclip, cosmic_objlim,
                                    detection_threshold)  # fmt: skip
    report(0.8, "measuring")
    attributes = attributes_of(
        [raw_science],
        airmass=raw_science.attributes.airmass,
        overscan_correction=chip.method,
        saturation=chip.saturation,
        gain=float(np.mean(list(noise.gain.values()))),
        read_noise=float(np.mean(list(noise.read_noise.values()))),
        sky_level=sky.level,
        sky_noise=sky.noise,
        **({"psf_radius": psf.half_light_radius, "psf_fwhm": psf.fwhm} if psf else {}),
    )
    wcs, remark = trimmed_wcs(raw_science.wcs, *chip.origin)
    if attributes.pixel_scale is None and wcs:
        attributes.pixel_scale = pixel_scale_of(wcs)
    # What Science settles for a whole run, it settles from the attributes of its frames.
    attributes = attributes.model_copy(update={"has_wcs": bool(wcs), **centre_of(wcs, chip.shape)})
    notes = [*made.notes, *_described(trails), *([remark[0].upper() + remark[1:] + "."] if remark else [])]
    measured = _measure(made, sky, psf, trails, attributes.pixel_scale)
    frame = Frame(made.data, variance=made.variance, mask=made.mask, unit=made.unit, wcs=wcs)
    weight = Frame(weight_of(made), mask=made.mask, unit=f"1/{made.unit}2", wcs=wcs)
    return Outcome(
        (
            Product("ReducedScienceFrame", frame, attributes, measured, made.without, notes),
            Product("WeightFrame", weight, attributes, [], made.without, notes),
        ),
        tuple(left_out),
    )


def _mask_events(
    made: Calibrated, back_size: int, hough_threshold: float, sigclip: float, objlim: float, threshold: float
) -> tuple[Sky, PointSpread | None, int]:
    """Mask bad edges, trails and cosmic rays; return the sky, the stars' shape and the number of trails."""
    bad = made.mask != 0
    sky = measure_sky(made.data, bad, back_size)
    signal = made.data - sky.level_map
    edges = find_bad_edges(signal, sky.noise_map, bad)
    made.mask[edges] |= np.uint16(NO_DATA)
    bad |= edges
    report(0.25, "looking for satellite trails")
    on_trail, trails = find_trails(signal, sky.noise_map, bad, threshold=hough_threshold)
    made.mask[on_trail] |= np.uint16(SATELLITE)
    bad |= on_trail
    psf = measure_psf(signal, sky.noise_map, bad)
    hit = find_cosmic_rays(made.data, made.variance, bad, laplacian_threshold=sigclip, contrast=objlim,
                           detection_threshold=threshold, sky=sky.level_map, psf=psf, progress=(0.35, 0.8))  # fmt: skip
    made.mask[hit] |= np.uint16(COSMIC_RAY)
    bad |= hit
    return measure_sky(made.data, bad, back_size), measure_psf(signal, sky.noise_map, bad), len(trails)


def _described(trails: int) -> list[str]:
    return [f"{trails} satellite trail{'s' if trails > 1 else ''} masked."] if trails else []


def _measure(
    made: Calibrated, sky: Sky, psf: PointSpread | None, trails: int, pixel_scale: float | None
) -> list[Measured]:
    """Return image statistics of the good pixels, sky, stars, and what was masked by cause."""
    good = made.data[made.mask == 0]
    counts = count_by_cause(made.mask)
    usual = clipped_statistics(good)
    measured = [
        Measured("mean", float(np.mean(good, dtype=np.float64)), unit=made.unit),
        Measured("median", float(np.median(good)), unit=made.unit),
        Measured("stdev", usual.stdev, unit=made.unit),
        Measured("minimum", float(good.min()), unit=made.unit),
        Measured("maximum", float(good.max()), unit=made.unit),
        Measured("sky_level", sky.level, unit=made.unit),
        Measured("sky_noise", sky.noise, unit=made.unit),
        Measured("sky_flatness", float(np.ptp(sky.level_map)), unit=made.unit),
    ]
    if psf is not None:
        measured.append(Measured("psf_radius", psf.half_light_radius, unit="pixel"))
        measured.append(Measured("psf_fwhm", psf.fwhm, unit="pixel"))
        measured.append(Measured("psf_stars", psf.stars))
        if pixel_scale:
            measured.append(Measured("seeing", psf.fwhm * pixel_scale, unit="arcsec"))
    causes = {"hot", "cold", "saturated", "cosmic ray", "satellite trail", "no data"}
    measured += [
        Measured(f"masked_{cause.replace(' ', '_')}", number)
        for cause, number in counts.items()
        if number or cause in causes
    ]
    measured.append(Measured("masked_fraction", 1 - good.size / made.mask.size))
    measured.append(Measured("satellite_trails", trails))
    return measured


RECIPE = Recipe(
    name="Reduce",
    version="1",
    function=reduce,
    inputs=(
        Input("raw_science", ("RawScience",), minimum=1, maximum=1, primary=True),
        Input("bias_frame", ("BiasFrame",), minimum=0),
        Input("master_flat", ("MasterFlatFrame",), minimum=0),
        Input("hot_pixel_map", ("HotPixelMap",), minimum=0),
        Input("cold_pixel_map", ("ColdPixelMap",), minimum=0),
        Input("gain_linearity", ("GainLinearity",), minimum=0),
        Input("read_noise", ("ReadNoise",), minimum=0),
        Input("dark_frame", ("DarkFrame",), minimum=0, preferred=False),
    ),
    outputs=("ReducedScienceFrame", "WeightFrame"),
    split_by=("product",),
)
