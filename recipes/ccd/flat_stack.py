"""Dome and twilight flats: debiased, normalised, stacked with rejection, 1 on average in the central quarter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.debias import DebiasedChip, check_serves, usable_dark
from recipes.ccd.noise import of_regions, photon_transfer, read_noise_with
from recipes.ccd.raw import check_alike
from recipes.ccd.stacking import StackResult, StackRules, clipped_stack
from recipes.ccd.sub_windows import central_quarter, sub_window_difference, sub_window_statistics
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray, number_of
from recipes.job import LeftOut
from recipes.masks import COLD, HOT, NO_DATA, SATURATED
from recipes.products import Product, attributes_of
from recipes.progress import tracked
from recipes.quality import Measured
from recipes.values import GainLinearity

# Part of the saturation level up to which a flat is used, where no limit is given.
SAFE_PART_OF_SATURATION = 0.9
# A flat with more saturated pixels than this part is left out: bad columns are fewer.
MOST_SATURATED = 0.05


@dataclass(frozen=True)
class FlatInputs:
    """What a flat is made with besides its raw frames."""

    bias_frame: Frame | None
    hot_pixel_map: Frame | None
    gain_linearity: GainLinearity | None
    cold_pixel_map: Frame | None
    dark_frame: Frame | None
    previous: Frame | None


@dataclass(frozen=True)
class FlatDirections:
    """The parameters of a flat."""

    sigma_clip: float
    overscan_correction: int
    minimum_level: float
    maximum_level: float


@dataclass(frozen=True)
class _Usable:
    chip: DebiasedChip
    level: float
    raw_mean: float


def make_flat(
    kind: str, raw: Sequence[Frame], given: FlatInputs, directions: FlatDirections
) -> tuple[Product, list[LeftOut]]:
    """Return the master flat of `kind` and what was left out.

    Notes
    -----
    Each frame is divided by its clipped mean m over the good pixels of the central quarter. Rejection is about the
    median with the variance (f m / g + RN²) / m² of a pixel of response f, gain g and read noise RN (each amplifier's
    own). The mean is weighted by m, as photon noise asks for; :class:`~recipes.ccd.stacking.StackResult` gives its
    variance.
    """
    check_alike(raw, minimum=1, what=kind, same_filter=True)
    dark_frame, left_out = usable_dark(given.dark_frame, raw)
    chips = [DebiasedChip(frame, directions.overscan_correction, given.bias_frame, dark_frame) for frame in raw]
    first = chips[0]
    if given.bias_frame is None and not first.has_overscan:
        raise UsageError(
            f"the level of {first.name} cannot be known: there is neither a bias nor an overscan",
            hint="make a BiasFrame first, or give the sections of the chip's overscan",
        )
    bad = _bad_pixels(first, given)
    usable, refused = _usable(chips, bad, directions)
    left_out += refused
    gains, without = _gains(usable, given.gain_linearity)
    stack = _stack(usable, bad, gains, given.bias_frame, directions.sigma_clip)
    data, variance, mask = stack.data, stack.variance, stack.mask
    good = mask == 0
    centre = central_quarter(first.shape)
    scale = clipped_statistics(data[centre][good[centre]]).mean
    if not scale > 0:
        raise UsageError(f"the central quarter of {kind} from {first.name} has no good pixel")
    data /= np.float32(scale)
    variance /= np.float32(scale) ** 2
    attributes = attributes_of(
        [entry.chip.frame for entry in usable], overscan_correction=first.method, number_of_frames=len(usable)
    )
    measured = _measure(data, good, usable, stack.rejected, given.previous)
    levels = ", ".join(f"{entry.chip.name} {entry.level:.5g}" for entry in usable)
    notes = [f"Levels in the central quarter [adu]: {levels}."]
    without += ["overscan"] if directions.overscan_correction and not first.has_overscan else []
    without += ["rejection (fewer than three frames)"] if len(usable) < 3 else []
    content = Frame(data, variance=variance, mask=mask, unit="", name=kind)
    return Product(kind, content, attributes, measured, without, notes), left_out


def _bad_pixels(chip: DebiasedChip, given: FlatInputs) -> MaskArray:
    """Return the bits of the pixel maps."""
    bits = np.zeros(chip.shape, np.uint16)
    for pixel_map, bit in ((given.hot_pixel_map, HOT), (given.cold_pixel_map, COLD)):
        if pixel_map is not None:
            check_serves(pixel_map, chip.frame, chip.shape)
            bits |= pixel_map.mask & np.uint16(bit)
    return bits


def _usable(
    chips: Sequence[DebiasedChip], bad: MaskArray, directions: FlatDirections
) -> tuple[list[_Usable], list[LeftOut]]:
    """Return the frames whose level can be used, and why the others cannot."""
    usable, left_out = [], []
    for chip in tracked(chips, "measuring levels", 0.0, 0.2):
        rows, columns = central_quarter(chip.shape)
        data, mask = chip.strip(rows.start, rows.stop)
        bits = mask[:, columns] | bad[rows, columns]
        values = data[:, columns]
        statistics = clipped_statistics(values[bits == 0])
        saturated = float(np.mean((bits & np.uint16(SATURATED)) != 0))
        reason = _unusable(statistics.mean, saturated, chip, directions)
        if reason:
            left_out.append(LeftOut(name=chip.name, reason=reason))
        else:
            raw_mean = clipped_statistics(chip.frame.strip(rows.start, rows.stop).data).mean
            usable.append(_Usable(chip, statistics.mean, raw_mean))
    if not usable:
        raise UsageError(
            f"none of the {len(chips)} flats can be used: {left_out[0].name}: {left_out[0].reason}",
            hint="change minimum_level or maximum_level, or take flats of another exposure time",
        )
    return usable, left_out


def _unusable(level: float, saturated: float, chip: DebiasedChip, directions: FlatDirections) -> str:
    """Return why a flat of that level is of no use, or nothing."""
    saturation = chip.saturation
    highest = directions.maximum_level or (SAFE_PART_OF_SATURATION * saturation if saturation else np.inf)
    if saturated > MOST_SATURATED:
        return f"{saturated:.0%} of the central quarter is saturated"
    if not level >= directions.minimum_level:
        return f"its level of {level:.5g} adu is below {directions.minimum_level:g}"
    if level > highest:
        return f"its level of {level:.5g} adu is above {highest:g}"
    return ""


def _gains(usable: Sequence[_Usable], gain_linearity: GainLinearity | None) -> tuple[dict[str, float], list[str]]:
    """Return the gain of each amplifier: measured, nominal, or from the first pair of these flats themselves."""
    chip = usable[0].chip
    if gain_linearity is not None:
        check_serves(gain_linearity, chip.frame)
        return of_regions(chip.regions, gain_linearity.amplifiers, gain_linearity.gain), []
    nominal = number_of(chip.frame.attributes, "nominal_gain")
    if nominal is not None and nominal > 0:
        return of_regions(chip.regions, {}, nominal), []
    found: dict[str, float] = {}
    if len(usable) > 1:
        (one, one_mask), (two, two_mask) = (entry.chip.strip(0, chip.shape[0]) for entry in usable[:2])
        for region in chip.regions:
            part = region.slices
            transfer = photon_transfer(one[part], two[part], (one_mask[part] | two_mask[part]) == 0)
            if transfer is not None and np.isfinite(transfer.gain(0.0)):
                found[region.amplifier] = transfer.gain(0.0)
    return of_regions(chip.regions, found, 1.0), ["any known gain"]


def _stack(
    usable: Sequence[_Usable], bad: MaskArray, gains: Mapping[str, float], bias_frame: Frame | None, sigma_clip: float
) -> StackResult:
    """Return the mean of the normalised frames; a pixel without light is no data."""
    chips = [entry.chip for entry in usable]
    rules = StackRules(
        sigma_clip,
        read_noise_with(bias_frame, chips[0], 0.0),
        {name: 1 / gain for name, gain in gains.items()},
        norms=[entry.level for entry in usable],
        saturated_unfit=True,
        empty_value=1.0,
    )
    stack = clipped_stack(chips, rules, "stacking", 0.2, 0.8)
    stack.mask[...] |= bad
    dark = stack.data <= 0
    if dark.any():
        stack.mask[dark] |= np.uint16(NO_DATA)
    return stack


def _measure(
    data: FloatArray,
    good: np.typing.NDArray[np.bool_],
    usable: Sequence[_Usable],
    rejected: int,
    previous: Frame | None,
) -> list[Measured]:
    centre = central_quarter((data.shape[0], data.shape[1]))
    statistics = clipped_statistics(data[centre][good[centre]])
    windows = sub_window_statistics(data, good)
    means = [entry.raw_mean for entry in usable]
    measured = [
        Measured("raw_mean_minimum", min(means), unit="adu"),
        Measured("raw_mean_maximum", max(means), unit="adu"),
        Measured("central_mean", statistics.mean, statistics.stdev / max(statistics.count, 1) ** 0.5),
        Measured("stdev", clipped_statistics(data[good]).stdev),
        Measured("subwindow_flatness", windows.flatness),
        Measured("subwindow_stdev", windows.largest_stdev),
        Measured("outliers", rejected),
        Measured("outlier_fraction", rejected / (data.size * len(usable))),
    ]
    if previous is not None:
        if previous.shape != data.shape:
            raise UsageError(f"the previous flat {previous.name} has another shape: {previous.shape}")
        measured.append(Measured("subwindow_difference", sub_window_difference(data, previous.data, good)))
    return measured
