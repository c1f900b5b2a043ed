"""A frame: science, variance and mask of one chip with what the archive knows of it, read whole or in row strips.

The planes come from arrays or from files that the job's runner opened; either way ``strips`` keeps memory bounded.
What a frame gives out is read-only: arithmetic makes new arrays, never changes an input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recipes.attributes import FrameAttributes, Section
from recipes.errors import UsageError
from recipes.masks import NO_DATA

FloatArray = NDArray[np.float32]
MaskArray = NDArray[np.uint16]

# Bytes that the strips of all frames of one pass may take together: stays in a processor's outer cache, near enough.
STRIP_BYTES = 24 * 2**20


ALL = slice(None)


class Plane(Protocol):
    """Pixels that are read by rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def read(self, y0: int, y1: int, columns: slice = ALL) -> NDArray[Any]:
        """Return rows `y0` to `y1` (end excluded), or of them some columns."""


class ArrayPlane:
    """A plane that lies in memory."""

    def __init__(self, values: NDArray[Any], dtype: type[np.generic]) -> None:
        view = np.asarray(values).astype(dtype, copy=False).view()
        view.flags.writeable = False
        self._values = view

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._values.shape[0], self._values.shape[1]

    def read(self, y0: int, y1: int, columns: slice = ALL) -> NDArray[Any]:
        """Return rows `y0` to `y1`, read-only."""
        return self._values[y0:y1, columns]


@dataclass(frozen=True)
class Strip:
    """Some rows of a frame; ``mask`` is 0 where the frame has none and the pixel is a number."""

    y0: int
    y1: int
    data: FloatArray
    variance: FloatArray | None
    mask: MaskArray


