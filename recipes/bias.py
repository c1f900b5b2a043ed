"""Bias: a master bias of a chip from its bias exposures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from recipes import threads
from recipes.ccd.bias_exposures import DARK_TIME, bias_exposures, note_of, without_biases
from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.debias import check_serves
from recipes.ccd.noise import READ_NOISE_OF_AMPLIFIERS, estimated_read_noise, of_regions, read_noise_of
from recipes.ccd.raw import OverscanMethod, RawChip, check_alike
from recipes.ccd.stacking import StackRules, clipped_stack
from recipes.ccd.sub_windows import whole_and_sub_window_statistics
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray
from recipes.products import Outcome, Product, attributes_of
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.values import ReadNoise

# Blocks of rows from which the levels of frames without overscan are taken, spread over the chip, and the pixels and
# rows that each has at least: enough for 0.004 read noises.
_BLOCKS, _PIXELS_OF_A_BLOCK, _ROWS_OF_A_BLOCK = 8, 8192, 4


def bias(
    raw_bias: Sequence[Frame],
    read_noise: ReadNoise | None = None,
    previous: Frame | None = None,
    *,
    sigma_clip: Annotated[float, Unit("sigma"), Bounds(1, 50)] = 3.0,
    overscan_correction: OverscanMethod = 6,
) -> Outcome:
    r"""Combine overscan-corrected bias exposures into a master bias.

    Parameters
    ----------
    raw_bias : sequence of Frame
        At least three bias exposures of one chip in one readout mode [adu].
        Where there are no biases, darks: the shortest of which there are three are used.
    read_noise : ReadNoise, optional
        Read noise of the same chip [adu]; without it that of the first pair is taken.
    previous : Frame, optional
        The valid master bias so far, to compare with.
    sigma_clip : float, optional
        Pixels farther than this many read noises from the stack's median are rejected.
    overscan_correction : int, optional
        0 none; 1-4 one number: median of prescan-x, overscan-x, prescan-y, overscan-y; 5-8 the same for each row (x) or
        column (y). A chip that lacks the section is corrected with what it has.

    Returns
    -------
    Outcome
        One BiasFrame: mean of the accepted pixels [adu], its variance [adu**2], and the mask.

    Raises
    ------
    UsageError
        Fewer than three frames, frames of different shape or readout mode, or read noise of another chip.

    Notes
    -----
    Rejection is about the median, taken anew until nothing more is rejected. The variance is
    :math:`\sigma_{RN}^2 (1 + v) / N` for N accepted pixels, v being what the subtraction of the overscan's median adds.
    Without overscan, frames whose level differs by more than a read noise are brought to one level first, or the clip
    would reject them whole.
    """
    raw_bias, dark_time, left_out = bias_exposures(raw_bias, minimum=3)
    check_alike(raw_bias, minimum=3, what="Bias")
    chips = [RawChip(frame, overscan_correction) for frame in raw_bias]
    first = chips[0]
    if read_noise is not None:
        check_serves(read_noise, raw_bias[0])
        noises = of_regions(first.regions, read_noise.amplifiers, read_noise.read_noise)
    else:
        noises = estimated_read_noise(chips)
    if not min(noises.values()) > 0:
        raise UsageError(f"{raw_bias[0].name} and {raw_bias[1].name} show no noise", hint="are they the same frame?")
    read_noise_value = float(np.mean(read_noise_of(first, noises)))
    offsets, notes = _level_offsets(chips, read_noise_value)
    no_light = dict.fromkeys(noises, 0.0)
    stack = clipped_stack(chips, StackRules(sigma_clip, noises, no_light, offsets=offsets), "stacking", 0.2, 0.8)
    notes = [
        f"{note_of(len(chips), dark_time)}, overscan method {first.method}, read noise {read_noise_value:.4g} adu.",
        *notes,
    ]
    attributes = attributes_of(
        raw_bias,
        overscan_correction=first.method,
        number_of_frames=len(chips),
        read_noise=read_noise_value,
        **({READ_NOISE_OF_AMPLIFIERS: noises} if len(noises) > 1 else {}),
        **({DARK_TIME: dark_time} if dark_time else {}),
    )
    measured = _measure(stack.data, stack.mask, previous, first.has_overscan)
    measured.append(Measured("rejected_fraction", stack.rejected / (stack.data.size * len(chips))))
    numbers = {value.name: value.value for value in measured if value.name in ("mean", "stdev")}
    attributes = attributes.model_copy(update=numbers)
    made_without = without_biases(dark_time)
    made_without += ["overscan"] if overscan_correction and not first.has_overscan else []
    content = Frame(stack.data, variance=stack.variance, mask=stack.mask, unit="adu", name="BiasFrame")
    return Outcome.one(Product("BiasFrame", content, attributes, measured, made_without, notes), left_out)


def _level_offsets(chips: Sequence[RawChip], read_noise: float) -> tuple[list[float], list[str]]:
    """Return what to subtract from each frame so that all have one level, and notes; zeros where that is so already."""
    height, width = chips[0].shape
    if chips[0].has_overscan:
        return [0.0] * len(chips), []
    rows_of_a_block = max(_ROWS_OF_A_BLOCK, -(-_PIXELS_OF_A_BLOCK // width))
    rows = [(y0, min(y0 + rows_of_a_block, height))
            for y0 in np.unique(np.linspace(0, height, _BLOCKS, endpoint=False).astype(int))]  # fmt: skip

    def level(chip: RawChip) -> float:
        # The same rows of all frames: their pattern makes no difference.
        return clipped_statistics(np.concatenate([chip.strip(y0, y1)[0] for y0, y1 in rows])).mean

    levels = np.array(threads.each(level, chips))
    offsets = levels - levels.mean()
    if np.abs(offsets).max() <= read_noise:
        return [0.0] * len(chips), []
    worst = int(np.abs(offsets).argmax())
    note = f"Levels differ by up to {offsets[worst]:.4g} adu ({chips[worst].name}); all were brought to their mean."
    return [float(offset) for offset in offsets], [note]


def _measure(data: FloatArray, mask: MaskArray, previous: Frame | None, has_overscan: bool) -> list[Measured]:
    good = mask == 0
    statistics, windows = whole_and_sub_window_statistics(data, good)
    measured = [
        Measured("mean", statistics.mean, statistics.stdev / max(statistics.count, 1) ** 0.5, "adu", has_overscan),
        Measured("median", statistics.median, unit="adu"),
        Measured("stdev", statistics.stdev, unit="adu"),
        Measured("subwindow_flatness", windows.flatness, unit="adu"),
        Measured("subwindow_stdev", windows.largest_stdev, unit="adu"),
    ]
    earlier = previous.number("stdev") if previous is not None else None
    if earlier is not None:
        measured.append(Measured("stdev_difference", statistics.stdev - earlier, unit="adu"))
    return measured


RECIPE = Recipe(
    name="Bias",
    version="2",
    function=bias,
    inputs=(
        Input("raw_bias", ("RawBias", "RawDark"), minimum=3, maximum=None, primary=True),
        Input("read_noise", ("ReadNoise",), minimum=0),
        Input("previous", ("BiasFrame",), minimum=0, preferred=False),
    ),
    outputs=("BiasFrame",),
    split_by=("instrument", "chip", "readout_mode"),
)
