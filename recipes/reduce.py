"""Reduce: a raw science exposure becomes a calibrated frame with its weight."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from recipes.ccd.calibrating import (
    Calibrated,
    Calibrations,
    Noise,
    calibrate,
    find_noise,
    sampled_levels,
    saturation_levels,
    weight_of,
)
from recipes.ccd.debias import DebiasedChip, check_serves, usable_dark
from recipes.ccd.events import Seen, Thresholds, mask_events
from recipes.ccd.exposure_quality import measure_exposure
from recipes.ccd.fringe_removal import FringeScale, remove_fringes
from recipes.ccd.raw import OverscanMethod
from recipes.ccd.wcs import centre_of, pixel_scale_of, trimmed_wcs
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.values import GainLinearity, ReadNoise


def reduce(  # noqa: PLR0917  # its inputs are given by role
    raw_science: Frame,
    bias_frame: Frame | None = None,
    master_flat: Frame | None = None,
    hot_pixel_map: Frame | None = None,
    cold_pixel_map: Frame | None = None,
    gain_linearity: GainLinearity | None = None,
    read_noise: ReadNoise | None = None,
    dark_frame: Frame | None = None,
    fringe_frame: Frame | None = None,
    illumination_correction: Frame | None = None,
    *,
    overscan_correction: OverscanMethod = 6,
    saturation_fraction: Annotated[float, Bounds(0.1, 1.0)] = 0.95,
    detection_threshold: Annotated[float, Unit("sigma"), Bounds(1, 100)] = 5.0,
    cosmic_sigclip: Annotated[float, Unit("sigma"), Bounds(1, 100)] = 4.5,
    cosmic_objlim: Annotated[float, Bounds(0.1, 100)] = 5.0,
    hough_threshold: Annotated[float, Unit("sigma"), Bounds(1, 1000)] = 6.0,
    fringe_threshold_low: Annotated[float, Unit("sigma"), Bounds(0, 1000)] = 1.5,
    fringe_threshold_high: Annotated[float, Unit("sigma"), Bounds(0, 1000)] = 5.0,
    image_threshold: Annotated[float, Unit("sigma"), Bounds(1, 100)] = 5.0,
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
    fringe_frame : Frame, optional
        Pattern of the fringes as a part of the sky, of mean 0; scaled to the exposure and subtracted.
    illumination_correction : Frame, optional
        What flat-fielded pixels are divided by to mend the flat's large scales.
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
    fringe_threshold_low : float, optional
        Significance of the scale from which fringes are subtracted.
    fringe_threshold_high : float, optional
        Significance that the fringe frame itself must have, where it tells.
    image_threshold : float, optional
        Pixels farther than this from the sky are sources, and do not tell how strong the fringes are.
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
    :math:`\sigma` [adu] the product is :math:`G s / f` and its variance :math:`G^2 [(s / g + \sigma^2 (1 + v) +
    V_{bias} + t^2 V_{dark}) / f^2 + (s / f^2)^2 V_f]`, v being what the overscan's median adds (Howell 2006, Handbook
    of CCD Astronomy, section 4.4). G is g; where amplifiers differ a flat holds the ratios of their gains already, and
    G is one for all, 1 over the mean of 1/g. Cosmic rays: LA Cosmic (van Dokkum 2001, PASP 113, 1420); satellites:
    Hough transform. Rows and columns at the edges that do not see the sky as the rest does are masked as no data.
    Fringes: :math:`a F` is subtracted with a by least squares over pixels without sources, each cell of the mesh with a
    plane of its own for the sky; the variance grows by :math:`a^2 V_F + \sigma_a^2 F^2`. `limiting_flux` is that of a
    star of 5 sigma, optimally weighed.
    """
    usable, left_out = usable_dark(dark_frame, [raw_science])
    chip = DebiasedChip(raw_science, overscan_correction, bias_frame, usable)
    if bias_frame is None and not chip.has_overscan:
        raise UsageError(
            f"{raw_science.name} has no overscan and no bias was given: its level cannot be known",
            hint="make a BiasFrame of this chip and readout mode first",
        )
    for calibration, of_filter in (
        (master_flat, True), (hot_pixel_map, False), (cold_pixel_map, True), (fringe_frame, True),
        (illumination_correction, True),
    ):  # fmt: skip
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
    given = Calibrations(bias_frame, usable, master_flat, illumination_correction, pixel_maps)
    made = calibrate(chip, given, noise, saturation)
    if (made.mask != 0).all():
        raise UsageError(f"{raw_science.name}: every pixel is masked",
                         hint="look at its calibrations and at the saturation level")  # fmt: skip
    made.notes += notes
    if overscan_correction and not chip.has_overscan:
        made.without.append("overscan")
    if dark_frame is not None and usable is None:
        made.without.append("dark_frame")
    fringes, refused = remove_fringes(made, fringe_frame, image_threshold, fringe_threshold_low, fringe_threshold_high)
    left_out += refused
    thresholds = Thresholds(hough_threshold, cosmic_sigclip, cosmic_objlim, detection_threshold)
    seen = mask_events(made, back_size, thresholds, raw_science.name)
    report(0.8, "measuring")
    return Outcome(_products(chip, made, noise, seen, fringes), tuple(left_out))


