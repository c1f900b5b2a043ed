"""A raw frame seen as a chip: overscan-corrected, trimmed, its amplifiers put together, and read by strips.

Overscan methods (``overscan_correction``, Astro-WISE's numbers): 0 none; 1-4 one number, the median of prescan-x,
overscan-x, prescan-y, overscan-y; 5-8 the same for each row (x) or each column (y).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recipes.attributes import Section
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray
from recipes.masks import SATURATED

OverscanMethod = Literal[0, 1, 2, 3, 4, 5, 6, 7, 8]
_NAMES = ("prescan_x", "overscan_x", "prescan_y", "overscan_y")


@dataclass(frozen=True)
class Region:
    """What one amplifier reads: where it lies in the trimmed image, and its overscan section for the method in use."""

    amplifier: str
    rows: slice
    columns: slice
    overscan: Section | None

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index into the trimmed image."""
        return self.rows, self.columns


class RawChip:
    """A raw frame as an overscan-corrected, trimmed image [adu].

    Parameters
    ----------
    frame : Frame
        Raw frame with its sections in the attributes; without any the whole array is data.
    overscan_correction : int
        Method asked for. Where the chip has no such section the next best of its sections is used in the same manner,
        and none (0) where it has none: see :attr:`method`.

    Raises
    ------
    UsageError
        A section lies outside the frame, or overscan lies inside the data.
    """

    def __init__(self, frame: Frame, overscan_correction: int) -> None:
        self.frame = frame
        self.name = frame.name
        self.method = effective_method(frame, overscan_correction)
        section_name = _NAMES[(self.method - 1) % 4] if self.method else ""
        data_sections = _data_sections(frame)
        self._raw_rows = _union([(section.y0, section.y1) for _, section in data_sections])
        self._raw_columns = _union([(section.x0, section.x1) for _, section in data_sections])
        self.shape = (len(self._raw_rows), len(self._raw_columns))
        self.regions = tuple(
            Region(
                amplifier,
                _inside(self._raw_rows, section.y0, section.y1),
                _inside(self._raw_columns, section.x0, section.x1),
                _overscan_section(frame, amplifier, section_name),
            )
            for amplifier, section in data_sections
        )
        self.saturation = frame.attributes.saturation
        self._found_levels: dict[int, FloatArray] = {}

    @property
    def raw_rows(self) -> NDArray[np.intp]:
        """The row of the raw frame of each row of the trimmed image."""
        return self._raw_rows

    def raw_column(self, region: Region) -> int:
        """Return the column of the raw frame with which a region begins."""
        return int(self._raw_columns[region.columns.start])

    def is_beside(self, region: Region) -> bool:
        """Whether the region's overscan covers all of its rows."""
        first, last = self._raw_rows[region.rows.start], self._raw_rows[region.rows.stop - 1]
        return region.overscan is not None and region.overscan.y0 <= first and last < region.overscan.y1

    def level(self, index: int) -> FloatArray:
        """Return the overscan level of the region of that number in a shape that subtracts from it."""
        if index not in self._found_levels:
            self._found_levels[index] = self._level(self.regions[index])
        return self._found_levels[index]

    @property
    def origin(self) -> tuple[int, int]:
        """Column and row (0-based) of the raw frame at which the trimmed image begins."""
        return int(self._raw_columns[0]), int(self._raw_rows[0])

    @property
    def has_overscan(self) -> bool:
        """Whether an overscan is subtracted."""
        return self.method != 0

    def strip(self, y0: int, y1: int) -> tuple[FloatArray, MaskArray]:
        """Return the corrected rows `y0` to `y1` of the trimmed image and their mask (saturated, no data)."""
        rows = self._raw_rows[y0:y1]
        if not len(rows):
            return np.zeros((0, self.shape[1]), np.float32), np.zeros((0, self.shape[1]), np.uint16)
        strip = self.frame.strip(int(rows[0]), int(rows[-1]) + 1)
        index = _index(rows - rows[0]), _index(self._raw_columns)
        data, mask = strip.data[index[0]][:, index[1]], strip.mask[index[0]][:, index[1]]
        if self.saturation is not None:
            with np.errstate(invalid="ignore"):
                mask = np.where(data >= self.saturation, mask | np.uint16(SATURATED), mask)
        if not self.has_overscan:
            return data, mask
        corrected = np.array(data)
        for number, region in enumerate(self.regions):
            level = self.level(number)
            top, bottom = max(region.rows.start, y0), min(region.rows.stop, y1)
            if top >= bottom:
                continue
            part = (slice(top - y0, bottom - y0), region.columns)
            of_rows = slice(top - region.rows.start, bottom - region.rows.start) if level.shape[0] > 1 else slice(None)
            corrected[part] -= level[of_rows]
        return corrected, mask

    def whole(self) -> FloatArray:
        """Return the whole corrected image."""
        return self.strip(0, self.shape[0])[0]

    def mask(self) -> MaskArray:
        """Return the mask of the whole image."""
        return self.strip(0, self.shape[0])[1]

    def overscan_noise(self, region: Region) -> float:
        """Return the variance that subtracting the overscan adds, in units of the read noise squared."""
        if region.overscan is None or not self.method:
            return 0.0
        height, width = region.overscan.shape
        number = height * width if self.method <= 4 else (width if self.method in (5, 6) else height)
        return median_variance(number)

    def of_amplifiers(self, value: dict[str, float]) -> FloatArray:
        """Return an image that holds each amplifier's value (of :attr:`regions`, by name) in its region."""
        image = np.zeros(self.shape, np.float32)
        for region in self.regions:
            image[region.slices] = value[region.amplifier]
        return image

    def _level(self, region: Region) -> FloatArray:
        """Return the overscan level of a region in a shape that subtracts from it."""
        if region.overscan is None:
            return np.zeros((1, 1), np.float32)
        section = region.overscan
        pixels = self.frame.section(section)
        overall = np.float32(np.nanmedian(pixels)) if np.isfinite(pixels).any() else np.float32(0)
        if self.method <= 4:
            return np.full((1, 1), overall, np.float32)
        if self.method in (5, 6):
            level = np.full(self.frame.shape[0], overall, np.float32)
            level[section.y0 : section.y1] = _median(pixels, 1, overall)
            return level[self._raw_rows[region.rows]][:, np.newaxis]
        level = np.full(self.frame.shape[1], overall, np.float32)
        level[section.x0 : section.x1] = _median(pixels, 0, overall)
        return level[self._raw_columns[region.columns]][np.newaxis, :]


