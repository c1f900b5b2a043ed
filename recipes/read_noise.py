"""ReadNoise: the read noise of a chip from pairs of biases."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np

from recipes import threads
from recipes.ccd.bias_exposures import bias_exposures, note_of, without_biases
from recipes.ccd.noise import difference_statistics
from recipes.ccd.raw import RawChip, check_alike
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import tracked
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.values import ReadNoise

_PAIRS_A_REPORT = 4


def read_noise(
    raw_bias: Sequence[Frame],
    previous: ReadNoise | None = None,
    *,
    rejection_threshold: Annotated[float, Unit("sigma"), Bounds(2, 50)] = 5.0,
    maximum_iterations: Annotated[int, Bounds(1, 50)] = 5,
) -> Outcome:
    r"""Measure the read noise of a chip from the differences of consecutive bias exposures.

    Parameters
    ----------
    raw_bias : sequence of Frame
        At least two bias exposures of one chip in one readout mode [adu]; where there are none, darks, of which the
        shortest are used: their dark current's noise counts as read noise then.
    previous : ReadNoise, optional
        The valid one so far, to compare with.
    rejection_threshold : float, optional
        Pixels of a difference farther than this from its median are rejected.
    maximum_iterations : int, optional
        Rounds of rejection at most.

    Returns
    -------
    Outcome
        One ReadNoise [adu], with the value of each amplifier where the chip has several.

    Raises
    ------
    UsageError
        Fewer than two frames, frames that differ in shape, chip or readout mode, or frames that are all equal.

    Notes
    -----
    For biases :math:`b_1, b_2` the noise is :math:`\mathrm{rms}(b_1 - b_2)/\sqrt 2`, the rms about the median of what
    is left after clipping (Howell 2006, Handbook of CCD Astronomy, section 4.3); the mean is taken over the pairs. Its
    error is the larger of the scatter between pairs and :math:`\sigma/\sqrt{2n}` of n pixels.
    """
    raw_bias, dark_time, left_out = bias_exposures(raw_bias, minimum=2)
    check_alike(raw_bias, minimum=2, what="ReadNoise")
    chips = [RawChip(frame, 0) for frame in raw_bias]
    names = [region.amplifier for region in chips[0].regions]
    noises: dict[str, list[float]] = {name: [] for name in names}
    counts: dict[str, int] = dict.fromkeys(names, 0)
    means, medians = [], []
    pairs = list(pairwise(chips))
    batches = [pairs[start : start + _PAIRS_A_REPORT] for start in range(0, len(pairs), _PAIRS_A_REPORT)]
    for batch in tracked(batches, "measuring differences"):
        for found in threads.each(
            lambda pair: difference_statistics(*pair, rejection_threshold, maximum_iterations), batch
        ):
            for name, statistics in found.items():
                noises[name].append(statistics.stdev / np.sqrt(2))
                counts[name] += statistics.count
                means.append(statistics.mean)
                medians.append(statistics.median)
    of_amplifier = {name: float(np.mean(values)) for name, values in noises.items()}
    errors = [_error(noises[name], counts[name]) for name in names]
    value, error = float(np.mean(list(of_amplifier.values()))), float(np.sqrt(np.mean(np.square(errors)) / len(names)))
    if not value > 0:
        raise UsageError(
            f"{raw_bias[0].name} and the other {len(raw_bias) - 1} biases show no noise at all",
            hint="were the same frame or processed frames given?",
        )
    several = of_amplifier if len(names) > 1 else {}
    measured = [
        Measured("read_noise", value, error, "adu"),
        Measured("mean_diff", float(np.mean(means)), unit="adu"),
        Measured("median_diff", float(np.mean(medians)), unit="adu"),
        *(Measured(f"read_noise_{name}", noise, unit="adu") for name, noise in several.items()),
    ]
    if previous is not None:
        measured.append(Measured("read_noise_difference", value - previous.read_noise, unit="adu"))
    notes = [f"{len(pairs)} pairs of {note_of(len(raw_bias), dark_time)}."]
    content = ReadNoise(value, error, several)
    without = without_biases(dark_time)
    return Outcome.one(Product("ReadNoise", content, attributes_of(raw_bias), measured, without, notes), left_out)


def _error(noises: Sequence[float], count: int) -> float:
    """Return the error of the mean over the pairs: their scatter, or what the number of pixels allows."""
    # A bias stands in two consecutive pairs: neighbours share half of their variance, hence 1.5 and not 1.
    of_count = float(np.mean(noises)) / np.sqrt(2 * max(count, 1)) * np.sqrt(1.5)
    of_scatter = float(np.std(noises, ddof=1)) / np.sqrt(len(noises)) if len(noises) > 1 else 0.0
    return float(max(of_count, of_scatter))


RECIPE = Recipe(
    name="ReadNoise",
    version="3",
    function=read_noise,
    inputs=(
        Input("raw_bias", ("RawBias", "RawDark"), minimum=2, maximum=None, primary=True),
        Input("previous", ("ReadNoise",), minimum=0, preferred=False),
    ),
    outputs=("ReadNoise",),
    split_by=("instrument", "chip", "readout_mode"),
)
