"""A frame made ready to be searched for sources: sky subtracted, narrow defects filled, its noise known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.cosmic_rays import filled
from recipes.ccd.detection_noise import pixel_noise
from recipes.ccd.sky import Sky, measure_sky
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray
from recipes.masks import SATURATED

WIDE = 5  # pixels: masked areas wider than this are left out, what is narrower is filled from its neighbours
LINE_RATIO = 20  # length over width from which saturated pixels are a line of the detector, not a star and its bleeding
# On these the unit of a value is no longer what a detector counts: fluxes are scaled, exposures averaged.
SCALED_KINDS = ("RegriddedFrame", "CoaddedRegriddedFrame")


@dataclass(frozen=True)
class SearchImage:
    """What detection and photometry need of a frame.

    Attributes
    ----------
    signal : array
        Sky-subtracted pixels, 0 where bad.
    noise : array
        Noise of the sky in each pixel.
    bad : array of bool
        Pixels that are left out.
    unfit : array of bool
        Pixels that say nothing about sky and stars' shape: whatever the mask or the weight names.
    mask : array
        The frame's mask.
    sky : Sky
        What was subtracted.
    gain : float or None
        Electrons for each unit of `signal`; None where it is not known.
    """

    signal: FloatArray
    noise: FloatArray
    bad: NDArray[np.bool_]
    unfit: NDArray[np.bool_]
    mask: MaskArray
    sky: Sky
    gain: float | None


def prepare(frame: Frame, weight: Frame | None, back_size: int, back_filtersize: int) -> SearchImage:
    """Return `frame` ready to be searched; `weight`, where given, tells its noise instead of its own variance.

    Raises
    ------
    UsageError
        The frame has no pixels but a mask, or every pixel is masked or without weight.
    """
    if not frame.has_data:
        raise UsageError(f"{frame.name} is a pixel map and has no science pixels", hint="choose a calibrated frame")
    mask = frame.mask
    variance = frame.variance
    without = None
    if weight is not None:
        values = weight.data
        without = ~(values > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.where(without, np.float32(0), 1 / values)
    pixels, unfit, bad = _fill(frame, mask, without)
    if unfit.all():
        raise UsageError(f"{frame.name}: every pixel is masked or without weight",
                         hint="look at its calibrations and the saturation level")  # fmt: skip
    sky = measure_sky(pixels, unfit, back_size, back_filtersize, frame.name)
    signal = pixels
    signal -= sky.level_map
    if bad.any():
        signal[bad] = 0.0
    noise = pixel_noise(variance, signal, unfit, sky)
    gain = 1.0 if frame.unit == "electron" else frame.number("gain")
    if frame.kind in SCALED_KINDS and variance is not None:
        gain = None if noise.photons is None else 1 / noise.photons
    return SearchImage(signal, noise.noise, bad, unfit, mask, sky, gain)


def _fill(
    frame: Frame, mask: MaskArray, without: NDArray[np.bool_] | None
) -> tuple[FloatArray, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the pixels with narrow defects filled, where the mask says anything, and what stays left out.

    Saturated pixels stay in, unless they are lines of the detector: a bright star with a hole would be found as a ring
    of pieces. A source that a cosmic ray or a hot pixel hits would be found in two, so these are filled from their
    neighbours; IMAFLAGS_ISO tells of them.
    """
    from scipy import ndimage

    unfit = mask != 0
    data = np.array(frame.data, dtype=np.float32)
    if without is not None:
        unfit |= without
    if not unfit.any():
        return data, unfit, unfit
    saturated = (mask & np.uint16(SATURATED)) != 0
    bad = (mask & ~np.uint16(SATURATED)) != 0
    if saturated.any():
        bad |= _saturated_lines(saturated)
    if without is not None:
        bad |= without & (mask == 0)
    wide = ndimage.binary_opening(bad, np.ones((WIDE, WIDE), dtype=bool)) if bad.any() else bad
    narrow = bad & ~wide
    data[bad] = 0.0
    if narrow.any():
        # Wide areas must not flow into the narrow ones beside them, so both are bad while filling.
        data[narrow] = filled(data, bad, rounds=WIDE)[narrow]
    return data, unfit, wide


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