def effective_method(frame: Frame, overscan_correction: int) -> int:
    """Return the method that can be used: the one asked for, else the next best section in the same manner, else 0."""
    if overscan_correction == 0:
        return 0
    per_line = overscan_correction > 4
    wanted = _NAMES[(overscan_correction - 1) % 4]
    order = [wanted, *(name for name in ("overscan_x", "prescan_x", "overscan_y", "prescan_y") if name != wanted)]
    for name in order:
        if _has_section(frame, name):
            return _NAMES.index(name) + 1 + (4 if per_line else 0)
    return 0


def median_variance(number: int) -> float:
    """Return the variance of the median of `number` Gaussian values in units of theirs.

    pi / (2 (n - 1) + pi): 1 of one value, and the asymptotic pi / 2n of many (Kendall & Stuart, Advanced Theory of
    Statistics 1, section 10.10); a few percent too large for a small even number.
    """
    return float(np.pi / (2 * (number - 1) + np.pi)) if number > 0 else 0.0


def check_alike(frames: Sequence[Frame], *, minimum: int, what: str, same_filter: bool = False) -> None:
    """Raise UsageError that names the frame, unless there are `minimum` frames of one chip, mode, shape and layout."""
    if len(frames) < minimum:
        raise UsageError(f"{what} needs at least {minimum} frames, got {len(frames)}")
    first = frames[0]
    keys = ["instrument", "chip", "readout_mode", "data_section", "overscan_x", "prescan_x", "overscan_y", "prescan_y",
            "amplifiers"]  # fmt: skip
    for frame in frames[1:]:
        if frame.shape != first.shape:
            raise UsageError(
                f"{frame.name} has {frame.shape[1]} × {frame.shape[0]} pixels, "
                f"{first.name} has {first.shape[1]} × {first.shape[0]}",
                hint="give frames of one chip and one binning; a readout mode for each binning keeps them apart",
            )
        for key in [*keys, "filter"] if same_filter else keys:
            mine, others = getattr(frame.attributes, key), getattr(first.attributes, key)
            if mine != others:
                raise UsageError(
                    f"{frame.name} has {key} {mine!r}, {first.name} has {others!r}", hint=f"give frames of one {key}"
                )