class Frame:
    """Science, variance and mask planes of one chip.

    Parameters
    ----------
    data : array or Plane or None
        Science pixels, rows by columns; None for a frame that is only a mask.
    variance : array or Plane, optional
        Variance of `data`, in its unit squared.
    mask : array or Plane, optional
        Bits of :mod:`recipes.masks`.
    attributes : FrameAttributes, optional
        What the archive knows of it.
    unit : str
        Unit of `data`: adu, electron, adu/s or empty for a ratio.
    name : str
        How errors and the log call it.
    kind : str, optional
        Its kind of product, of :data:`recipes.kinds.KINDS`, where it came from a file.
    wcs : mapping, optional
        Its world coordinate system as FITS cards.
    """

    def __init__(
        self,
        data: NDArray[Any] | Plane | None,
        *,
        variance: NDArray[Any] | Plane | None = None,
        mask: NDArray[Any] | Plane | None = None,
        attributes: FrameAttributes | None = None,
        unit: str = "adu",
        name: str = "frame",
        kind: str = "",
        wcs: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.unit = unit
        self.attributes = attributes or FrameAttributes()
        self.wcs: dict[str, Any] = dict(wcs or {})
        self._data = _as_plane(data, np.float32)
        self._variance = _as_plane(variance, np.float32)
        self._mask = _as_plane(mask, np.uint16)
        shapes = {plane.shape for plane in (self._data, self._variance, self._mask) if plane is not None}
        if len(shapes) != 1:
            raise UsageError(f"{name}: science, variance and mask do not have one shape: {sorted(shapes)}")
        self.shape: tuple[int, int] = shapes.pop()

    def __repr__(self) -> str:
        return f"Frame({self.name!r}, {self.shape[1]}×{self.shape[0]} {self.unit})"

    @property
    def has_data(self) -> bool:
        """Whether it has science pixels (a pixel map has only a mask)."""
        return self._data is not None

    @property
    def has_variance(self) -> bool:
        """Whether it knows its variance."""
        return self._variance is not None

    @property
    def data(self) -> FloatArray:
        """All science pixels, read-only."""
        return self.data_rows(0, self.shape[0])

    @property
    def variance(self) -> FloatArray | None:
        """All variances, read-only, or None."""
        return None if self._variance is None else self._variance.read(0, self.shape[0])

    @property
    def mask(self) -> MaskArray:
        """The whole mask, read-only."""
        return self._data_and_mask(0, self.shape[0])[1]

    def strip(self, y0: int, y1: int) -> Strip:
        """Return rows `y0` to `y1`; pixels that are no number carry the bit NO_DATA."""
        data, mask = self._data_and_mask(y0, y1)
        variance = None if self._variance is None else self._variance.read(y0, y1)
        return Strip(y0, y1, data, variance, mask)

    def _data_and_mask(self, y0: int, y1: int) -> tuple[FloatArray, MaskArray]:
        data = np.zeros((y1 - y0, self.shape[1]), np.float32) if self._data is None else self._data.read(y0, y1)
        mask = self._mask.read(y0, y1) if self._mask is not None else np.zeros(data.shape, np.uint16)
        if self._data is not None and not _all_finite(data):
            mask = np.where(np.isfinite(data), mask, mask | np.uint16(NO_DATA))
        return data, mask

    def data_rows(self, y0: int, y1: int) -> FloatArray:
        """Return the science pixels of rows `y0` to `y1`."""
        return self.section(Section(y0, y1, 0, self.shape[1]))

    def variance_rows(self, y0: int, y1: int) -> FloatArray:
        """Return the variances of rows `y0` to `y1`, which it must know."""
        if self._variance is None:
            raise UsageError(f"{self.name} has no variance")
        return self._variance.read(y0, y1)

    @property
    def stored_zero(self) -> float | None:
        """What is added to the 16-bit whole numbers that its pixels are stored as; None where they are not such."""
        return getattr(self._data, "stored_zero", None) if self._mask is None else None

    def read_stored(self, y0: int, rows: NDArray[np.uint16]) -> None:
        """Fill `rows` (C-contiguous) from row `y0` on with the numbers as they are stored, big-endian."""
        self._data.read_stored(y0, rows)  # type: ignore[union-attr]

    def numbers(self, y0: int, y1: int) -> FloatArray:
        """Return the science pixels of rows `y0` to `y1`, NaN where its mask says that there are no data."""
        data = self.data_rows(y0, y1)
        if self._mask is None:
            return data
        return np.where(self._mask.read(y0, y1) & np.uint16(NO_DATA), np.float32(np.nan), data)

    def section(self, section: Section) -> FloatArray:
        """Return the science pixels of a section, without converting those beside it."""
        if self._data is None:
            return np.zeros(section.shape, np.float32)
        return self._data.read(section.y0, section.y1, slice(section.x0, section.x1))

    def strips(self, rows: int | None = None) -> Iterator[Strip]:
        """Yield the frame in strips of `rows` rows from the bottom up."""
        for y0, y1 in strip_bounds(self.shape[0], rows or rows_of_strips(self.shape[1])):
            yield self.strip(y0, y1)

    def planes(self, y0: int, y1: int) -> tuple[FloatArray | None, FloatArray | None, MaskArray | None]:
        """Return rows `y0` to `y1` of data, variance and mask as they are, None for what it has not."""
        data = None if self._data is None else self._data.read(y0, y1)
        variance = None if self._variance is None else self._variance.read(y0, y1)
        return data, variance, None if self._mask is None else self._mask.read(y0, y1)

    def number(self, name: str) -> float | None:
        """Return the attribute `name` (own or kind-specific) as a finite float, or None."""
        return number_of(self.attributes, name)


def number_of(attributes: FrameAttributes, name: str) -> float | None:
    """Return attribute `name` as a finite float, or None where it is missing or no number."""
    value = getattr(attributes, name, None)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def rows_of_strips(width: int, planes: int = 1, budget: int = STRIP_BYTES) -> int:
    """Return how many rows of `planes` float32 planes fit into the budget (at least 8)."""
    return max(8, budget // (4 * max(width, 1) * max(planes, 1)))


def strip_bounds(height: int, rows: int) -> list[tuple[int, int]]:
    """Return first row and end of each strip of at most `rows` rows."""
    return [(y0, min(y0 + rows, height)) for y0 in range(0, height, rows)]


def _all_finite(values: FloatArray) -> bool:
    """Whether all values are surely finite: their sum is (that of large ones may overflow, which only costs time)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.add.reduce(values, axis=None)))


def _as_plane(values: NDArray[Any] | Plane | None, dtype: type[np.generic]) -> Plane | None:
    if values is None:
        return None
    if isinstance(values, np.ndarray):
        if values.ndim != 2:
            raise UsageError(f"a plane has rows and columns, this array has {values.ndim} dimensions")
        return ArrayPlane(values, dtype)
    return values
