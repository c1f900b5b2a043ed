"""What the pixels of an exposure are multiplied with, so that those of a grid share one scale of fluxes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.debias import check_serves
from recipes.ccd.plate import Plate
from recipes.ccd.star_matching import pairs_within
from recipes.ccd.stars import Stars
from recipes.ccd.tangent_plane import project
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.values import PhotometricParameters

Floats = NDArray[np.float64]

LEAST_RATIOS = 3
BRIGHT = 20.0  # signal to noise of stars whose fluxes are compared
CLIP = 3.0
LARGEST_MAGNITUDE = 100.0  # of a second's electron: no telescope has such a zeropoint
MAD = 1.4826


@dataclass(frozen=True)
class FluxScale:
    """Factor on the pixels, its relative error, and what it rests on.

    ``zeropoint`` is the magnitude of a value of 1 above the atmosphere, None where the scale is relative. ``unit`` is
    that of the scaled pixels.
    """

    factor: float
    error: float = 0.0
    zeropoint: float | None = None
    zeropoint_error: float = 0.0
    unit: str = ""
    stars: int = 0
    reference: str = ""
    without: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeasuredFrame:
    """A frame with its stars and where it lies."""

    frame: Frame
    stars: Stars
    plate: Plate


def absolute_scale(frame: Frame, parameters: PhotometricParameters, zeropoint: float) -> FluxScale | None:
    """Return the scale on which a value of 1 has magnitude `zeropoint` above the atmosphere; None where none can be.

    Raises
    ------
    UsageError
        The zeropoint is of another chip or filter, or cannot be one.
    """
    check_serves(parameters, frame, filters=True)
    time = frame.number("exposure_time")
    electrons = _in_units_of(frame, parameters.flux_unit)
    if time is None or time <= 0 or electrons is None:
        return None
    airmass, without, notes = frame.number("airmass"), [], []
    if airmass is None and parameters.extinction:
        airmass = 1.0
        without.append("airmass")
        notes.append("The airmass is not known: the extinction of an airmass of 1 was taken.")
    magnitude_of_one = parameters.zeropoint - parameters.extinction * (airmass or 0.0)
    if not abs(magnitude_of_one) <= LARGEST_MAGNITUDE:
        raise UsageError(f"{parameters.name} gives a zeropoint of {magnitude_of_one:g} mag above the atmosphere, which "
                         "cannot be", hint="choose another one, or run Zeropoint again")  # fmt: skip
    factor = 10 ** (-0.4 * (magnitude_of_one - zeropoint)) * electrons / time
    error = 0.4 * math.log(10) * parameters.zeropoint_error
    notes.append(f"Values have magnitude {zeropoint:g} - 2.5 log10(value) {parameters.system} above the atmosphere, by "
                 f"the zeropoint {parameters.zeropoint:.3f} of {parameters.name}.")  # fmt: skip
    return FluxScale(factor, error, zeropoint, parameters.zeropoint_error, "", parameters.star_count, parameters.name,
                     tuple(without), tuple(notes))  # fmt: skip


def relative_scale(measured: MeasuredFrame, other: MeasuredFrame | None) -> FluxScale:
    """Return the scale of fluxes a second, on which stars agree with `other` where that is of the same filter."""
    frame = measured.frame
    time = frame.number("exposure_time")
    without: list[str] = []
    if time is None or time <= 0:
        time, unit = 1.0, frame.unit
        without.append("exposure_time")
    else:
        unit = f"{frame.unit}/s"
    plain = FluxScale(1 / time, unit=unit, without=tuple(without),
                      notes=("Fluxes are relative: those of a second of this exposure.",))  # fmt: skip
    other_time = other.frame.number("exposure_time") if other else None
    if other is None or not other_time or other.frame.attributes.filter != frame.attributes.filter:
        return plain
    if other.frame.unit != frame.unit:
        return plain
    ratio, error, count = _ratio_of_fluxes(measured, other)
    if count < LEAST_RATIOS:
        note = f"Fluxes are relative: {count} stars are too few to compare with {other.frame.name}."
        return FluxScale(1 / time, unit=unit, without=tuple(without), notes=(note,))
    factor = ratio / other_time
    note = (f"Fluxes are relative: {count} stars have those of {other.frame.name} a second, "
            f"{100 * (factor * time - 1):+.2f} % from those of this exposure.")  # fmt: skip
    return FluxScale(factor, error, unit=unit, stars=count, reference=other.frame.name, without=tuple(without),
                     notes=(note,))  # fmt: skip


def _in_units_of(frame: Frame, unit: str) -> float | None:
    """Return how many `unit` a pixel's unit is: 1, or the gain where one is electrons and the other adu."""
    if frame.unit == unit:
        return 1.0
    gain = frame.number("gain")
    if not gain or gain <= 0:
        return None
    return {("adu", "electron"): gain, ("electron", "adu"): 1 / gain}.get((frame.unit, unit))


def _ratio_of_fluxes(measured: MeasuredFrame, other: MeasuredFrame) -> tuple[float, float, int]:
    """Return the other's flux over this one's of the stars they share, its relative error, and how many stars."""
    mine, theirs = _bright(measured.stars), _bright(other.stars)
    here, there = (
        np.stack(project(*frame.plate.sky(stars.x, stars.y), *measured.plate.tangent), axis=-1) * 3600
        for frame, stars in ((measured, mine), (other, theirs))
    )
    own, others = pairs_within(here, there, 1.5 * measured.plate.pixel_scale)
    if len(own) < LEAST_RATIOS:
        return 1.0, 0.0, len(own)
    ratio = np.log(theirs.wide_flux[others] / mine.wide_flux[own])
    error = np.hypot(theirs.wide_error[others] / theirs.wide_flux[others], mine.wide_error[own] / mine.wide_flux[own])
    kept = np.ones(len(ratio), dtype=bool)
    for _ in range(10):
        middle = float(np.median(ratio[kept]))
        spread = max(MAD * float(np.median(np.abs(ratio[kept] - middle))), 1e-6)
        now = np.abs(ratio - middle) <= CLIP * np.maximum(spread, error)
        if now.sum() < LEAST_RATIOS or (now == kept).all():
            break
        kept = now
    # What scatter there is beyond the photons' is each star's own: it keeps the brightest from deciding alone.
    own_scatter = max(spread**2 - float(np.median(error[kept])) ** 2, 1e-8)
    weight = 1 / (error[kept] ** 2 + own_scatter)
    mean = float(np.average(ratio[kept], weights=weight))
    return math.exp(mean), 1 / math.sqrt(float(weight.sum())), int(kept.sum())


def _bright(stars: Stars) -> Stars:
    return stars.where(stars.clean & (stars.wide_flux > BRIGHT * stars.wide_error))
