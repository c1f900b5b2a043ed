"""HotPixels: the pixels of a chip that glow, from its master bias and, where there is one, its dark."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from recipes.ccd.debias import check_serves
from recipes.ccd.pixel_maps import count_measured, outliers
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import HOT, NO_DATA, SATURATED
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.recipe import Bounds, Input, Recipe, Unit

# Mesh of the background [pixel]: wide enough that clusters and columns of hot pixels do not reach its median.
BOX = 32


def hot_pixels(
    bias_frame: Frame,
    dark_frame: Frame | None = None,
    previous: Frame | None = None,
    *,
    rejection_threshold: Annotated[float, Unit("sigma"), Bounds(2, 100)] = 5.0,
    maximum_iterations: Annotated[int, Bounds(1, 50)] = 5,
) -> Outcome:
    """Find the pixels that stand out of the smooth background of a master bias and of a dark.

    Parameters
    ----------
    bias_frame : Frame
        Master bias [adu].
    dark_frame : Frame, optional
        Dark current of the same chip [adu/s]; without it pixels that glow only in long exposures are not found.
    previous : Frame, optional
        The valid map so far, to compare with.
    rejection_threshold : float, optional
        A pixel farther than this from the background is an outlier.
    maximum_iterations : int, optional
        Rounds at most in which background and sigma are taken anew without the outliers.

    Returns
    -------
    Outcome
        One HotPixelMap: a mask with the bit HOT.

    Raises
    ------
    UsageError
        Bias and dark are not of one chip and shape, or one has no pixel with a value.
    """
    frames = [bias_frame]
    if dark_frame is not None:
        check_serves(dark_frame, bias_frame, bias_frame.shape)
        frames.append(dark_frame)
    mask = np.zeros(bias_frame.shape, np.uint16)
    notes = []
    for number, frame in enumerate(frames):
        report(0.1 + 0.4 * number, f"looking at {frame.name}")
        data, bits = frame.data, frame.mask
        good = (bits & np.uint16(NO_DATA)) == 0
        if not good.any():
            raise UsageError(f"{frame.name} has no pixel with a value", hint="make it again from other exposures")
        found, sigma = outliers(data, good, rejection_threshold, maximum_iterations, BOX)
        found |= good & ((bits & np.uint16(SATURATED)) != 0)
        mask[found] |= np.uint16(HOT)
        notes.append(f"{np.count_nonzero(found)} outliers in {frame.name}, sigma {sigma:.4g} {frame.unit}.")
    measured = count_measured(mask, HOT, previous)
    attributes = attributes_of([bias_frame], count=int(np.count_nonzero(mask)))
    return Outcome.one(Product("HotPixelMap", Frame(None, mask=mask, unit=""), attributes, measured, (), notes))


RECIPE = Recipe(
    name="HotPixels",
    version="2",
    function=hot_pixels,
    inputs=(
        Input("bias_frame", ("BiasFrame",), primary=True),
        Input("dark_frame", ("DarkFrame",), minimum=0),
        Input("previous", ("HotPixelMap",), minimum=0, preferred=False),
    ),
    outputs=("HotPixelMap",),
    split_by=("product",),
)
