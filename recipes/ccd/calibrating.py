"""Calibrating one raw exposure: bias, dark, flat field and gain, with the variance carried through to first order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.debias import DebiasedChip
from recipes.ccd.noise import of_regions, read_noise_of
from recipes.ccd.raw import RawChip
from recipes.ccd.sky import robust_noise
from recipes.frame import FloatArray, Frame, MaskArray, number_of, rows_of_strips, strip_bounds
from recipes.masks import NO_DATA, SATURATED
from recipes.values import GainLinearity, ReadNoise

ADC_MAXIMUM = 65535.0  # adu, of 16 bits
LEAST_FLAT = 0.05  # of the mean response: where less light arrives there is nothing to calibrate
LEAST_PAIRS = 100  # neighbours that tell how the sky scatters
LEAST_PHOTON_VARIANCE = 0.1  # adu**2
PILED_UP = 10  # pixels that hold the very highest value show where an analogue-digital converter ends


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


def saturation_of(raw: Frame, gain: GainLinearity | None, fraction: float) -> float:
    """Return the level of the raw frame [adu] from which a pixel is not to be trusted.

    The least of: `fraction` of the measured full well and of 65535 (where the frame holds nothing higher), the level
    that the camera states, and the highest value of the frame where many pixels hold it.
    """
    highest, number, median, noise = _top_of(raw)
    levels = [] if raw.attributes.saturation is None else [raw.attributes.saturation]
    if highest <= ADC_MAXIMUM:
        levels.append(fraction * ADC_MAXIMUM)
    if gain is not None and gain.full_well:
        levels.append(fraction * gain.full_well)
    if number >= PILED_UP and highest - median > 30 * noise:
        levels.append(highest)
    return float(min(levels, default=np.inf))


def _top_of(raw: Frame) -> tuple[float, int, float, float]:
    """Return the highest value of a frame, how many pixels hold it, and the median and noise of a sample."""
    highest, number = -np.inf, 0
    sample = []
    for strip in raw.strips():
        values = strip.data[np.isfinite(strip.data)]
        if not values.size:
            continue
        top = float(values.max())
        if top > highest:
            highest, number = top, 0
        if top == highest:
            number += int(np.count_nonzero(values == values.dtype.type(top)))
        sample.append(values[:: max(1, values.size // 20_000)])
    pixels = np.concatenate(sample) if sample else np.zeros(1, np.float32)
    median = float(np.median(pixels))
    return highest, number, median, max(robust_noise(pixels, median), 1.0)


def subtract_levels(chip: DebiasedChip) -> Calibrated:
    """Return the exposure without overscan, bias and dark current [adu], with the variance of what was subtracted."""
    shape = chip.shape
    made = Calibrated(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16))
    for y0, y1 in strip_bounds(shape[0], rows_of_strips(shape[1], 6)):
        data, mask = chip.strip(y0, y1)
        variance = chip.calibration_variance(y0, y1)
        lost = ~(np.isfinite(data) & np.isfinite(variance))
        made.data[y0:y1] = np.where(lost, 0.0, data)
        made.variance[y0:y1] = np.where(lost, 0.0, variance)
        made.mask[y0:y1] = np.where(lost, mask | np.uint16(NO_DATA), mask)
    _grow_saturated(made.mask)
    return made


def _grow_saturated(mask: MaskArray) -> None:
    """Mark the neighbours of saturated pixels, in place: charge that ran over has filled them in part."""
    from scipy import ndimage

    saturated = (mask & np.uint16(SATURATED)) != 0
    if saturated.any():
        mask[ndimage.binary_dilation(saturated, np.ones((3, 3), dtype=bool))] |= np.uint16(SATURATED)


def noise_of(
    chip: RawChip, made: Calibrated, bias: Frame | None, gain: GainLinearity | None, read_noise: ReadNoise | None
) -> Noise:
    """Find gain and read noise of each amplifier: as measured, else as stated, else from the frame itself."""
    noise, source = _read_noise(chip, bias, read_noise)
    no_read_noise = read_noise is None and not source
    no_gain = gain is None and not chip.frame.attributes.nominal_gain
    level, scatter = _sky_scatter(made) if no_read_noise or no_gain else (0.0, 0.0)
    gains = _gain(chip, made, gain, (level, scatter**2 - float(np.mean(list(noise.values()))) ** 2))
    if no_read_noise:
        # What the sky scatters more than its photons do: never less noise than one sees.
        photons = max(level, 0.0) / float(np.mean(list(gains.values())))
        noise = dict.fromkeys(noise, float(np.sqrt(max(scatter**2 - photons, 0.0))))
        source = "the scatter of the sky"
    if source:
        made.notes.append(f"Read noise from {source}: {np.mean(list(noise.values())):.3g} adu.")
    return Noise(gains, noise, gain is not None)


def _gain(chip: RawChip, made: Calibrated, gain: GainLinearity | None, sky: tuple[float, float]) -> dict[str, float]:
    """Return the gain of each amplifier; `sky` is its level and the variance that its photons make [adu]."""
    if gain is not None:
        return of_regions(chip.regions, gain.amplifiers, gain.gain)
    stated = chip.frame.attributes.nominal_gain
    if stated is not None and stated > 0:
        made.notes.append(f"Gain not measured: noise from the stated {stated:g} electron/adu, pixels in adu.")
        return of_regions(chip.regions, {}, stated)
    level, variance = sky
    # Where the sky is too dark to tell, an electron an adu is as good as any.
    estimate = level / variance if level > 0 and variance > LEAST_PHOTON_VARIANCE else 1.0
    made.notes.append(f"Gain unknown: noise as of {estimate:.3g} electron/adu, from the sky's scatter; pixels in adu.")
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


def _sky_scatter(made: Calibrated) -> tuple[float, float]:
    """Return the level of the sky and its scatter [adu], from differences of neighbours, which see no slope."""
    good = made.mask == 0
    pairs = good[:, 1:] & good[:, :-1]
    differences = (made.data[:, 1:] - made.data[:, :-1])[pairs]
    if differences.size < LEAST_PAIRS:
        return 0.0, 0.0
    return float(np.median(made.data[good])), clipped_statistics(differences, 4.0).stdev / float(np.sqrt(2))


def apply_flat_and_gain(chip: RawChip, made: Calibrated, noise: Noise, flat: Frame | None) -> None:
    """Add Poisson and read noise to the variance, divide by the flat, and go over to electrons, in place.

    The Poisson noise is that of what the detector collected, dark current included, so it is taken before the flat.
    """
    gain, read_variance = read_noise_of(chip, noise.gain), _read_variance(chip, noise)
    for y0, y1 in strip_bounds(chip.shape[0], rows_of_strips(chip.shape[1], 6)):
        data, variance, mask = made.data[y0:y1], made.variance[y0:y1], made.mask[y0:y1]
        gain_here = _rows(gain, y0, y1)
        variance += np.maximum(data, 0.0) / gain_here + _rows(read_variance, y0, y1)
        if flat is not None:
            _divide(data, variance, mask, flat, y0, y1)
        if noise.gain_is_measured:
            data *= gain_here
            variance *= gain_here**2
        lost = (mask & NO_DATA) != 0
        data[lost], variance[lost] = 0.0, 0.0
    made.unit = "electron" if noise.gain_is_measured else "adu"
    made.gain = 1.0 if noise.gain_is_measured else float(np.mean(list(noise.gain.values())))


def _divide(data: FloatArray, variance: FloatArray, mask: MaskArray, flat: Frame, y0: int, y1: int) -> None:
    strip = flat.strip(y0, y1)
    mask |= strip.mask
    dark = ~(strip.data > LEAST_FLAT)
    mask[dark] |= np.uint16(NO_DATA)
    response = np.where(dark, np.float32(1.0), strip.data)
    data /= response
    variance /= response**2
    if strip.variance is not None:
        # A saturated or lost pixel of the flat has no variance that would mean anything, and is masked.
        own = np.where(np.isfinite(strip.variance), strip.variance, 0.0)
        variance += (data / response) ** 2 * own


def _read_variance(chip: RawChip, noise: Noise) -> FloatArray | float:
    """Return the variance of reading a pixel and of its overscan level [adu**2]."""
    return read_noise_of(
        chip,
        {
            region.amplifier: noise.read_noise[region.amplifier] ** 2 * (1 + chip.overscan_noise(region))
            for region in chip.regions
        },
    )


def _rows(values: FloatArray | float, y0: int, y1: int) -> FloatArray | np.float32:
    return values[y0:y1] if isinstance(values, np.ndarray) else np.float32(values)
