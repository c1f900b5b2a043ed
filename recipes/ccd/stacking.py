"""Stacks of raw frames: the clipped mean pixel by pixel, its variance and mask, by strips straight from the files.

Median-centred: of ten frames a mean-centred 3-sigma clip can reject nothing, since a single outlier lies at most
(n-1)/sqrt(n) = 2.85 standard deviations from the mean that it shifts itself. Memory is bounded by strips however many
frames there are, and what comes out does not depend on strips or threads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.debias import DebiasedChip
from recipes.ccd.raw import RawChip, Region
from recipes.ccd.sorting_network import sorting_network
from recipes.frame import FloatArray, MaskArray
from recipes.masks import NO_DATA, SATURATED
from recipes.progress import report

# Bytes of raw rows that one thread holds: with them its lanes stay in the processor's outer cache.
_STRIP_BYTES = 2 * 2**20
# What twice a level, in whole numbers, may be at most.
_LARGEST_LEVEL = 2**20
_ITERATIONS = 5


@dataclass(frozen=True)
class StackRules:
    """How frames are stacked.

    Parameters
    ----------
    threshold : float
        Values farther than this many standard deviations from the median are rejected, the median taken anew from what
        is left until nothing more is rejected or five times.
    read_noise : mapping of str to float
        Of each amplifier [adu].
    photons : mapping of str to float
        Of each amplifier the photon noise squared per adu of light (1 / gain); 0 where there is no light.
    norms : sequence of float, optional
        What each frame is divided by, which is its weight too: its level or exposure time.
    offsets : sequence of float, optional
        What is subtracted from each frame, overscan apart [adu].
    saturated_unfit : bool
        Whether saturated values are left out.
    empty_value : float
        What a pixel gets for which there is no value.
    """

    threshold: float
    read_noise: Mapping[str, float]
    photons: Mapping[str, float]
    norms: Sequence[float] | None = None
    offsets: Sequence[float] | None = None
    saturated_unfit: bool = False
    empty_value: float = 0.0


@dataclass(frozen=True)
class StackResult:
    """Mean, variance and mask of a stack, and how many values were rejected.

    A value v of a frame of norm n was rejected where (v - median)² n² > threshold² (RN² + max(median, 0) n / gain). The
    mean is weighted by n; its variance is (max(mean, 0) W / gain + N RN² (1 + o)) / W² for the N values accepted of
    weight W in all, o being what the subtraction of overscan adds, and on top (N/W)² times the variance of the bias and
    (T/W)² times that of the dark, T the accepted seconds, since all frames have those in common.
    """

    data: FloatArray
    variance: FloatArray
    mask: MaskArray
    rejected: int


def clipped_stack(chips: Sequence[RawChip], rules: StackRules, stage: str, start: float, end: float) -> StackResult:
    """Return the clipped mean of raw frames of one chip, overscan-corrected and debiased as each chip says."""
    stack = _Stack(chips, rules)
    strips = stack.strips()
    rejected = 0
    for number, found in enumerate(threads.in_turn(stack.do, strips)):
        rejected += found
        report(start + (end - start) * (number + 1) / len(strips), stage)
    return StackResult(stack.data, stack.variance, stack.mask, rejected)


class _Stack:
    """Frames being stacked, and the planes that are filled."""

    def __init__(self, chips: Sequence[RawChip], rules: StackRules) -> None:
        self.chips = chips
        self.rules = rules
        self.first = chips[0]
        frames = [chip.frame for chip in chips]
        zeros = [frame.stored_zero for frame in frames]
        self._as_stored = all(zero is not None for zero in zeros)
        self._zeros = np.array([zero or 0.0 for zero in zeros], np.float32)
        self._norms = np.array(rules.norms if rules.norms is not None else np.ones(len(chips)), np.float32)
        self._offsets = np.array(rules.offsets if rules.offsets is not None else np.zeros(len(chips)), np.float32)
        self._seconds = np.array([chip.dark_seconds if isinstance(chip, DebiasedChip) else 0 for chip in chips],
                                 np.float32)  # fmt: skip
        self._pairs = np.array(sorting_network(len(chips)), np.int64).reshape(-1, 2)
        # Frames that are kept as whole numbers, of which nothing is taken but levels: there the stack is faster.
        self._may_be_whole = (
            self._as_stored and rules.norms is None and not rules.saturated_unfit
            and not isinstance(self.first, DebiasedChip)
            and all(float(zero or 0.0).is_integer() and abs(zero or 0.0) < _LARGEST_LEVEL for zero in zeros)
        )  # fmt: skip
        self._buffers = threading.local()
        shape = self.first.shape
        self.data, self.variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self.mask = np.zeros(shape, np.uint16)
        if sum(_area(region) for region in self.first.regions) < shape[0] * shape[1]:
            # What lies between the amplifiers is nobody's.
            self.data[:], self.variance[:], self.mask[:] = rules.empty_value, 0, NO_DATA

    def strips(self) -> list[tuple[int, int]]:
        """Return first row and end of each strip: raw rows that follow each other and that the same amplifiers read."""
        width = self.first.frame.shape[1]
        rows = max(1, _STRIP_BYTES // (len(self.chips) * width * (2 if self._as_stored else 4)))
        raw = self.first.raw_rows
        jumps = np.flatnonzero(np.diff(raw) != 1) + 1
        edges = {edge for region in self.first.regions for edge in (region.rows.start, region.rows.stop)}
        cuts = {0, len(raw), *(int(jump) for jump in jumps), *edges, *range(0, len(raw), rows)}
        return list(pairwise(sorted(cuts)))

    def do(self, strip: tuple[int, int]) -> int:
        """Stack one strip; return how many values were rejected."""
        y0, y1 = strip
        rows = slice(y0, y1)
        stored, numbers = self._read(y0, y1)
        return sum(
            self._do_region(index, rows, stored, numbers)
            for index, region in enumerate(self.first.regions)
            if region.rows.start <= y0 < region.rows.stop
        )

    def _do_region(self, index: int, rows: slice, stored: NDArray[np.uint16], numbers: FloatArray) -> int:
        """Stack what one amplifier read of a strip; return how many values were rejected."""
        from recipes.ccd.kernels import stack, stack_whole, stack_writing

        region = self.first.regions[index]
        columns, height = region.columns, rows.stop - rows.start
        levels, by_columns = self._levels(index, rows, stored, numbers)
        whole = self._whole_levels(region, levels) if not by_columns.size else None
        count = np.empty((height, self.first.shape[1]) if whole is None else (0, 0), np.int16)
        saturated = np.zeros((height, self.first.shape[1]) if self.first.saturation is not None else (0, 0), np.int16)
        out = stack_writing.Stacked(self.data[rows], self.variance[rows], count, saturated)
        rules = self._kernel_rules(region)
        places = self.first.raw_column(region), columns.start, columns.stop - columns.start, self._pairs
        if whole is not None:
            whole_rows = stack_whole.WholeRows(stored, whole, self._zeros.astype(np.int32))
            rejected = stack_whole.stack_whole(whole_rows, rules, *places, out)
        else:
            raw = stack.RawRows(stored, numbers, self._zeros, self._seconds, self._norms, levels, by_columns)
            calibrations = stack_writing.Calibrations(*self._calibrations(rows.start, rows.stop))
            rejected = stack.stack_piece(raw, calibrations, rules, *places, out)
        self._mark(rows, columns, out)
        return int(rejected)

    def _whole_levels(self, region: Region, levels: FloatArray) -> NDArray[np.int32] | None:
        """Return twice what is to be subtracted from the stored numbers, None where that is no whole number."""
        if not self._may_be_whole or self.rules.photons[region.amplifier] != 0:
            return None
        twice = 2 * (levels - self._zeros[:, np.newaxis])
        if not (np.abs(twice) < _LARGEST_LEVEL).all() or (twice != np.rint(twice)).any():
            return None
        return twice.astype(np.int32)

    def _kernel_rules(self, region: Region) -> Any:
        from recipes.ccd.kernels.stack_writing import Rules

        saturation = self.first.saturation
        return Rules(
            float(self.rules.read_noise[region.amplifier]),
            1 + self.first.overscan_noise(region),
            float(self.rules.photons[region.amplifier]),
            float(self.rules.threshold),
            _ITERATIONS,
            np.inf if saturation is None else float(saturation),
            self.rules.saturated_unfit,
            float(self.rules.empty_value),
        )

    def _read(self, y0: int, y1: int) -> tuple[NDArray[np.uint16], FloatArray]:
        """Return the raw rows of all frames as they are stored, or else as numbers; the other is empty."""
        raw_y0 = int(self.first.raw_rows[y0])
        rows, width = y1 - y0, self.first.frame.shape[1]
        if self._as_stored:
            stored = self._buffer(len(self.chips) * rows * width).reshape(len(self.chips), rows, width)
            for chip, rows_of_frame in zip(self.chips, stored, strict=True):
                chip.frame.read_stored(raw_y0, rows_of_frame)
            return stored, np.zeros((0, rows, width), np.float32)
        numbers = np.empty((len(self.chips), rows, width), np.float32)
        for place, chip in zip(numbers, self.chips, strict=True):
            place[:] = chip.frame.numbers(raw_y0, raw_y0 + rows)
        return np.zeros((0, rows, width), np.uint16), numbers

    def _buffer(self, size: int) -> NDArray[np.uint16]:
        """Return the thread's own room for so many numbers: the same for each strip, so that it stays in the cache."""
        buffer: NDArray[np.uint16] | None = getattr(self._buffers, "rows", None)
        if buffer is None or buffer.size < size:
            buffer = self._buffers.rows = np.empty(size, np.uint16)
        return buffer[:size]

    def _levels(
        self, index: int, rows: slice, stored: NDArray[np.uint16], numbers: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return what is subtracted from a region of each frame by rows and by columns (empty where nothing is)."""
        from recipes.ccd.kernels.overscan import row_medians

        region, method = self.first.regions[index], self.first.method
        levels = np.zeros((len(self.chips), rows.stop - rows.start), np.float32)
        by_columns = np.zeros((0, 0), np.float32)
        section = region.overscan
        of_region = slice(rows.start - region.rows.start, rows.stop - region.rows.start)
        if section is not None and method in (5, 6) and self.first.is_beside(region):
            row_medians(stored, numbers, self._zeros, section.x0, section.x1, levels)
            if np.isnan(levels).any():
                for chip, level in zip(self.chips, levels, strict=True):
                    np.copyto(level, chip.level(index)[of_region, 0], where=np.isnan(level))
        elif section is not None:
            found = [chip.level(index) for chip in self.chips]
            if method in (7, 8):
                by_columns = np.concatenate(found)
            else:
                levels[:] = np.concatenate([level[of_region].T if len(level) > 1 else level for level in found])
        levels += self._offsets[:, np.newaxis]
        return levels, by_columns

    def _calibrations(self, y0: int, y1: int) -> list[NDArray[Any]]:
        """Return the rows of bias, dark, what they do not know, and their variances; empty where there are none."""
        types = (np.float32, np.float32, np.bool_, np.float32, np.float32)
        none: list[NDArray[Any]] = [np.zeros((0, 0), dtype) for dtype in types]
        if not isinstance(self.first, DebiasedChip):
            return none
        rows = self.first.calibration_rows(y0, y1)
        return [empty if plane is None else np.require(plane, empty.dtype, ["C", "W"])
                for plane, empty in zip(rows, none, strict=True)]  # fmt: skip

    def _mark(self, rows: slice, columns: slice, out: Any) -> None:
        """Set the bits of the mask: nothing accepted; saturated in half of the frames, or, where unfit, in all."""
        if out.count.size:
            empty = out.count[:, columns] == 0
            self.mask[rows, columns][empty] |= np.uint16(NO_DATA)
        if out.saturated.size:
            often = out.saturated[:, columns] >= (len(self.chips) if self.rules.saturated_unfit else
                                                  (len(self.chips) + 1) // 2)  # fmt: skip
            if often.any():
                self.mask[rows, columns][often] |= np.uint16(SATURATED)


def _area(region: Region) -> int:
    rows, columns = region.slices
    return int(rows.stop - rows.start) * int(columns.stop - columns.start)
