"""A raw chip less its bias and dark: the first steps that every recipe shares that looks at light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.bias_exposures import DARK_TIME
from recipes.ccd.raw import RawChip
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray
from recipes.job import LeftOut
from recipes.masks import NO_DATA

# A dark serves frames of nearly its temperature: dark current doubles every 6 to 8 degrees, so 2 degrees are 20 %.
DARK_TEMPERATURE_TOLERANCE = 2.0


class DebiasedChip(RawChip):
    """A raw frame as an overscan-corrected, trimmed image less master bias and scaled dark [adu].

    Parameters
    ----------
    frame : Frame
        Raw frame.
    overscan_correction : int
        Method asked for, see :class:`~recipes.ccd.raw.RawChip`.
    bias_frame : Frame, optional
        Master bias made with the same method.
    dark_frame : Frame, optional
        Dark current [adu/s]; pass it through :func:`usable_dark` first.

    Raises
    ------
    UsageError
        The bias is of another chip, shape or overscan method.
    """

    def __init__(
        self,
        frame: Frame,
        overscan_correction: int,
        bias_frame: Frame | None = None,
        dark_frame: Frame | None = None,
    ) -> None:
        super().__init__(frame, overscan_correction)
        self._bias = bias_frame
        self._dark = dark_frame
        self._seconds = frame.attributes.exposure_time or 0.0
        if bias_frame is not None:  # one made from darks has taken a part of the dark current away
            self._seconds -= bias_frame.number(DARK_TIME) or 0.0
        if bias_frame is not None:
            check_serves(bias_frame, frame, self.shape)
            refuse_other_method(bias_frame, self)
        if dark_frame is not None:
            check_serves(dark_frame, frame, self.shape)

    @property
    def dark_seconds(self) -> float:
        """For how long it collected dark current beyond what the bias takes away [s]."""
        return self._seconds

    def calibration_rows(self, y0: int, y1: int) -> tuple[NDArray[Any] | None, ...]:
        """Return rows of the bias, the dark, what they do not know (bool), and their variances; None where unused."""
        bias = self._bias.strip(y0, y1) if self._bias is not None else None
        dark = self._dark.strip(y0, y1) if self._dark is not None else None
        unknown: NDArray[np.bool_] | None = None
        for strip in (bias, dark):
            if strip is None:
                continue
            bad = (strip.mask & np.uint16(NO_DATA)) != 0
            if strip.variance is not None and not (strip.variance.min() >= 0 and strip.variance.max() < np.inf):
                bad |= ~((strip.variance >= 0) & (strip.variance < np.inf))  # no variance at all
            if bad.any():
                unknown = bad if unknown is None else unknown | bad
        return (
            None if bias is None else bias.data,
            None if dark is None else dark.data,
            unknown,
            None if bias is None else bias.variance,
            None if dark is None else dark.variance,
        )

    def strip(self, y0: int, y1: int) -> tuple[FloatArray, MaskArray]:
        """Return the corrected rows `y0` to `y1` and their mask; pixels the bias or dark does not know are no data."""
        data, mask = super().strip(y0, y1)
        for calibration, factor in ((self._bias, 1.0), (self._dark, self._seconds)):
            if calibration is None or factor == 0.0:
                continue
            strip = calibration.strip(y0, y1)
            data = data - (strip.data if factor == 1.0 else strip.data * np.float32(factor))
            mask = mask | (strip.mask & np.uint16(NO_DATA))
        return data, mask

    def calibration_variance(self, y0: int, y1: int) -> Any:
        """Return the variance that bias and dark add to rows `y0` to `y1` [adu²]."""
        variance: Any = 0.0
        for calibration, factor in ((self._bias, 1.0), (self._dark, self._seconds)):
            if calibration is not None and calibration.has_variance and factor:
                own: Any = calibration.strip(y0, y1).variance
                variance = variance + own * np.float32(factor * factor)
        return variance


def check_serves(calibration: Any, frame: Frame, shape: tuple[int, int] | None = None, filters: bool = False) -> None:
    """Raise UsageError unless `calibration` belongs to the chip (and filter) of `frame` and fits `shape`."""
    keys = ("instrument", "chip", "readout_mode", "filter") if filters else ("instrument", "chip", "readout_mode")
    for key in keys:
        mine, others = getattr(calibration.attributes, key), getattr(frame.attributes, key)
        if mine and others and mine != others:
            raise UsageError(
                f"{calibration.name} is of {key} {mine!r}, {frame.name} of {others!r}",
                hint=f"choose a calibration of {key} {others!r}",
            )
    if shape is not None and calibration.shape != shape:
        raise UsageError(
            f"{calibration.name} has {calibration.shape[1]} × {calibration.shape[0]} pixels, "
            f"{frame.name} has {shape[1]} × {shape[0]} when trimmed",
            hint="make the calibration again from frames with the same sections and binning",
        )


def refuse_other_method(bias_frame: Frame, chip: RawChip) -> None:
    """Raise UsageError where bias and frame are overscan-corrected in different ways."""
    method = bias_frame.number("overscan_correction")
    if method is not None and int(method) != chip.method:
        raise UsageError(
            f"{bias_frame.name} was made with overscan_correction {int(method)}, {chip.name} is corrected with "
            f"{chip.method}",
            hint=f"use overscan_correction = {int(method)}, or make the bias again with {chip.method}",
        )


def usable_dark(dark_frame: Frame | None, frames: Sequence[Frame]) -> tuple[Frame | None, list[LeftOut]]:
    """Return the dark if it serves these frames, else None and why it was left out."""
    if dark_frame is None:
        return None, []
    own = dark_frame.attributes.temperature
    for frame in frames:
        theirs = frame.attributes.temperature
        if own is not None and theirs is not None and abs(own - theirs) > DARK_TEMPERATURE_TOLERANCE:
            reason = f"it was taken at {own:g} °C and {frame.name} at {theirs:g} °C"
            return None, [LeftOut(name=dark_frame.name, reason=reason)]
        if frame.attributes.exposure_time is None:
            reason = f"the exposure time of {frame.name} is not known, so it cannot be scaled"
            return None, [LeftOut(name=dark_frame.name, reason=reason)]
    return dark_frame, []
