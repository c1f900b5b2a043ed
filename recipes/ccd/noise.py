"""Read noise and gain from pairs of exposures: the photon transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.raw import RawChip, Region
from recipes.ccd.sub_windows import sub_windows
from recipes.frame import FloatArray, Frame, number_of

# Attribute in which a master bias hands on the read noise of each amplifier [adu].
READ_NOISE_OF_AMPLIFIERS = "read_noise_of_amplifiers"
_PIXELS_A_WINDOW = 4096
_PIXELS_OF_AN_ESTIMATE = 2**20
_LEAST_USABLE = 0.5
_PILED_UP = 0.01


def pair_noise(
    first: FloatArray, second: FloatArray, threshold: float = 5.0, iterations: int = 5
) -> tuple[float, float, float, int]:
    """Return clipped rms/√2 of a difference of two exposures, its mean, its median, and the number of pixels."""
    statistics = clipped_statistics(first - second, threshold, iterations)
    return statistics.stdev / float(np.sqrt(2)), statistics.mean, statistics.median, statistics.count


def estimated_read_noise(chips: Sequence[RawChip]) -> dict[str, float]:
    """Return the read noise of each amplifier from the first pair of frames, for want of a measured one."""
    first, second = chips[:2]
    found = {}
    for region in first.regions:
        rows = max(1, min(region.rows.stop - region.rows.start, _PIXELS_OF_AN_ESTIMATE // first.shape[1]))
        y0 = (region.rows.start + region.rows.stop - rows) // 2
        one, two = (chip.strip(y0, y0 + rows)[0][:, region.columns] for chip in (first, second))
        # The overscan's own noise came in with its subtraction.
        found[region.amplifier] = pair_noise(one, two)[0] / float(np.sqrt(1 + first.overscan_noise(region)))
    return found


@dataclass(frozen=True)
class Transfer:
    """A pair of flats on the transfer curve: sums over its sub-windows, and the gain that it alone gives.

    For scaled pairs F1 - r F2 of levels S1 = r S2 the variance is S1 (1 + r) / gain + RN² (1 + r²): ``signal`` is the
    mean of S1 (1 + r), ``variance`` that of the difference, ``noise_factor`` that of 1 + r².
    """

    level: float
    signal: float
    variance: float
    noise_factor: float
    pixels: int

    def gain(self, read_noise: float) -> float:
        """Return the gain [electron/adu] of this pair, NaN where the variance is no more than read noise."""
        photons = self.variance - self.noise_factor * read_noise**2
        return self.signal / photons if photons > 0 else float("nan")


# Part of the median level below which a pixel of a flat is taken for one that sees no light.
_LEAST_LIGHT = 0.2


def photon_transfer(
    first: FloatArray,
    second: FloatArray,
    good: NDArray[np.bool_],
    threshold: float = 5.0,
    iterations: int = 5,
) -> Transfer | None:
    """Return the signal and the variance of the difference of two debiased flats, or None where no part is usable.

    Each sub-window is scaled by itself, so that neither a changing lamp nor the gradients of a twilight sky leave a
    trace; the pattern of the pixels' responses cancels in the difference (Janesick 2001, Scientific CCDs, section 2.2).
    """
    good = good & _lit(first, good) & _lit(second, good)
    height, width = first.shape
    rows, columns = (max(1, round(length / np.sqrt(_PIXELS_A_WINDOW))) for length in (height, width))
    sums = np.zeros(4)
    count = 0
    for window in sub_windows((height, width), rows, columns):
        usable = good[window]
        one, two = first[window][usable], second[window][usable]
        if one.size < max(16, _LEAST_USABLE * usable.size) or _piled_up(one) or _piled_up(two):
            continue
        level_one, level_two = (clipped_statistics(values, threshold, iterations).mean for values in (one, two))
        if level_one <= 0 or level_two <= 0:
            continue
        ratio = level_one / level_two
        scaled = _without_slope(one - np.float32(ratio) * two, usable, threshold, iterations)
        difference = clipped_statistics(scaled, threshold, iterations)
        variance = difference.stdev**2
        number = difference.count
        sums += number * np.array([level_one, level_one * (1 + ratio), variance, 1 + ratio**2])
        count += number
    if not count:
        return None
    level, signal, variance, factor = (float(value) for value in sums / count)
    return Transfer(level, signal, variance, factor, count)


def _lit(flat: FloatArray, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels see the light: overscan of which no header tells would count as light without noise.

    Only where light and dark are far apart, or the cut would take a part of the noise away.
    """
    if not good.any():
        return good
    statistics = clipped_statistics(flat[good])
    if (1 - _LEAST_LIGHT) * statistics.median <= 10 * statistics.stdev:
        return good
    return np.asarray(flat > np.float32(_LEAST_LIGHT * statistics.median))


def _without_slope(
    difference: FloatArray, usable: NDArray[np.bool_], threshold: float, iterations: int
) -> NDArray[np.float64]:
    """Return the difference of a window's usable pixels less the plane fitted to it: a twilight sky slopes."""
    statistics = clipped_statistics(difference, threshold, iterations)
    near = np.abs(difference - statistics.median) <= threshold * max(statistics.stdev, 1e-6)
    rows, columns = np.nonzero(usable)
    plane = np.column_stack([np.ones(len(rows)), rows - rows.mean(), columns - columns.mean()])
    chosen = plane[near]
    normal = chosen.T @ chosen
    if np.linalg.cond(normal) > 1e8:
        return difference.astype(np.float64)
    slopes = np.linalg.solve(normal, chosen.T @ difference[near].astype(np.float64))
    return np.asarray(difference - plane @ slopes)


def read_noise_of(chip: RawChip, given: Mapping[str, float] | float) -> FloatArray | float:
    """Return the read noise as an image where the amplifiers differ, else as one number."""
    if not isinstance(given, Mapping):
        return given
    values = [given[region.amplifier] for region in chip.regions]
    return values[0] if len(set(values)) == 1 else chip.of_amplifiers(dict(given))


def read_noise_with(bias_frame: Frame | None, chip: RawChip, default: float) -> dict[str, float]:
    """Return the read noise of each amplifier as the master bias knows it, else the nominal one, else `default`."""
    known = bias_frame.number("read_noise") if bias_frame is not None else None
    value = known or number_of(chip.frame.attributes, "nominal_read_noise") or default
    several = getattr(bias_frame.attributes, READ_NOISE_OF_AMPLIFIERS, None) if bias_frame is not None else None
    return of_regions(chip.regions, several if isinstance(several, Mapping) else {}, value)


def of_regions(regions: Sequence[Region], of: Mapping[str, float], default: float) -> dict[str, float]:
    """Return the value of each region's amplifier, `default` where it is not known."""
    return {region.amplifier: of.get(region.amplifier, default) for region in regions}


def _piled_up(values: FloatArray) -> bool:
    """Whether the values pile up at their largest one, as they do at saturation, instead of thinning out towards it."""
    top = values.max()
    at_top = np.count_nonzero(values >= top - 0.5)
    below = np.count_nonzero(values >= top - 1.5) - at_top
    return bool(at_top > max(8, _PILED_UP * values.size) and at_top > below)
