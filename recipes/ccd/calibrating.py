"""Calibrating one raw exposure: bias, dark, flat field and gain, with the variance carried through to first order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.attributes import Section
from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.debias import DebiasedChip
from recipes.ccd.noise import of_regions
from recipes.ccd.raw import RawChip, Region
from recipes.ccd.sky import robust_noise
from recipes.frame import FloatArray, Frame, MaskArray, number_of, strip_bounds
from recipes.masks import NO_DATA
from recipes.values import GainLinearity, ReadNoise

ADC_MAXIMUM = 65535.0  # adu, of 16 bits
LEAST_FLAT = 0.05  # of the mean response: where less light arrives there is nothing to calibrate
LEAST_PAIRS = 100  # neighbours that tell how the sky scatters
LEAST_PHOTON_VARIANCE = 0.1  # adu**2
PILED_UP = 10  # pixels that hold the very highest value show where an analogue-digital converter ends
LONGEST_ALONE = 8  # saturated pixels of a column that a star's own width makes; more of them have bled
BLED_PART = 0.05  # of a bled run's length, at both ends, that is not to be trusted either
SAMPLE = 20_000  # pixels that tell the level of a frame and its noise, to a hundredth of the latter
SAMPLE_STRIPS, SAMPLE_ROWS = 16, 64  # of a frame, that tell how its sky scatters
STRIP_ROWS = 64  # that a thread calibrates at a time: what it reads of all planes stays in the processor's cache


@dataclass
class Calibrated:
    """A calibrated exposure in the making: its planes, and what was learnt on the way."""

    data: FloatArray
    variance: FloatArray
    mask: MaskArray
    unit: str = "adu"
    gain: float = 1.0  # electron for one unit of ``data``
    notes: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Noise:
    """What the noise of a chip follows from, by amplifier: gain [electron/adu] and read noise [adu]."""

    gain: Mapping[str, float]
    read_noise: Mapping[str, float]
    gain_is_measured: bool


@dataclass(frozen=True)
class Calibrations:
    """What an exposure is calibrated with, each checked to serve it; None for what there is not.

    ``pixel_maps`` are the maps of bad pixels.
    """

    bias: Frame | None = None
    dark: Frame | None = None
    flat: Frame | None = None
    illumination: Frame | None = None
    pixel_maps: Sequence[Frame] = ()


def saturation_of(raw: Frame, gain: GainLinearity | None, fraction: float) -> float:
    """Return the level of the raw frame [adu] from which a pixel is not to be trusted, see `saturation_levels`."""
    return _saturation(raw, Section(0, raw.shape[0], 0, raw.shape[1]), gain.full_well if gain else None, fraction)


def saturation_levels(chip: RawChip, gain: GainLinearity | None, fraction: float) -> dict[str, float]:
    """Return for each amplifier the level of the raw frame [adu] from which a pixel is not to be trusted.

    The least of: `fraction` of the measured full well and of 65535 (where the frame holds nothing higher), the level
    that the camera states, and the highest value of the amplifier where many pixels hold it. The full well of the chip
    is one number of electrons, so an amplifier of less gain reaches it at more adu.
    """
    levels = {}
    for region in chip.regions:
        full_well = gain.full_well if gain is not None else None
        if gain is not None and full_well:
            full_well *= gain.gain / gain.of(region.amplifier)
        levels[region.amplifier] = _saturation(chip.frame, _raw_section(chip, region), full_well, fraction)
    return levels


def _raw_section(chip: RawChip, region: Region) -> Section:
    """Return where a region lies in the raw frame."""
    first, last = (int(chip.raw_rows[row]) for row in (region.rows.start, region.rows.stop - 1))
    column = chip.raw_column(region)
    return Section(first, last + 1, column, column + region.columns.stop - region.columns.start)


def _saturation(raw: Frame, section: Section, full_well: float | None, fraction: float) -> float:
    highest, number, median, noise = _top_of(raw, section)
    levels = [] if raw.attributes.saturation is None else [raw.attributes.saturation]
    if highest <= ADC_MAXIMUM:
        levels.append(fraction * ADC_MAXIMUM)
    if full_well:
        levels.append(fraction * full_well)
    if number >= PILED_UP and highest - median > 30 * noise:
        levels.append(highest)
    return float(min(levels, default=np.inf))


def _top_of(raw: Frame, section: Section) -> tuple[float, int, float, float]:
    """Return the highest value of a section, how many pixels hold it, and the median and noise of a sample.

    It is enough to know that as many hold it as pile up.
    """
    from recipes.ccd.kernels.calibration import count_of, frozen, top_of

    step = max(1, section.shape[1] * section.shape[0] // SAMPLE)
    strips = strip_bounds(section.shape[0], STRIP_ROWS)

    def values_of(rows: tuple[int, int]) -> FloatArray:
        return frozen(raw.section(Section(section.y0 + rows[0], section.y0 + rows[1], 0, raw.shape[1])))

    def top(rows: tuple[int, int]) -> tuple[float, FloatArray]:
        values = values_of(rows)
        first = -rows[0] * section.shape[1] % step  # every so many pixels of the section, across its strips
        places = np.arange(first, (rows[1] - rows[0]) * section.shape[1], step)
        sample = values[places // section.shape[1], section.x0 + places % section.shape[1]]
        return float(top_of(values, section.x0, section.x1)), sample[np.isfinite(sample)]

    tops = threads.each(top, strips)
    highest, number = max(found[0] for found in tops), 0
    for rows, found in zip(strips, tops, strict=True):
        if found[0] == highest and number < PILED_UP:
            number += count_of(values_of(rows), section.x0, section.x1, np.float32(highest), PILED_UP)
    pixels = np.concatenate([found[1] for found in tops])
    if not pixels.size:
        pixels = np.zeros(1, np.float32)
    median = float(np.median(pixels))
    return highest, number, median, max(robust_noise(pixels, median), 1.0)


def noise_of(
    chip: RawChip, made: Calibrated, bias: Frame | None, gain: GainLinearity | None, read_noise: ReadNoise | None
) -> Noise:
    """Find gain and read noise of each amplifier: as measured, else as stated, else from the frame itself."""
    noise, notes = find_noise(chip, lambda: [(made.data, made.mask)], bias, gain, read_noise)
    made.notes += notes
    return noise


Pieces = Sequence[tuple[FloatArray, MaskArray]]


def find_noise(
    chip: RawChip,
    sky: Callable[[], Pieces],
    bias: Frame | None,
    gain: GainLinearity | None,
    read_noise: ReadNoise | None,
) -> tuple[Noise, list[str]]:
    """Find gain and read noise of each amplifier: as measured, else as stated, else from the frame itself.

    `sky` gives pieces of the frame without its levels [adu], and their masks; it is asked only where nothing is stated.
    Returns the noise, and lines for a person.
    """
    notes: list[str] = []
    noise, source = _read_noise(chip, bias, read_noise)
    no_read_noise = read_noise is None and not source
    no_gain = gain is None and not chip.frame.attributes.nominal_gain
    level, scatter = _sky_scatter(sky()) if no_read_noise or no_gain else (0.0, 0.0)
    gains = _gain(chip, notes, gain, (level, scatter**2 - float(np.mean(list(noise.values()))) ** 2))
    if no_read_noise:
        # What the sky scatters more than its photons do: never less noise than one sees.
        photons = max(level, 0.0) / float(np.mean(list(gains.values())))
        noise = dict.fromkeys(noise, float(np.sqrt(max(scatter**2 - photons, 0.0))))
        source = "the scatter of the sky"
    if source:
        notes.append(f"Read noise from {source}: {np.mean(list(noise.values())):.3g} adu.")
    return Noise(gains, noise, gain is not None), notes


def _gain(chip: RawChip, notes: list[str], gain: GainLinearity | None, sky: tuple[float, float]) -> dict[str, float]:
    """Return the gain of each amplifier; `sky` is its level and the variance that its photons make [adu]."""
    if gain is not None:
        return of_regions(chip.regions, gain.amplifiers, gain.gain)
    stated = chip.frame.attributes.nominal_gain
    if stated is not None and stated > 0:
        notes.append(f"Gain not measured: noise from the stated {stated:g} electron/adu, pixels in adu.")
        return of_regions(chip.regions, {}, stated)
    level, variance = sky
    # Where the sky is too dark to tell, an electron an adu is as good as any.
    estimate = level / variance if level > 0 and variance > LEAST_PHOTON_VARIANCE else 1.0
    notes.append(f"Gain unknown: noise as of {estimate:.3g} electron/adu, from the sky's scatter; pixels in adu.")
    return of_regions(chip.regions, {}, estimate)


def _read_noise(chip: RawChip, bias: Frame | None, read_noise: ReadNoise | None) -> tuple[dict[str, float], str]:
    names = [region.amplifier for region in chip.regions]
    if read_noise is not None:
        return of_regions(chip.regions, read_noise.amplifiers, read_noise.read_noise), ""
    of_bias = number_of(bias.attributes, "read_noise") if bias is not None else None
    if of_bias:
        return dict.fromkeys(names, of_bias), "the bias"
    found = {}
    for region in chip.regions:
        if region.overscan is None:
            break
        section = region.overscan
        pixels = chip.frame.strip(section.y0, section.y1).data[:, section.x0 : section.x1]
        if min(pixels.shape) < 4:
            break
        axis = 1 if pixels.shape[0] >= pixels.shape[1] else 0
        found[region.amplifier] = clipped_statistics(pixels - np.median(pixels, axis=axis, keepdims=True)).stdev
    if len(found) == len(names) and min(found.values()) > 0:
        return found, "the overscan"
    stated = chip.frame.attributes.nominal_read_noise
    if stated:
        return dict.fromkeys(names, stated), "the camera's own statement"
    return dict.fromkeys(names, 0.0), ""


def _sky_scatter(pieces: Pieces) -> tuple[float, float]:
    """Return the level of the sky and its scatter [adu], from differences of neighbours, which see no slope."""
    levels, differences = [], []
    for data, mask in pieces:
        good = mask == 0
        levels.append(data[good])
        differences.append((data[:, 1:] - data[:, :-1])[good[:, 1:] & good[:, :-1]])
    steps = np.concatenate(differences)
    if steps.size < LEAST_PAIRS:
        return 0.0, 0.0
    return float(np.median(np.concatenate(levels))), clipped_statistics(steps, 4.0).stdev / float(np.sqrt(2))


def sampled_levels(chip: DebiasedChip) -> Pieces:
    """Return strips all over the frame without overscan, bias and dark current [adu], and where they are bad."""
    height = chip.shape[0]
    number = SAMPLE_STRIPS if height > SAMPLE_STRIPS * SAMPLE_ROWS else 1
    rows = SAMPLE_ROWS if number > 1 else height
    starts = [round(index * (height - rows) / max(number - 1, 1)) for index in range(number)]
    pieces = []
    for y0 in starts:
        data, mask = chip.strip(y0, y0 + rows)
        raw_mask = np.where(np.isfinite(data), mask, mask | np.uint16(NO_DATA)).astype(np.uint16)
        pieces.append((np.where(np.isfinite(data), data, np.float32(0)), raw_mask))
    return pieces


def calibrate(chip: DebiasedChip, given: Calibrations, noise: Noise, saturation: Mapping[str, float]) -> Calibrated:
    """Return the exposure calibrated in one pass, in electrons where the gain is measured.

    The Poisson noise is that of what the detector collected, dark current included, so it is taken before the flat.

    Parameters
    ----------
    chip : DebiasedChip
        The raw exposure, with its overscan.
    given : Calibrations
        All that it is calibrated with; bias and dark are those of `chip`.
    noise : Noise
        Gain and read noise by amplifier.
    saturation : mapping
        Level from which a pixel is saturated [adu], by amplifier.

    Returns
    -------
    Calibrated
        Data, variance and mask.
    """
    from recipes.ccd.kernels import calibration as kernels

    shape = chip.shape
    made = Calibrated(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16))
    kernel: Any = kernels.calibrate
    scales = _scales(chip, noise, flattened=given.flat is not None)
    numbers = [
        _numbers(chip, region, noise, saturation[region.amplifier], scale)
        for region, scale in zip(chip.regions, scales, strict=True)
    ]
    levels = [_levels(chip, index) for index in range(len(chip.regions))]
    neutral = [kernels.frozen(np.full((1, shape[1]), value, np.float32)) for value in (0.0, 1.0)]

    def calibrate_rows(rows: tuple[int, int]) -> NDArray[np.int32]:
        planes, bits = _calibration_rows(given, *rows, neutral)
        raw, raw_bits = None, None
        raw_rows: tuple[int, int] = (-1, -1)
        for region, own, (row_level, column_level) in zip(chip.regions, numbers, levels, strict=True):
            top, bottom = max(region.rows.start, rows[0]), min(region.rows.stop, rows[1])
            if top >= bottom:
                continue
            wanted = int(chip.raw_rows[top]), int(chip.raw_rows[bottom - 1]) + 1
            if wanted != raw_rows:
                raw, _, raw_bits = chip.frame.planes(*wanted)
                raw_rows = wanted
            place = (top, top - rows[0], bottom - top, region.columns.start, region.columns.stop,
                     chip.raw_column(region))  # fmt: skip
            here = bits if raw_bits is None else _with_raw_bits(bits, raw_bits, shape[1], place)
            of_rows = row_level[top - region.rows.start :] if len(row_level) > 1 else row_level
            kernel(
                kernels.frozen(np.asarray(raw)), kernels.frozen(of_rows), column_level, *planes, kernels.frozen(here),
                own, np.array(place), made.data, made.variance, made.mask,
            )  # fmt: skip
        return np.asarray(kernels.saturated_in(made.mask, *rows))

    saturated = np.concatenate(threads.each(calibrate_rows, strip_bounds(shape[0], STRIP_ROWS)))
    kernels.grow_saturated(made.mask, saturated, LONGEST_ALONE, BLED_PART)
    made.unit = "electron" if noise.gain_is_measured else "adu"
    made.gain = 1.0 if noise.gain_is_measured else float(np.mean(list(noise.gain.values())))
    return made


def _scales(chip: DebiasedChip, noise: Noise, *, flattened: bool) -> list[float]:
    """Return what each region's values are multiplied with, to be in the product's unit.

    A flat is made of raw frames [adu]: it holds the ratios of the amplifiers' gains already. What it divided gets one
    gain for all, that of a pixel of its mean: 1 over the mean of 1 / gain.
    """
    if not noise.gain_is_measured:
        return [1.0] * len(chip.regions)
    gains = [noise.gain[region.amplifier] for region in chip.regions]
    if not flattened:
        return gains
    pixels = [
        (region.rows.stop - region.rows.start) * (region.columns.stop - region.columns.start) for region in chip.regions
    ]
    return [float(1 / np.average(1 / np.asarray(gains), weights=pixels))] * len(gains)


def _numbers(chip: DebiasedChip, region: Region, noise: Noise, saturation: float, scale: float) -> FloatArray:
    gain, read_noise = noise.gain[region.amplifier], noise.read_noise[region.amplifier]
    read_variance = read_noise**2 * (1 + chip.overscan_noise(region))  # of a pixel and of its overscan's level
    return np.array([chip.dark_seconds, saturation, gain, read_variance, scale, LEAST_FLAT], np.float32)


def _levels(chip: RawChip, index: int) -> tuple[FloatArray, FloatArray]:
    """Return the overscan level of a region as what differs by row and what differs by column [adu]."""
    from recipes.ccd.kernels.calibration import frozen

    level = chip.level(index) if chip.has_overscan else np.zeros((1, 1), np.float32)
    columns = chip.regions[index].columns
    width = columns.stop - columns.start
    if level.shape[1] > 1:
        return np.zeros(1, np.float32), frozen(np.ascontiguousarray(level[0], np.float32))
    return np.ascontiguousarray(level[:, 0], np.float32), frozen(np.zeros(width, np.float32))


def _calibration_rows(
    given: Calibrations, y0: int, y1: int, neutral: Sequence[FloatArray]
) -> tuple[list[NDArray[Any]], MaskArray]:
    """Return rows of bias, dark, flat and illumination with their variances, neutral where not given, and all bits."""
    from recipes.ccd.kernels.calibration import add_bits, frozen

    zeros, ones = neutral
    planes: list[NDArray[Any]] = []
    bits: MaskArray = np.zeros((y1 - y0, zeros.shape[1]), np.uint16)
    for frame, of_what, missing in (
        (given.bias, NO_DATA, zeros), (given.dark, NO_DATA, zeros), (given.flat, 0xFFFF, ones),
        (given.illumination, NO_DATA, ones),
    ):  # fmt: skip
        data, variance, mask = (None, None, None) if frame is None else frame.planes(y0, y1)
        planes += [missing if data is None else frozen(data), zeros if variance is None else frozen(variance)]
        if mask is not None:
            add_bits(bits, frozen(mask), np.uint16(of_what), y1 - y0)
    for pixel_map in given.pixel_maps:
        mask = pixel_map.planes(y0, y1)[2]
        if mask is not None:
            add_bits(bits, frozen(mask), np.uint16(0xFFFF), y1 - y0)
    return planes, bits


def _with_raw_bits(bits: MaskArray, raw_bits: MaskArray, width: int, place: tuple[int, ...]) -> MaskArray:
    """Return the bits of a strip with those of the raw frame's own mask in one amplifier's rows and columns."""
    _, top, rows, x0, x1, raw_x = place
    whole = np.array(np.broadcast_to(bits, (max(bits.shape[0], top + rows), width)))
    whole[top : top + rows, x0:x1] |= raw_bits[:, raw_x : raw_x + x1 - x0]
    return whole


def weight_of(made: Calibrated) -> FloatArray:
    """Return the inverse variance, zero where the mask says anything or the variance is not known."""
    from recipes.ccd.kernels.calibration import weigh

    weight = np.empty_like(made.variance)
    strips = strip_bounds(weight.shape[0], STRIP_ROWS)
    threads.each(lambda rows: weigh(made.variance, made.mask, weight, *rows), strips)
    return weight
