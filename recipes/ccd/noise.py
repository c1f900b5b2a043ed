"""Read noise and gain from pairs of exposures: the photon transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.clipping import SampleStatistics, clipped_statistics
from recipes.ccd.raw import RawChip, Region
from recipes.frame import FloatArray, Frame, MaskArray, number_of, strip_bounds

# Attribute in which a master bias hands on the read noise of each amplifier [adu].
READ_NOISE_OF_AMPLIFIERS = "read_noise_of_amplifiers"
_PIXELS_A_WINDOW = 4096
_PIXELS_OF_AN_ESTIMATE = 2**20
_PIXELS_OF_A_RATIO = 2**18
_LEAST_USABLE = 0.5
_PILED_UP = 0.01
_PIXELS_OF_A_CUT = 2**16
_ROWS_AT_ONCE = 128


def noise_ratio(stdev: float, variance: FloatArray, mask: MaskArray) -> float:
    """Return the scatter of an image's pixels over that which its variance tells; NaN where no pixel is good.

    An image without sources has 1, and more where it has structure of its own; far less is no exposure's.
    """
    step = max(1, variance.size // _PIXELS_OF_A_RATIO)
    known = variance.ravel()[::step][mask.ravel()[::step] == 0]
    expected = float(np.sqrt(np.median(known))) if known.size else float("nan")
    return stdev / expected if expected > 0 else float("nan")


def pair_noise(
    first: FloatArray, second: FloatArray, threshold: float = 5.0, iterations: int = 5
) -> tuple[float, float, float, int]:
    """Return clipped rms/√2 of a difference of two exposures, its mean, its median, and the number of pixels."""
    statistics = clipped_statistics(first - second, threshold, iterations)
    return statistics.stdev / float(np.sqrt(2)), statistics.mean, statistics.median, statistics.count


def difference_statistics(
    first: RawChip, second: RawChip, threshold: float, iterations: int
) -> dict[str, SampleStatistics]:
    """Return the clipped statistics of the difference of two raw frames, overscan and all, for each amplifier."""
    zeros = first.frame.stored_zero, second.frame.stored_zero
    if None not in zeros:
        shift = float(zeros[0] or 0) - float(zeros[1] or 0)
        return {
            region.amplifier: _difference_as_stored(first, second, region, shift, (threshold, iterations))
            for region in first.regions
        }
    difference = first.whole() - second.whole()
    return {
        region.amplifier: clipped_statistics(difference[region.slices], threshold, iterations)
        for region in first.regions
    }


def _difference_as_stored(
    first: RawChip, second: RawChip, region: Region, shift: float, limits: tuple[float, int]
) -> SampleStatistics:
    """Return the same of one amplifier, from how often each difference of the stored whole numbers comes."""
    from recipes.ccd.kernels import sample, transfer

    counts = np.zeros(2 * transfer.OFFSET + 1, np.int64)
    columns = first.raw_column(region), first.raw_column(region) + region.columns.stop - region.columns.start
    rows = first.raw_rows[region.rows]
    blocks = [np.empty((min(_ROWS_AT_ONCE, len(rows)), first.frame.shape[1]), np.uint16) for _ in range(2)]
    for y0, y1 in strip_bounds(len(rows), _ROWS_AT_ONCE):
        one, two = (block[: y1 - y0] for block in blocks)
        first.frame.read_stored(int(rows[y0]), one)
        second.frame.read_stored(int(rows[y0]), two)
        transfer.count_differences(one, two, *columns, counts)
    come = np.flatnonzero(counts)
    start, end = int(come[0]), int(come[-1]) + 1
    found = sample.clipped_counts(counts[start:end], start - transfer.OFFSET, *limits)
    return SampleStatistics(found[0] + shift, found[1] + shift, found[2], found[3])


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
    from recipes.ccd.kernels import transfer as kernels

    good = good & _lit(first, good) & _lit(second, good)
    height, width = first.shape
    rows, columns = (max(1, round(length / np.sqrt(_PIXELS_A_WINDOW))) for length in (height, width))
    edges_y = np.unique(np.linspace(0, height, rows + 1).astype(np.int64))
    edges_x = np.unique(np.linspace(0, width, columns + 1).astype(np.int64))
    one, two = (np.require(flat, np.float32, ["C", "W"]) for flat in (first, second))
    found = np.zeros((len(edges_y) - 1, len(edges_x) - 1, 5))
    limits = _LEAST_USABLE, _PILED_UP, threshold, iterations
    threads.each(
        lambda row: kernels.window_transfers(one, two, good, edges_y, edges_x, row, *limits, found[row]),
        range(len(found)),
    )
    windows = found.reshape(-1, 5)
    numbers = windows[:, kernels.NUMBER]
    count = int(numbers.sum())
    if not count:
        return None
    level, signal, variance, factor = (float(value) for value in numbers @ windows[:, :4] / count)
    return Transfer(level, signal, variance, factor, count)


def _lit(flat: FloatArray, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels see the light: overscan of which no header tells would count as light without noise.

    Only where light and dark are far apart, or the cut would take a part of the noise away.
    """
    if not good.any():
        return good
    # Some of the pixels tell where the cut must be.
    step = max(1, flat.size // _PIXELS_OF_A_CUT) | 1
    statistics = clipped_statistics(flat.ravel()[::step], good=good.ravel()[::step])
    if not statistics.count:
        return good
    if (1 - _LEAST_LIGHT) * statistics.median <= 10 * statistics.stdev:
        return good
    return np.asarray(flat > np.float32(_LEAST_LIGHT * statistics.median))


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
