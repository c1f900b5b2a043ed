"""One raw exposure of the night sky, calibrated, its sources masked, over the level of its sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce as fold

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.calibrating import Calibrated, noise_of, saturation_of
from recipes.ccd.debias import DebiasedChip, check_serves
from recipes.ccd.noise import read_noise_of
from recipes.ccd.sky import measure_sky
from recipes.ccd.sky_stack import MOST_COVERED, PixelSet, thumbnail
from recipes.ccd.source_masking import mask_sources
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray
from recipes.masks import COLD, HOT, NO_DATA, SATURATED
from recipes.values import GainLinearity, ReadNoise

SATURATION_FRACTION = 0.95  # of the lower of full well and 65535 adu, as in Reduce
LEAST_RESPONSE = 0.05  # of the flat's mean: where less light arrives there is nothing to measure


@dataclass(frozen=True)
class Calibrations:
    """What raw frames of the sky are calibrated with."""

    bias_frame: Frame | None
    master_flat: Frame | None
    hot_pixel_map: Frame | None
    cold_pixel_map: Frame | None
    gain_linearity: GainLinearity | None
    read_noise: ReadNoise | None
    dark_frame: Frame | None

    def check(self, chip: DebiasedChip) -> None:
        """Raise UsageError unless all belong to the chip, and its level can be known."""
        if self.bias_frame is None and not chip.has_overscan:
            raise UsageError(
                f"{chip.name} has no overscan and no bias was given: its level cannot be known",
                hint="make a BiasFrame of this chip and readout mode first",
            )
        for calibration, of_filter in (
            (self.master_flat, True),
            (self.hot_pixel_map, False),
            (self.cold_pixel_map, True),
        ):
            if calibration is not None:
                check_serves(calibration, chip.frame, chip.shape, of_filter)
        for value in (self.gain_linearity, self.read_noise):
            if value is not None:
                check_serves(value, chip.frame)

    def defects(self, shape: tuple[int, int]) -> MaskArray:
        """Return the bits of the pixel maps, and no data where the flat is dark."""
        bits = np.zeros(shape, np.uint16)
        for pixel_map, bit in ((self.hot_pixel_map, HOT), (self.cold_pixel_map, COLD)):
            if pixel_map is not None:
                bits |= pixel_map.mask & np.uint16(bit)
        if self.master_flat is not None:
            bits |= self.master_flat.mask & np.uint16(HOT | COLD | NO_DATA)
            bits[~(self.master_flat.data > LEAST_RESPONSE)] |= np.uint16(NO_DATA)
        return bits


@dataclass(frozen=True)
class SkyExposure:
    """An exposure whose rows can be had over the level of its sky, without sources."""

    chip: DebiasedChip
    level: float
    gain: FloatArray | float
    read_variance: FloatArray | float
    flat: Frame | None
    unusable: PixelSet
    lost: PixelSet
    thumbnail: NDArray[np.bool_]
    covered: float
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the raw frame."""
        return self.chip.name

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the trimmed image."""
        return self.chip.shape

    def strip(self, y0: int, y1: int) -> tuple[FloatArray, FloatArray]:
        """Return rows over the level of the sky, NaN where they show something else, and their standard deviations."""
        data, _ = self.chip.strip(y0, y1)
        level = np.float32(self.level)
        values = np.where(self.unusable.rows(y0, y1), np.float32(np.nan), data / level)
        response: FloatArray | np.float32 = np.float32(1)
        if self.flat is not None:
            response = np.maximum(self.flat.strip(y0, y1).data, np.float32(LEAST_RESPONSE))
        photons = level * response / _rows(self.gain, y0, y1)
        variance = photons + _rows(self.read_variance, y0, y1) + self.chip.calibration_variance(y0, y1)
        sigma = np.sqrt(np.maximum(variance, np.float32(1e-6))) / level
        return np.asarray(values, np.float32), np.asarray(np.broadcast_to(sigma, values.shape), np.float32)


def always_lost(exposures: Sequence[SkyExposure]) -> NDArray[np.bool_]:
    """Return which pixels no exposure has, for other reasons than sources."""
    height = exposures[0].shape[0]
    return fold(np.logical_and, (exposure.lost.rows(0, height) for exposure in exposures))


def expose(
    frame: Frame, given: Calibrations, overscan_correction: int, back_size: int, minimum_level: float
) -> tuple[SkyExposure | None, str]:
    """Return a raw frame with its sources masked, or None and why it is of no use.

    Parameters
    ----------
    frame : Frame
        Raw exposure of the sky [adu].
    given : Calibrations
        What it is calibrated with.
    overscan_correction : int
        Overscan method asked for.
    back_size : int
        Side of the mesh of the sky [pixel].
    minimum_level : float
        Least level of the sky [adu].

    Returns
    -------
    exposure : SkyExposure or None
        To be stacked.
    reason : str
        Empty where it can be used.

    Raises
    ------
    UsageError
        Calibrations that do not fit, or neither bias nor overscan.
    NoSkyError
        Its sky cannot be measured.
    """
    chip = DebiasedChip(frame, overscan_correction, given.bias_frame, given.dark_frame)
    given.check(chip)
    chip.saturation = saturation_of(frame, given.gain_linearity, SATURATION_FRACTION)
    data, mask = chip.strip(0, chip.shape[0])
    saturated = (mask & np.uint16(SATURATED)) != 0
    lost = (((mask & ~np.uint16(SATURATED)) | given.defects(chip.shape)) != 0) | ~np.isfinite(data)
    bad = lost | saturated
    if bad.all():
        return None, "no pixel is good"
    data = np.where(lost, np.float32(0), data)
    made = Calibrated(data, data, np.where(bad, mask | np.uint16(NO_DATA), mask).astype(np.uint16))
    noise = noise_of(chip, made, given.bias_frame, given.gain_linearity, given.read_noise)
    flattened = data
    if given.master_flat is not None:
        flattened = np.asarray(data / np.maximum(given.master_flat.data, np.float32(LEAST_RESPONSE)), np.float32)
    sky = measure_sky(flattened, bad, back_size)
    sources = mask_sources(flattened - sky.level_map, sky.noise_map, lost)
    unusable = bad | sources
    covered = int(np.count_nonzero(sources & ~lost)) / max(int(np.count_nonzero(~lost)), 1)
    if covered > MOST_COVERED or unusable.all():
        return None, f"sources cover {covered:.0%} of it"
    level = float(np.median(flattened[~unusable]))
    if not level >= minimum_level or level <= 0:
        return None, f"its sky of {level:.4g} adu is below {minimum_level:g}"
    read_variance = {
        region.amplifier: noise.read_noise[region.amplifier] ** 2 * (1 + chip.overscan_noise(region))
        for region in chip.regions
    }
    exposure = SkyExposure(
        chip, level, read_noise_of(chip, noise.gain), read_noise_of(chip, read_variance), given.master_flat,
        PixelSet(unusable), PixelSet(bad), thumbnail(sources), covered, made.notes,
    )  # fmt: skip
    return exposure, ""


def _rows(values: FloatArray | float, y0: int, y1: int) -> FloatArray | np.float32:
    return values[y0:y1] if isinstance(values, np.ndarray) else np.float32(values)
