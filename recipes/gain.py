"""Gain: gain, linearity and full well of a chip from the photon transfer of pairs of flats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np

from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.debias import DebiasedChip, check_serves, usable_dark
from recipes.ccd.noise import Transfer, of_regions, photon_transfer
from recipes.ccd.raw import OverscanMethod, check_alike
from recipes.ccd.sub_windows import central_quarter
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray, number_of
from recipes.job import LeftOut
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import tracked
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.tables import Column, Table
from recipes.values import GainLinearity, ReadNoise

# Pairs whose levels differ by more are not scaled to each other, and the range of levels from which a slope is fitted.
LEVEL_MATCH = 0.02
# The twilight fades: where no two of its flats are that near, those that differ by less than this factor are scaled.
TWILIGHT_FACTOR = 2.0
LEAST_LEVEL_RANGE = 3.0
# Part of the full well below which the transfer curve is a straight line to about a percent.
STRAIGHT_PART = 0.7


@dataclass(frozen=True)
class _Flat:
    frame: Frame
    chip: DebiasedChip
    level: float


@dataclass(frozen=True)
class _Pair:
    first: _Flat
    second: _Flat
    transfers: dict[str, Transfer]

    @property
    def level(self) -> float:
        return float(np.mean([transfer.level for transfer in self.transfers.values()]))

    @property
    def seconds(self) -> float:
        return 0.5 * sum(flat.frame.attributes.exposure_time or np.nan for flat in (self.first, self.second))


def gain(
    raw_flat: Sequence[Frame],
    bias_frame: Frame | None = None,
    read_noise: ReadNoise | None = None,
    dark_frame: Frame | None = None,
    previous: GainLinearity | None = None,
    *,
    rejection_threshold: Annotated[float, Unit("sigma"), Bounds(3, 50)] = 5.0,
    maximum_iterations: Annotated[int, Bounds(1, 50)] = 5,
    overscan_correction: OverscanMethod = 6,
    exposure_match: Annotated[float, Bounds(0, 1)] = 0.04,
) -> Outcome:
    r"""Measure gain, linearity and full well of a chip from the noise of pairs of flats.

    Parameters
    ----------
    raw_flat : sequence of Frame
        At least two dome or twilight flats of one chip [adu]; pairs of many exposure times give the linearity too.
    bias_frame : Frame, optional
        Master bias [adu]; a chip with overscan does without it.
    read_noise : ReadNoise, optional
        Read noise of the chip [adu]; without it the nominal one is taken.
    dark_frame : Frame, optional
        Dark current [adu/s], scaled by the exposure time.
    previous : GainLinearity, optional
        The valid one so far, to compare with.
    rejection_threshold : float, optional
        Pixels of a difference farther than this from its median are rejected.
    maximum_iterations : int, optional
        Rounds of rejection at most.
    overscan_correction : int, optional
        Overscan method, see the recipe Bias.
    exposure_match : float, optional
        Largest relative difference of the exposure times in a pair of dome flats.

    Returns
    -------
    Outcome
        One GainLinearity: gain [electron/adu] with its error, of each amplifier where there are several, and the curve.

    Raises
    ------
    UsageError
        No pair of equal level, or neither bias nor overscan to tell the level from.

    Notes
    -----
    Photon transfer (Janesick 2001, Scientific Charge-Coupled Devices, section 2.2): each pair is scaled to one level in
    each sub-window. Where the levels span a factor of 3 or more a line is fitted to variance against signal: gain is
    1/slope, the read noise comes from the intercept. Where they do not, the gain is the summed signal over the
    difference variance less :math:`2\sigma_{RN}^2`, and no linearity is claimed.
    """
    check_alike(raw_flat, minimum=2, what="Gain")
    dark_frame, left_out = usable_dark(dark_frame, raw_flat)
    chips = [DebiasedChip(frame, overscan_correction, bias_frame, dark_frame) for frame in raw_flat]
    first = chips[0]
    if bias_frame is None and not first.has_overscan:
        raise UsageError(
            f"the level of {first.name} cannot be known: there is neither a bias nor an overscan",
            hint="make a BiasFrame first, or give the sections of the chip's overscan",
        )
    noises, without = _read_noises(first, read_noise, bias_frame)
    flats = [_Flat(chip.frame, chip, _level(chip)) for chip in tracked(chips, "measuring levels", 0.0, 0.2)]
    pairs, unpaired = _pairs(flats, exposure_match)
    if not pairs and all(flat.frame.kind == "RawTwilightFlat" for flat in flats):
        pairs, unpaired = _pairs(flats, exposure_match, TWILIGHT_FACTOR - 1)
    curves = [
        _Pair(one, two, found)
        for one, two in tracked(pairs, "measuring pairs", 0.2, 0.9)
        if (found := _transfers(one, two, rejection_threshold, maximum_iterations))
    ]
    if not curves:
        raise UsageError(
            f"no two of the {len(raw_flat)} flats make a pair: "
            + (
                "; ".join(f"{entry.name} {entry.reason}" for entry in unpaired[:3])
                or f"{raw_flat[0].name} and others have no good pixels in common"
            ),
            hint="take flats in pairs of one exposure time, below saturation",
        )
    of_amplifier = {
        name: _fit([pair.transfers[name] for pair in curves if name in pair.transfers], noises[name])
        for name in (region.amplifier for region in first.regions)
    }
    return _outcome(raw_flat, curves, of_amplifier, previous, left_out + unpaired, without)


@dataclass(frozen=True)
class _Fit:
    gain: float
    error: float
    read_noise: float | None
    full_well: float | None
    squared: float = 0.0

    def variance(self, transfer: Transfer) -> float:
        """Return the variance that the fitted line gives at a pair's signal [adu²]."""
        return float(transfer.signal / self.gain + transfer.noise_factor * self.squared)


