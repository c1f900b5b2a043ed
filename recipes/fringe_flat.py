"""FringeFlat: the pattern of interference that the lines of the night sky make in a chip, from reduced exposures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.debias import check_serves
from recipes.ccd.fringe_exposures import FringeExposure, expose
from recipes.ccd.fringes import Scales, measure_scales, smooth_to_scales
from recipes.ccd.raw import check_alike
from recipes.ccd.sky_stack import Enough, SkyStack, count_places, exposures_with_sky, refuse_one_place, stack_sky
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame
from recipes.masks import FRINGE_UNTRUSTED
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit

FEWEST_FRAMES = 5
_ENOUGH = Enough("FringeFlat", FEWEST_FRAMES, "give longer exposures or emptier fields")
FEWEST_VALUES = 3  # of a pixel: with fewer a cosmic ray or a star's wing is not told from fringes
_WIDEST = 2.0  # wavelength in cells of the background's mesh: wider structure went with the background


def fringe_flat(
    reduced_science: Sequence[Frame],
    previous: Frame | None = None,
    *,
    sigma_clip: Annotated[float, Unit("sigma"), Bounds(1, 50)] = 3.0,
    back_size: Annotated[int, Unit("pixel"), Bounds(16, 4096)] = 128,
) -> Outcome:
    r"""Combine reduced exposures of one night and filter into a map of the fringes.

    Parameters
    ----------
    reduced_science : sequence of Frame
        At least five reduced exposures of one chip, filter and night, whose sources fall on different pixels, and from
        which no fringes were taken yet.
    previous : Frame, optional
        The valid fringe map so far, to compare with.
    sigma_clip : float, optional
        Values farther than this many standard deviations from the median are rejected.
    back_size : int, optional
        Side of the mesh on which the sky is measured and subtracted; larger than the fringes.

    Returns
    -------
    Outcome
        One FringeFrame: the pattern as a fraction of the level of the sky, 0 on average, with the variance of what
        noise there is in it and of what smoothing took. Pixels that fewer than three frames show are masked as
        untrusted; their values follow from their surroundings. A night without fringes gives a map of noise, whose
        `fringe_significance` is below its limit: it is flagged, and not to be applied.

    Raises
    ------
    UsageError
        Fewer than five usable frames, frames of different nights, frames that look at fewer than three different
        places, or frames whose fringes were subtracted.

    Notes
    -----
    Each frame less its sky (clipped medians of a mesh, bilinear between them), over the level of the sky, goes into a
    median that is clipped about itself; sources are masked by segmentation, once more after a first map was
    subtracted, or the crests of the fringes would be taken for sources. The stack is smoothed to the fringes' own
    scale by the filter of least error (Wiener 1949): its response at each wavelength is the power that two halves of
    the frames have in common over that of the stack. What is common at the scale of pixels is noise of bias, dark and
    flat and not counted. The overscan method is that of the reduced frames, so there is no parameter for it.
    """
    check_alike(reduced_science, minimum=FEWEST_FRAMES, what="FringeFlat", same_filter=True)
    _refuse_unfit(reduced_science)
    shape = reduced_science[0].shape
    exposures, left_out = exposures_with_sky(
        reduced_science, partial(expose, back_size=back_size), _ENOUGH, (0.0, 0.25)
    )
    places = count_places([exposure.thumbnail for exposure in exposures], [exposure.frame for exposure in exposures])
    refuse_one_place(places, [exposure.name for exposure in exposures])
    report(0.25, "first map")
    first_map, _, _ = _map(exposures, shape, sigma_clip, back_size, (0.25, 0.4))
    usable = [exposure.frame for exposure in exposures]
    exposures, refused = exposures_with_sky(
        usable, partial(expose, back_size=back_size, pattern=first_map), _ENOUGH, (0.4, 0.65)
    )
    del first_map
    left_out += refused
    data, scales, stack = _map(exposures, shape, sigma_clip, back_size, (0.65, 0.85))
    untrusted = stack.count < FEWEST_VALUES
    mask = np.where(untrusted, np.uint16(FRINGE_UNTRUSTED), np.uint16(0)).astype(np.uint16)
    variance = _variance(stack, scales, untrusted)
    attributes = attributes_of(usable, number_of_frames=len(exposures), pointings=places)
    measured = _measure(data, untrusted, scales, stack, exposures)
    measured.append(Measured("pointings", places))
    if previous is not None:
        check_serves(previous, usable[0], shape, filters=True)
        measured.append(Measured("correlation_with_previous", _correlation(data, previous.data, ~untrusted)))
    numbers = {value.name: value.value for value in measured if value.name.startswith("fringe_")}
    attributes = attributes.model_copy(update={name: value for name, value in numbers.items() if np.isfinite(value)})
    notes = [f"Levels of the sky [{usable[0].unit}]: "
             + ", ".join(f"{exposure.name} {exposure.level:.4g}" for exposure in exposures) + "."]  # fmt: skip
    if not scales.significant.any():
        notes.append("The two halves of the frames have no fringes in common: the map is noise.")
    content = Frame(data, variance=variance, mask=mask, unit="", name="FringeFrame")
    return Outcome.one(Product("FringeFrame", content, attributes, measured, [], notes), left_out)


def _refuse_unfit(frames: Sequence[Frame]) -> None:
    """Raise UsageError for frames of different nights, and those whose fringes were subtracted."""
    first = frames[0]
    for frame in frames:
        if frame.attributes.night != first.attributes.night:
            raise UsageError(
                f"{frame.name} is of the night {frame.attributes.night}, {first.name} of {first.attributes.night}",
                hint="give frames of one night: the lines of the sky change from night to night",
            )
        if frame.number("fringe_scale"):
            raise UsageError(
                f"the fringes of {frame.name} were subtracted already", hint="run Reduce without a FringeFrame first"
            )


def _map(
    exposures: Sequence[FringeExposure],
    shape: tuple[int, int],
    sigma_clip: float,
    back_size: int,
    progress: tuple[float, float],
) -> tuple[FloatArray, Scales, SkyStack]:
    """Return the smoothed pattern, the scales it was smoothed to, and the stack it is of."""
    begin, end = progress
    middle = (begin + end) / 2
    strips = [exposure.strip for exposure in exposures]
    halves = (stack_sky(strips[part::2], shape, sigma_clip, (begin, middle)).median for part in (0, 1))
    first, second = halves
    stack = stack_sky(strips, shape, sigma_clip, (middle, end))
    scales = measure_scales(stack.median, first, second, _WIDEST * back_size)
    pattern = smooth_to_scales(stack.median, scales, back_size // 2)
    trusted = stack.count >= FEWEST_VALUES
    mean = pattern[trusted].mean(dtype=np.float64) if trusted.any() else 0.0
    return pattern - np.float32(mean), scales, stack


def _variance(stack: SkyStack, scales: Scales, untrusted: NDArray[np.bool_]) -> FloatArray:
    """Return the variance of the smoothed pattern: larger where the stack's own is larger than usual.

    Where there was too little to see, it is that of the fringes themselves.
    """
    from scipy import ndimage

    reach = int(min(scales.wavelength, 100.0)) if np.isfinite(scales.wavelength) else 15
    known = stack.count > 0
    usual = float(np.median(stack.variance[known])) if known.any() else 1.0
    relative = np.where(known, stack.variance, np.float32(usual)) / np.float32(max(usual, 1e-30))
    local = ndimage.uniform_filter(np.minimum(relative, np.float32(100)), max(reach // 2, 3), mode="reflect")
    variance = np.asarray(local * np.float32(scales.error_variance), np.float32)
    variance[untrusted] += np.float32(scales.amplitude[0] ** 2)
    return np.maximum(variance, np.float32(1e-12))


def _measure(
    data: FloatArray,
    untrusted: NDArray[np.bool_],
    scales: Scales,
    stack: SkyStack,
    exposures: Sequence[FringeExposure],
) -> list[Measured]:
    values = data[~untrusted] if not untrusted.all() else data
    amplitude, error = scales.amplitude
    levels = [exposure.level for exposure in exposures]
    unit = exposures[0].frame.unit
    return [
        Measured("mean", float(np.mean(values, dtype=np.float64))),
        Measured("stdev", float(np.std(values, dtype=np.float64))),
        Measured("minimum", float(values.min())),
        Measured("maximum", float(values.max())),
        Measured("fringe_amplitude", amplitude, error),
        Measured("fringe_significance", scales.significance, unit="sigma"),
        Measured("fringe_wavelength", scales.wavelength, unit="pixel"),
        Measured("sky_level_minimum", min(levels), unit=unit),
        Measured("sky_level_maximum", max(levels), unit=unit),
        Measured("untrusted_fraction", int(np.count_nonzero(untrusted)) / data.size),
        Measured("covered_fraction", float(np.mean([exposure.covered for exposure in exposures]))),
        Measured("outlier_fraction", stack.rejected / (data.size * len(exposures))),
    ]


def _correlation(data: FloatArray, other: FloatArray, good: NDArray[np.bool_]) -> float:
    one, two = data[good].astype(np.float64), other[good].astype(np.float64)
    if one.size < 2 or not (one.std() > 0 and two.std() > 0):
        return float("nan")
    return float(np.corrcoef(one, two)[0, 1])


RECIPE = Recipe(
    name="FringeFlat",
    version="1",
    function=fringe_flat,
    inputs=(
        Input("reduced_science", ("ReducedScienceFrame",), minimum=FEWEST_FRAMES, maximum=None, primary=True),
        Input("previous", ("FringeFrame",), minimum=0, preferred=False),
    ),
    outputs=("FringeFrame",),
    split_by=("instrument", "chip", "readout_mode", "filter", "night"),
)
