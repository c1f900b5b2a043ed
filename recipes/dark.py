"""Dark: the dark current of a chip from exposures with the shutter closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np

from recipes.ccd.bias_exposures import DARK_TIME
from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.debias import DARK_TEMPERATURE_TOLERANCE, DebiasedChip
from recipes.ccd.noise import noise_ratio, of_regions, read_noise_with
from recipes.ccd.raw import OverscanMethod, check_alike
from recipes.ccd.stacking import StackRules, clipped_stack
from recipes.errors import UsageError
from recipes.frame import Frame, number_of
from recipes.job import LeftOut
from recipes.products import Outcome, Product, attributes_of
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.values import GainLinearity


def dark(
    raw_dark: Sequence[Frame],
    bias_frame: Frame,
    gain_linearity: GainLinearity | None = None,
    previous: Frame | None = None,
    *,
    sigma_clip: Annotated[float, Unit("sigma"), Bounds(1, 50)] = 5.0,
    overscan_correction: OverscanMethod = 6,
) -> Outcome:
    r"""Combine dark exposures into a map of the dark current.

    Parameters
    ----------
    raw_dark : sequence of Frame
        At least three dark exposures of one chip, of any exposure times, at one temperature [adu].
    bias_frame : Frame
        Master bias made with the same overscan method [adu].
    gain_linearity : GainLinearity, optional
        Gain for the noise of the dark current; without it the nominal gain, else 1 electron/adu.
    previous : Frame, optional
        The valid dark so far, to compare with.
    sigma_clip : float, optional
        Values farther than this many standard deviations from the median are rejected (cosmic rays).
    overscan_correction : int, optional
        Overscan method, see the recipe Bias.

    Returns
    -------
    Outcome
        One DarkFrame: dark current [adu/s], its variance, the mask, and the detector's temperature.

    Raises
    ------
    UsageError
        Fewer than three darks of one temperature and of known exposure time. Where the bias was made from darks and too
        few are longer nothing is made, and that is said.

    Notes
    -----
    Rates are weighted by exposure time: the accepted counts over the accepted seconds. For N accepted values of T
    seconds in all the variance is :math:`\left(N \sigma_{RN}^2 (1 + v) + r T / g + N^2 \sigma_b^2\right) / T^2`, v
    being what the subtraction of the overscan's median adds. ``noise_ratio`` is the scatter of the pixels over that of
    the read-out alone: less than 1 no dark can have.
    """
    frames, left_out = _of_one_temperature(raw_dark)
    from_darks = bias_frame.number(DARK_TIME) or 0.0
    if from_darks:
        frames, left_out = _longer(frames, from_darks, left_out)
        if not frames:
            return Outcome((), tuple(left_out))
    check_alike(frames, minimum=3, what="Dark (darks of one temperature with known exposure time)")
    chips = [DebiasedChip(frame, overscan_correction, bias_frame) for frame in frames]
    seconds = [float(frame.attributes.exposure_time or 0.0) - from_darks for frame in frames]
    gain, of_amplifiers = _gain(gain_linearity, frames[0])
    read_noise = read_noise_with(bias_frame, chips[0], 1.0)
    photons = {name: 1 / gain for name, gain in of_regions(chips[0].regions, of_amplifiers, gain).items()}
    stack = clipped_stack(chips, StackRules(sigma_clip, read_noise, photons, norms=seconds), "stacking", 0.1, 0.8)
    data, mask = stack.data, stack.mask
    statistics = clipped_statistics(data, good=mask == 0)
    # What it must scatter by at the least: the gain may be unknown, and with it the photons' share.
    of_photons = np.maximum(data, 0) * np.float32(max(photons.values()) / sum(seconds))
    of_read_out = np.asarray(stack.variance - of_photons, np.float32)
    measured = [
        Measured("dark_current", statistics.median, statistics.stdev / max(statistics.count, 1) ** 0.5, "adu/s"),
        Measured("stdev", statistics.stdev, unit="adu/s"),
        Measured("noise_ratio", noise_ratio(statistics.stdev, of_read_out, mask)),
        Measured("rejected_fraction", stack.rejected / (data.size * len(chips)), limited=sigma_clip >= 5),
    ]
    earlier = previous.number("dark_current") if previous is not None else None
    if earlier is not None:
        measured.append(Measured("dark_current_difference", statistics.median - earlier, unit="adu/s"))
    attributes = attributes_of(
        frames,
        overscan_correction=chips[0].method,
        number_of_frames=len(frames),
        dark_current=statistics.median,
        total_exposure_time=float(sum(seconds)),
    )
    shortest, longest = from_darks + min(seconds), from_darks + max(seconds)
    notes = [f"{len(frames)} darks of {shortest:g} to {longest:g} s at {attributes.temperature} deg C."]
    made_without = ["overscan"] if overscan_correction and not chips[0].has_overscan else []
    content = Frame(data, variance=stack.variance, mask=mask, unit="adu/s", name="DarkFrame")
    return Outcome.one(Product("DarkFrame", content, attributes, measured, made_without, notes), left_out)


def _longer(
    frames: Sequence[Frame], from_darks: float, left_out: Sequence[LeftOut]
) -> tuple[list[Frame], list[LeftOut]]:
    """Return the darks that collected for longer than those which the bias was made from; none where they are few."""
    longer = [frame for frame in frames if (frame.attributes.exposure_time or 0.0) > 1.5 * from_darks]
    longer = longer if len(longer) >= 3 else []
    reason = f"the bias was made from darks of {from_darks:g} s: it takes at least 3 longer ones to show a rate"
    return longer, [*left_out, *(LeftOut(name=frame.name, reason=reason) for frame in frames if frame not in longer)]


def _of_one_temperature(frames: Sequence[Frame]) -> tuple[list[Frame], list[LeftOut]]:
    """Return the frames near the median temperature with an exposure time, and why the others were left out."""
    known = sorted(t for frame in frames if (t := frame.attributes.temperature) is not None)
    middle = known[len(known) // 2] if known else None
    kept, left_out = [], []
    for frame in frames:
        temperature, seconds = frame.attributes.temperature, frame.attributes.exposure_time
        if not seconds or seconds <= 0:
            left_out.append(LeftOut(name=frame.name, reason="its exposure time is not known, or zero"))
        elif middle is not None and temperature is not None and abs(temperature - middle) > DARK_TEMPERATURE_TOLERANCE:
            reason = f"taken at {temperature:g} °C, most of the others at {middle:g} °C"
            left_out.append(LeftOut(name=frame.name, reason=reason))
        else:
            kept.append(frame)
    if len(kept) < 3 and left_out:
        first = left_out[0]
        raise UsageError(
            f"only {len(kept)} of {len(frames)} darks can be combined: {first.name} was left out, {first.reason}",
            hint="give at least three darks of one temperature",
        )
    return kept, left_out


def _gain(gain_linearity: GainLinearity | None, frame: Frame) -> tuple[float, Mapping[str, float]]:
    """Return the gain and that of each amplifier of which it is known [electron/adu]."""
    if gain_linearity is not None:
        return gain_linearity.gain, gain_linearity.amplifiers
    nominal = number_of(frame.attributes, "nominal_gain")
    return nominal if nominal and nominal > 0 else 1.0, {}


RECIPE = Recipe(
    name="Dark",
    version="2",
    function=dark,
    inputs=(
        Input("raw_dark", ("RawDark",), minimum=3, maximum=None, primary=True),
        Input("bias_frame", ("BiasFrame",)),
        Input("gain_linearity", ("GainLinearity",), minimum=0, preferred=False),
        Input("previous", ("DarkFrame",), minimum=0, preferred=False),
    ),
    outputs=("DarkFrame",),
    split_by=("instrument", "chip", "readout_mode"),
    auxiliary=True,
)