def _read_noises(
    chip: DebiasedChip, read_noise: ReadNoise | None, bias_frame: Frame | None
) -> tuple[dict[str, float], list[str]]:
    if read_noise is not None:
        check_serves(read_noise, chip.frame)
        return of_regions(chip.regions, read_noise.amplifiers, read_noise.read_noise), []
    known = bias_frame.number("read_noise") if bias_frame is not None else None
    nominal = known or number_of(chip.frame.attributes, "nominal_read_noise")
    # Of a well-exposed flat the read noise is a part in a thousand of the variance.
    return of_regions(chip.regions, {}, nominal or 0.0), [] if nominal else ["any known read noise"]


def _level(chip: DebiasedChip) -> float:
    """Return the median level of the middle of the chip [adu]."""
    rows, columns = central_quarter(chip.shape)
    data, mask = chip.strip(rows.start, rows.stop)
    return clipped_statistics(data[:, columns][mask[:, columns] == 0]).median


def _pairs(
    flats: Sequence[_Flat], exposure_match: float, level_match: float = LEVEL_MATCH
) -> tuple[list[tuple[_Flat, _Flat]], list[LeftOut]]:
    """Return neighbours in level that make a pair, and the flats that have no partner with the reason."""
    groups: dict[tuple[str, str | None], list[_Flat]] = {}
    for flat in flats:
        groups.setdefault((flat.frame.kind, flat.frame.attributes.filter), []).append(flat)
    pairs: list[tuple[_Flat, _Flat]] = []
    reasons: dict[str, str] = {}
    for members in groups.values():
        ordered = sorted(members, key=lambda flat: (flat.level, flat.frame.name))
        if len(ordered) == 1:
            reasons[ordered[0].frame.name] = "is the only one of its kind and filter"
        for one, two in pairwise(ordered):
            reason = _mismatch(one, two, exposure_match, level_match)
            if not reason:
                pairs.append((one, two))
                continue
            reasons.setdefault(one.frame.name, reason)
            reasons.setdefault(two.frame.name, reason)
    paired = {flat.frame.name for pair in pairs for flat in pair}
    return pairs, [LeftOut(name=name, reason=reason) for name, reason in reasons.items() if name not in paired]


def _mismatch(one: _Flat, two: _Flat, exposure_match: float, level_match: float) -> str:
    """Return why two flats are no pair, or nothing."""
    if not one.level > 0:
        return f"has no light: its level is {one.level:.4g} adu"
    if two.level / one.level - 1 > level_match:
        return (
            f"has no partner within {level_match:.0%} of its level (nearest: {one.level:.5g} and {two.level:.5g} adu)"
        )
    first, second = one.frame.attributes.exposure_time, two.frame.attributes.exposure_time
    # The twilight fades: two of its flats have one level just because their times differ.
    if one.frame.kind == "RawTwilightFlat" or first is None or second is None:
        return ""
    if abs(first - second) > exposure_match * max(first, second):
        return f"has no partner within {exposure_match:.0%} of its exposure time ({first:g} and {second:g} s)"
    return ""