def _data_sections(frame: Frame) -> list[tuple[str, Section]]:
    """Return each amplifier's data section; one without a name where there are no amplifiers."""
    amplifiers = frame.attributes.amplifiers
    if amplifiers:
        sections = [
            (entry.name, _section(frame, entry.data_section, f"amplifier {entry.name}")) for entry in amplifiers
        ]
        _refuse_overlap(frame, sections)
        return sections
    given = frame.attributes.data_section
    data = _section(frame, given, "data_section") if given else Section(0, frame.shape[0], 0, frame.shape[1])
    for name in _NAMES:
        text = getattr(frame.attributes, name)
        if text:
            data = _without(frame, data, _section(frame, text, name), name)
    return [("", data)]


def _refuse_overlap(frame: Frame, sections: list[tuple[str, Section]]) -> None:
    taken = np.zeros(frame.shape, bool)
    for amplifier, section in sections:
        if taken[section.slices].any():
            raise UsageError(f"{frame.name}: the data section of amplifier {amplifier} overlaps another's")
        taken[section.slices] = True


def _without(frame: Frame, data: Section, overscan: Section, name: str) -> Section:
    """Return `data` without the overscan at its edge: some cameras' data sections hold it."""
    y0, y1, x0, x1 = data
    overlap = min(y1, overscan.y1) > max(y0, overscan.y0) and min(x1, overscan.x1) > max(x0, overscan.x0)
    if not overlap:
        return data
    if name.endswith("_x"):
        if overscan.x0 <= x0:
            x0 = overscan.x1
        elif overscan.x1 >= x1:
            x1 = overscan.x0
    elif overscan.y0 <= y0:
        y0 = overscan.y1
    elif overscan.y1 >= y1:
        y1 = overscan.y0
    if (y0, y1, x0, x1) == tuple(data) or y0 >= y1 or x0 >= x1:
        raise UsageError(f"{frame.name}: {name} lies inside the data", hint="mend the sections of the instrument")
    return Section(y0, y1, x0, x1)


def _section(frame: Frame, text: str, what: str) -> Section:
    try:
        section = Section.parse(text)
    except ValueError as error:
        raise UsageError(f"{frame.name}: {what}: {error}") from None
    if section.y1 > frame.shape[0] or section.x1 > frame.shape[1]:
        raise UsageError(
            f"{frame.name}: {what} {text} lies outside its {frame.shape[1]} × {frame.shape[0]} pixels",
            hint="was the frame binned or windowed? Mend the sections of the instrument for that readout mode",
        )
    return section


def _has_section(frame: Frame, name: str) -> bool:
    amplifiers = frame.attributes.amplifiers
    if amplifiers and name.endswith("_x") and any(getattr(entry, name) for entry in amplifiers):
        return all(getattr(entry, name) or getattr(frame.attributes, name) for entry in amplifiers)
    return bool(getattr(frame.attributes, name))


def _overscan_section(frame: Frame, amplifier: str, name: str) -> Section | None:
    if not name:
        return None
    for entry in frame.attributes.amplifiers:
        own = getattr(entry, name, None)
        if entry.name == amplifier and own:
            return _section(frame, own, f"{name} of amplifier {amplifier}")
    text = getattr(frame.attributes, name)
    return _section(frame, text, name) if text else None


def _union(ranges: list[tuple[int, int]]) -> NDArray[np.intp]:
    """Return the sorted numbers that lie in any of the ranges."""
    if len(set(ranges)) == 1:  # nothing to sort, which for thirty frames would be a tenth of their stack's time
        return np.arange(*ranges[0])
    return np.unique(np.concatenate([np.arange(start, end) for start, end in ranges]))


def _inside(raw: NDArray[np.intp], start: int, end: int) -> slice:
    return slice(int(np.searchsorted(raw, start)), int(np.searchsorted(raw, end)))


def _index(numbers: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return a slice where the numbers are consecutive: no copy is made then."""
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return numbers


def _median(pixels: FloatArray, axis: int, fallback: np.float32) -> FloatArray:
    if np.isfinite(pixels).all():
        # Few pixels each: sorting them all takes a fraction of the time that selecting does.
        ordered = np.sort(pixels, axis=axis)
        low, high = (np.take(ordered, place // 2, axis=axis) for place in (pixels.shape[axis] - 1, pixels.shape[axis]))
        return np.asarray((low + high) / 2, np.float32)
    good = np.isfinite(pixels).any(axis=axis)
    filled = np.where(np.isfinite(pixels), pixels, np.nan)
    filled = np.where(np.expand_dims(good, axis), filled, fallback)
    return np.asarray(np.nanmedian(filled, axis=axis), np.float32)
