"""NightSkyFlat: how a chip answers to the light of the night sky itself, from exposures of many fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from recipes.ccd.background import smooth_background
from recipes.ccd.debias import check_serves, usable_dark
from recipes.ccd.raw import OverscanMethod, check_alike
from recipes.ccd.sky_exposures import Calibrations, SkyExposure, always_lost, expose
from recipes.ccd.sky_stack import Enough, SkyStack, count_places, exposures_with_sky, refuse_one_place, stack_sky
from recipes.ccd.sub_windows import sub_window_difference, sub_window_statistics
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray
from recipes.masks import INTERPOLATED, NO_DATA
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.values import GainLinearity, ReadNoise

FEWEST_FRAMES = 5
HOLE_MESH = 32  # pixels: on this scale the response beside a hole tells that within it


def night_sky_flat(
    raw_science: Sequence[Frame],
    bias_frame: Frame | None = None,
    master_flat: Frame | None = None,
    hot_pixel_map: Frame | None = None,
    cold_pixel_map: Frame | None = None,
    gain_linearity: GainLinearity | None = None,
    read_noise: ReadNoise | None = None,
    dark_frame: Frame | None = None,
    previous: Frame | None = None,
    *,
    overscan_correction: OverscanMethod = 6,
    sigma_clip: Annotated[float, Unit("sigma"), Bounds(1, 50)] = 3.0,
    minimum_level: Annotated[float, Unit("adu"), Bounds(0, None)] = 30.0,
    back_size: Annotated[int, Unit("pixel"), Bounds(8, 4096)] = 64,
) -> Outcome:
    r"""Combine science exposures of different pointings into a flat of the night sky.

    Parameters
    ----------
    raw_science : sequence of Frame
        At least five exposures of one chip and filter [adu], whose sources fall on different pixels.
    bias_frame : Frame, optional
        Master bias [adu]; a chip with overscan does without it.
    master_flat : Frame, optional
        Flat field by which the frames are divided to find their sources; the result holds it again.
    hot_pixel_map, cold_pixel_map : Frame, optional
        Pixels left out, and filled in the result.
    gain_linearity : GainLinearity, optional
        Gain for the noise; without it the nominal gain, or what the sky's scatter tells.
    read_noise : ReadNoise, optional
        Read noise [adu]; without it that of the bias or of the overscan is taken.
    dark_frame : Frame, optional
        Dark current [adu/s], scaled by the exposure time; left out if its temperature differs by more than 2 °C.
    previous : Frame, optional
        The valid night-sky flat so far, to compare with.
    overscan_correction : int, optional
        Overscan method, see the recipe Bias.
    sigma_clip : float, optional
        Values farther than this many standard deviations from the median are rejected.
    minimum_level : float, optional
        Frames whose sky is fainter than this are left out: what bias and dark leave would be a part of it.
    back_size : int, optional
        Side of the mesh on which the sky is measured to find sources.

    Returns
    -------
    Outcome
        One NightSkyFlatFrame, 1 on average over its good pixels, with variance and mask: the whole response to the
        night sky, comparable with a twilight flat. Pixels that sources or defects covered on every frame are filled
        from the response around them and masked as interpolated.

    Raises
    ------
    UsageError
        Fewer than five usable frames, frames that look at fewer than three different places, calibrations that do not
        fit, or neither bias nor overscan.

    Notes
    -----
    Each frame less bias and dark is divided by the level of its sky between the sources; the median over the frames is
    clipped about itself with the noise of the sky, :math:`\sqrt{f L / g + \sigma_{RN}^2} / L` for level L, gain g and
    response f. Sources are masked by segmentation at 1.5 sigma on the frame divided by the flat, grown by their own
    radius. Two frames count as one pointing where more than half of their sources' pixels fall together. Fringes are
    in the result as they are in the sky: MasterFlat takes only its large scales.
    """
    check_alike(raw_science, minimum=FEWEST_FRAMES, what="NightSkyFlat", same_filter=True)
    usable, left_out = usable_dark(dark_frame, raw_science)
    given = Calibrations(bias_frame, master_flat, hot_pixel_map, cold_pixel_map, gain_linearity, read_noise, usable)
    exposures, refused = exposures_with_sky(
        raw_science,
        lambda frame: expose(frame, given, overscan_correction, back_size, minimum_level),
        Enough("NightSkyFlat", FEWEST_FRAMES, "give longer exposures or emptier fields, or change minimum_level"),
        (0.0, 0.5),
    )
    left_out += refused
    names = [exposure.name for exposure in exposures]
    places = count_places(
        [exposure.thumbnail for exposure in exposures], [exposure.chip.frame for exposure in exposures]
    )
    refuse_one_place(places, names)
    stack = stack_sky([exposure.strip for exposure in exposures], exposures[0].shape, sigma_clip, (0.5, 0.8))
    report(0.8, "filling holes")
    defects = given.defects(exposures[0].shape)
    defects[(defects == 0) & always_lost(exposures)] = NO_DATA
    data, variance, mask, holes = _filled(stack, defects, master_flat)
    good = mask == 0
    scale = float(np.mean(data[good], dtype=np.float64)) if good.any() else 0.0
    if not scale > 0:
        raise UsageError(
            f"{names[0]} to {names[-1]} leave no pixel of the sky", hint="give more frames or other fields"
        )
    data, variance = data / np.float32(scale), variance / np.float32(scale**2)
    chip = exposures[0].chip
    attributes = attributes_of(
        [exposure.chip.frame for exposure in exposures],
        overscan_correction=chip.method,
        number_of_frames=len(exposures),
        pointings=places,
    )
    measured = _measure(data, good, exposures, stack, holes, previous)
    measured.append(Measured("pointings", places))
    levels = ", ".join(f"{exposure.name} {exposure.level:.4g}" for exposure in exposures)
    notes = [f"Levels of the sky [adu]: {levels}.", f"{holes} pixels without sky on any frame filled.",
             *dict.fromkeys(note for exposure in exposures for note in exposure.notes[:1])]  # fmt: skip
    without = ["overscan"] if overscan_correction and not chip.has_overscan else []
    without += ["dark_frame"] if dark_frame is not None and usable is None else []
    content = Frame(data, variance=variance, mask=mask, unit="", name="NightSkyFlatFrame")
    return Outcome.one(Product("NightSkyFlatFrame", content, attributes, measured, without, notes), left_out)


def _filled(stack: SkyStack, defects: MaskArray, flat: Frame | None) -> tuple[FloatArray, FloatArray, MaskArray, int]:
    """Return data, variance and mask with the holes filled from the response around them, and their number."""
    holes = (stack.count == 0) & (defects == 0)
    empty = ~(stack.median > 0)
    data = np.where(empty, np.float32(1), stack.median)
    dark = empty & ~holes
    mask = defects | np.where(holes, np.uint16(INTERPOLATED), np.where(dark, np.uint16(NO_DATA), np.uint16(0)))
    variance = np.array(stack.variance)
    good = mask == 0
    if empty.any() and good.any():
        # Beside a hole the ratio to the flat tells more than the response itself, which dust and pixels vary.
        response = np.maximum(flat.data, np.float32(0.05)) if flat is not None else np.float32(1)
        ratio = np.asarray(data / response, np.float32)
        smooth = smooth_background(ratio, good, HOLE_MESH) * response
        data[empty] = smooth[empty]
        variance[empty] = float(np.median(variance[good])) * float(np.median(stack.count[good]))
    return data, variance, mask.astype(np.uint16), int(np.count_nonzero(holes))


def _measure(
    data: FloatArray,
    good: np.typing.NDArray[np.bool_],
    exposures: Sequence[SkyExposure],
    stack: SkyStack,
    holes: int,
    previous: Frame | None,
) -> list[Measured]:
    values = data[good]
    levels = [exposure.level for exposure in exposures]
    measured = [
        Measured("mean", float(np.mean(values, dtype=np.float64))),
        Measured("median", float(np.median(values))),
        Measured("stdev", float(np.std(values, dtype=np.float64))),
        Measured("minimum", float(values.min())),
        Measured("maximum", float(values.max())),
        Measured("relative_error", float(np.sqrt(np.median(stack.variance[good])))),
        Measured("subwindow_flatness", sub_window_statistics(data, good).flatness),
        Measured("sky_level_minimum", min(levels), unit="adu"),
        Measured("sky_level_maximum", max(levels), unit="adu"),
        Measured("holes", holes),
        Measured("hole_fraction", holes / data.size),
        Measured("covered_fraction", float(np.mean([exposure.covered for exposure in exposures]))),
        Measured("outlier_fraction", stack.rejected / (data.size * len(exposures))),
    ]
    if previous is not None:
        if previous.shape != data.shape:
            raise UsageError(f"the previous flat {previous.name} has another shape: {previous.shape}")
        check_serves(previous, exposures[0].chip.frame, filters=True)
        measured.append(Measured("subwindow_difference", sub_window_difference(data, previous.data, good)))
    return measured


RECIPE = Recipe(
    name="NightSkyFlat",
    version="1",
    function=night_sky_flat,
    inputs=(
        Input("raw_science", ("RawScience",), minimum=FEWEST_FRAMES, maximum=None, primary=True),
        Input("bias_frame", ("BiasFrame",), minimum=0),
        Input("master_flat", ("MasterFlatFrame",), minimum=0),
        Input("hot_pixel_map", ("HotPixelMap",), minimum=0),
        Input("cold_pixel_map", ("ColdPixelMap",), minimum=0),
        Input("gain_linearity", ("GainLinearity",), minimum=0),
        Input("read_noise", ("ReadNoise",), minimum=0),
        Input("dark_frame", ("DarkFrame",), minimum=0, preferred=False),
        Input("previous", ("NightSkyFlatFrame",), minimum=0, preferred=False),
    ),
    outputs=("NightSkyFlatFrame",),
    split_by=("instrument", "chip", "readout_mode", "filter"),
)