def _transfers(one: _Flat, two: _Flat, threshold: float, iterations: int) -> dict[str, Transfer]:
    """Return the transfer of each amplifier that has one."""
    parts: list[tuple[FloatArray, MaskArray]] = [flat.chip.strip(0, flat.chip.shape[0]) for flat in (one, two)]
    good = (parts[0][1] | parts[1][1]) == 0
    found = {
        region.amplifier: photon_transfer(
            parts[0][0][region.slices], parts[1][0][region.slices], good[region.slices], threshold, iterations
        )
        for region in one.chip.regions
    }
    return {name: transfer for name, transfer in found.items() if transfer is not None}


def _fit(transfers: Sequence[Transfer], read_noise: float) -> _Fit:
    if not transfers:
        return _Fit(np.nan, np.nan, None, None)
    full_well = _full_well(transfers)
    straight = [t for t in transfers if full_well is None or t.level < STRAIGHT_PART * full_well] or list(transfers)
    levels = np.array([transfer.level for transfer in straight])
    weights = 1 / np.array([transfer.variance * np.sqrt(2 / transfer.pixels) for transfer in straight])
    if levels.max() >= LEAST_LEVEL_RANGE * levels.min() and len(straight) >= 3:
        return _slope(straight, weights, full_well)
    photons = sum(t.pixels * (t.variance - t.noise_factor * read_noise**2) for t in straight)
    value = sum(t.pixels * t.signal for t in straight) / photons if photons > 0 else np.nan
    gains = np.array([transfer.gain(read_noise) for transfer in straight])
    of_count = value * np.sqrt(2 / sum(transfer.pixels for transfer in straight))
    of_scatter = float(np.nanstd(gains, ddof=1)) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return _Fit(value, float(max(of_count, of_scatter)), None, full_well, read_noise**2)


def _slope(transfers: Sequence[Transfer], weights: np.typing.NDArray[np.float64], full_well: float | None) -> _Fit:
    """Fit variance = signal / gain + noise_factor × RN² by weighted least squares."""
    design = np.array([[transfer.signal, transfer.noise_factor] for transfer in transfers])
    values = np.array([transfer.variance for transfer in transfers])
    scaled, target = design * weights[:, np.newaxis], values * weights
    (slope, squared), *_ = np.linalg.lstsq(scaled, target, rcond=None)
    covariance = np.linalg.inv(scaled.T @ scaled)
    residual = target - scaled @ np.array([slope, squared])
    reduced = max(1.0, float(residual @ residual) / max(1, len(values) - 2))
    value = 1 / slope if slope > 0 else np.nan
    error = value**2 * np.sqrt(covariance[0, 0] * reduced)
    noise = float(np.sqrt(squared)) if squared > 0 else None
    return _Fit(float(value), float(error), noise, full_well, float(squared))


def _full_well(transfers: Sequence[Transfer]) -> float | None:
    """Return the level from which the variance falls although the signal grows, None where it never does."""
    ordered = sorted(transfers, key=lambda transfer: transfer.level)
    for lower, higher in pairwise(ordered):
        expected = lower.variance * higher.signal / lower.signal
        if higher.level > 1.05 * lower.level and higher.variance < 0.8 * expected and higher.variance < lower.variance:
            return lower.level
    return None


def _outcome(
    frames: Sequence[Frame],
    pairs: Sequence[_Pair],
    fits: dict[str, _Fit],
    previous: GainLinearity | None,
    left_out: list[LeftOut],
    without: list[str],
) -> Outcome:
    gains = np.array([fit.gain for fit in fits.values()])
    if not np.isfinite(gains).any():
        raise UsageError(
            f"{frames[0].name} and the other {len(frames) - 1} flats show no more noise than read noise: "
            "no gain can be measured",
            hint="take flats of some thousand adu, below saturation",
        )
    value = float(np.nanmean(gains))
    errors = np.array([fit.error for fit in fits.values()])
    error = float(np.sqrt(np.nansum(errors**2)) / np.count_nonzero(np.isfinite(gains)))
    wells = [fit.full_well for fit in fits.values() if fit.full_well is not None]
    noises = [fit.read_noise for fit in fits.values() if fit.read_noise is not None]
    ordered = sorted(pairs, key=lambda pair: pair.level)
    residuals = _linearity(ordered, min(wells) if wells else None)
    worst = float(np.nanmax(np.abs(residuals))) if residuals is not None else None
    several = {name: float(fit.gain) for name, fit in fits.items() if np.isfinite(fit.gain)} if len(fits) > 1 else {}
    content = GainLinearity(
        value, error, min(wells) if wells else None, worst, several, _curve(ordered, residuals, fits)
    )
    measured = [
        Measured("gain", value, error, "electron/adu"),
        Measured("gain_relative_error", error / value),
        Measured("pairs", len(pairs)),
        *(Measured(f"gain_{name}", number, unit="electron/adu") for name, number in several.items()),
    ]
    measured += [Measured("full_well", min(wells), unit="adu")] if wells else []
    measured += [Measured("read_noise", float(np.mean(noises)), unit="adu")] if noises else []
    measured += [Measured("nonlinearity", worst)] if worst is not None else []
    if previous is not None:
        measured.append(Measured("gain_relative_difference", value / previous.gain - 1))
    low, high = ordered[0].level, ordered[-1].level
    notes = [f"{len(pairs)} pairs of flats of {low:.5g} to {high:.5g} adu."]
    apart = max(pair.second.level / pair.first.level for pair in pairs) - 1
    if apart > LEVEL_MATCH:
        notes.append(f"No two twilight flats have one level: pairs up to {apart:.0%} apart were scaled.")
    if worst is None:
        notes.append("Levels or exposure times do not span enough: no linearity is claimed.")
    without = without + (["linearity"] if worst is None else [])
    attributes = attributes_of(frames)
    return Outcome.one(Product("GainLinearity", content, attributes, measured, without, notes), left_out)