def _products(
    chip: DebiasedChip, made: Calibrated, noise: Noise, seen: Seen, fringes: FringeScale | None
) -> tuple[Product, Product]:
    """Return the reduced frame and its weight."""
    raw_science = chip.frame
    attributes = attributes_of(
        [raw_science],
        airmass=raw_science.attributes.airmass,
        overscan_correction=chip.method,
        saturation=chip.saturation,
        gain=float(np.mean(list(noise.gain.values()))),
        read_noise=float(np.mean(list(noise.read_noise.values()))),
        sky_level=seen.sky_level,
        sky_noise=seen.sky_noise,
        **({"psf_radius": seen.psf.half_light_radius, "psf_fwhm": seen.psf.fwhm} if seen.psf else {}),
        **({"fringe_scale": fringes.value} if fringes is not None and fringes.subtracted else {}),
    )
    wcs, remark = trimmed_wcs(raw_science.wcs, *chip.origin)
    if attributes.pixel_scale is None and wcs:
        attributes.pixel_scale = pixel_scale_of(wcs)
    # What Science settles for a whole run, it settles from the attributes of its frames.
    attributes = attributes.model_copy(update={"has_wcs": bool(wcs), **centre_of(wcs, chip.shape)})
    notes = [*made.notes, *_described(seen.trails), *([remark[0].upper() + remark[1:] + "."] if remark else [])]
    measured = measure_exposure(made, seen, attributes.pixel_scale)
    if fringes is not None:
        measured.append(Measured("fringe_scale", fringes.value, fringes.error, unit=made.unit))
        measured.append(Measured("fringe_significance", fringes.significance, unit="sigma"))
    frame = Frame(made.data, variance=made.variance, mask=made.mask, unit=made.unit, wcs=wcs)
    weight = Frame(weight_of(made), mask=made.mask, unit=f"1/{made.unit}2", wcs=wcs)
    return (
        Product("ReducedScienceFrame", frame, attributes, measured, made.without, notes),
        Product("WeightFrame", weight, attributes, [], made.without, notes),
    )


def _described(trails: int) -> list[str]:
    return [f"{trails} satellite trail{'s' if trails > 1 else ''} masked."] if trails else []


RECIPE = Recipe(
    name="Reduce",
    version="3",
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
        Input("fringe_frame", ("FringeFrame",), minimum=0),
        Input("illumination_correction", ("IlluminationCorrectionFrame",), minimum=0, preferred=False),
    ),
    outputs=("ReducedScienceFrame", "WeightFrame"),
    split_by=("product",),
)
