"""TwilightFlat: a master flat of a chip and filter from exposures of the twilight sky."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from recipes.ccd.flat_stack import FlatDirections, FlatInputs, make_flat
from recipes.ccd.raw import OverscanMethod
from recipes.frame import Frame
from recipes.products import Outcome
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.values import GainLinearity


def twilight_flat(
    raw_flat: Sequence[Frame],
    bias_frame: Frame | None = None,
    hot_pixel_map: Frame | None = None,
    gain_linearity: GainLinearity | None = None,
    cold_pixel_map: Frame | None = None,
    dark_frame: Frame | None = None,
    previous: Frame | None = None,
    *,
    sigma_clip: Annotated[float, Unit("sigma"), Bounds(1, 50)] = 5.0,
    overscan_correction: OverscanMethod = 6,
    minimum_level: Annotated[float, Unit("adu"), Bounds(0, None)] = 500.0,
    maximum_level: Annotated[float, Unit("adu"), Bounds(0, None)] = 0.0,
) -> Outcome:
    """Combine twilight flats of one chip and filter into a master twilight flat.

    Parameters
    ----------
    raw_flat : sequence of Frame
        Twilight flats of one chip and filter [adu], of different pointings, so that stars are
        rejected; with fewer than three nothing can be.
    bias_frame : Frame, optional
        Master bias [adu]; a chip with overscan does without it.
    hot_pixel_map : Frame, optional
        Pixels left out of all statistics.
    gain_linearity : GainLinearity, optional
        Gain for the noise; without it the nominal gain, or that of the first pair of these flats.
    cold_pixel_map : Frame, optional
        Pixels left out of all statistics.
    dark_frame : Frame, optional
        Dark current [adu/s], scaled by the exposure time; left out if its temperature differs by more than 2 °C.
    previous : Frame, optional
        The valid flat so far, to compare with.
    sigma_clip : float, optional
        Values farther than this many standard deviations from the median are rejected.
    overscan_correction : int, optional
        Overscan method, see the recipe Bias.
    minimum_level : float, optional
        Frames fainter than this in the central quarter, bias subtracted, are left out.
    maximum_level : float, optional
        Frames brighter than this are left out; 0 means 0.9 of the saturation level, where that is known.

    Returns
    -------
    Outcome
        One TwilightFlatFrame, 1 on average over the central quarter, with variance and mask.

    Raises
    ------
    UsageError
        No usable frame, frames or calibrations that do not fit each other, or neither bias nor overscan.
    """
    given = FlatInputs(bias_frame, hot_pixel_map, gain_linearity, cold_pixel_map, dark_frame, previous)
    directions = FlatDirections(sigma_clip, overscan_correction, minimum_level, maximum_level)
    product, left_out = make_flat("TwilightFlatFrame", raw_flat, given, directions)
    return Outcome.one(product, left_out)


RECIPE = Recipe(
    name="TwilightFlat",
    version="2",
    function=twilight_flat,
    inputs=(
        Input("raw_flat", ("RawTwilightFlat",), minimum=1, maximum=None, primary=True),
        Input("bias_frame", ("BiasFrame",), minimum=0),
        Input("hot_pixel_map", ("HotPixelMap",), minimum=0),
        Input("gain_linearity", ("GainLinearity",), minimum=0),
        Input("cold_pixel_map", ("ColdPixelMap",), minimum=0),
        Input("dark_frame", ("DarkFrame",), minimum=0, preferred=False),
        Input("previous", ("TwilightFlatFrame",), minimum=0, preferred=False),
    ),
    outputs=("TwilightFlatFrame",),
    split_by=("instrument", "chip", "readout_mode", "filter"),
)