def _linearity(pairs: Sequence[_Pair], full_well: float | None) -> np.typing.NDArray[np.float64] | None:
    """Return each pair's relative departure from level proportional to time, None where it cannot be told."""
    dome = all(flat.frame.kind != "RawTwilightFlat" for pair in pairs for flat in (pair.first, pair.second))
    filters = {pair.first.frame.attributes.filter for pair in pairs}
    levels, seconds = np.array([pair.level for pair in pairs]), np.array([pair.seconds for pair in pairs])
    usable = np.isfinite(seconds) & (seconds > 0)
    if full_well is not None:
        usable &= levels < full_well
    if not dome or len(filters) > 1 or len(set(np.round(seconds[usable], 2))) < 3:
        return None
    if levels[usable].max() < LEAST_LEVEL_RANGE * levels[usable].min():
        return None
    rate = np.sum(levels[usable] * seconds[usable]) / np.sum(seconds[usable] ** 2)
    return np.where(usable, levels / np.where(usable, rate * seconds, 1) - 1, np.nan)


def _curve(pairs: Sequence[_Pair], residuals: np.typing.NDArray[np.float64] | None, fits: Mapping[str, _Fit]) -> Table:
    """Return the transfer curve, one row a pair and amplifier, with what is to be plotted."""
    rows = [
        (name, pair.seconds, transfer.level, transfer.signal, transfer.variance,
         fits[name].variance(transfer), transfer.variance - fits[name].variance(transfer),
         np.nan if residuals is None else residuals[number])
        for number, pair in enumerate(pairs)
        for name, transfer in pair.transfers.items()
    ]  # fmt: skip
    names, *numbers = zip(*rows, strict=True)
    labels = (
        ("EXPTIME", "s", "mean exposure time of the pair"),
        ("LEVEL", "adu", "mean level of the first flat"),
        ("SIGNAL", "adu", "summed signal of the pair"),
        ("VARIANCE", "adu2", "variance of the scaled difference"),
        ("FIT", "adu2", "variance of the fitted line at that signal"),
        ("EXCESS", "adu2", "VARIANCE less FIT"),
        ("RESIDUAL", "", "relative departure from linearity"),
    )
    columns = {"AMPLIFIER": Column(np.array(names, "S16"), "", "amplifier")}
    for (label, unit, text), values in zip(labels, numbers, strict=True):
        columns[label] = Column(np.array(values, np.float64), unit, text)
    linear = residuals is not None and np.isfinite(residuals).any()
    plots = (
        ("SIGNAL", "VARIANCE"),
        ("SIGNAL", "EXCESS"),
        ("EXPTIME", "LEVEL"),
        *((("LEVEL", "RESIDUAL"),) if linear else ()),
    )
    return Table(columns, name="TRANSFER", plots=plots)


RECIPE = Recipe(
    name="Gain",
    version="2",
    function=gain,
    inputs=(
        Input("raw_flat", ("RawDomeFlat", "RawTwilightFlat"), minimum=2, maximum=None, primary=True),
        Input("bias_frame", ("BiasFrame",), minimum=0),
        Input("read_noise", ("ReadNoise",), minimum=0),
        Input("dark_frame", ("DarkFrame",), minimum=0, preferred=False),
        Input("previous", ("GainLinearity",), minimum=0, preferred=False),
    ),
    outputs=("GainLinearity",),
    split_by=("instrument", "chip", "readout_mode"),
)
