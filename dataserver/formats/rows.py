"""Rows of a table, some thousand at a time: values by column, with what is missing marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dataserver.errors import WrongFormat
from dataserver.formats.opening import is_table, opened_fits


@dataclass(frozen=True)
class Described:
    """A column as its header has it."""

    name: str
    unit: str
    description: str
    null: int | None


@dataclass(frozen=True)
class Cells:
    """Cells of a column; `missing` marks those without a value (of columns of arrays: none)."""

    values: NDArray[Any]
    missing: NDArray[np.bool_]


def rows_of(source: BinaryIO, at_once: int) -> Iterator[tuple[list[Described], list[Cells]]]:
    """Yield the first table of a FITS file in pieces, at least one; raise WrongFormat where there is none."""
    with opened_fits(source) as hdus:
        hdu = next((hdu for hdu in hdus if is_table(hdu)), None)
        if hdu is None:
            raise WrongFormat("the file holds no table", hint="download it as FITS or ASDF")
        described = [_described(hdu, number) for number in range(len(hdu.columns))]
        for first in range(0, max(len(hdu.data), 1), at_once):
            part = hdu.data[first : first + at_once]
            yield described, [_cells(np.asarray(part.field(n)), column) for n, column in enumerate(described)]


def _described(hdu: Any, number: int) -> Described:
    column = hdu.columns[number]
    if "P" in str(column.format)[:2] or "Q" in str(column.format)[:2]:
        raise WrongFormat(f"column {column.name} has lists of any length", hint="download the table as FITS")
    null = column.null if isinstance(column.null, int) else None
    return Described(column.name, column.unit or "", str(hdu.header.comments[f"TTYPE{number + 1}"]), null)


def _cells(values: NDArray[Any], column: Described) -> Cells:
    """Return values in the machine's byte order, texts as such."""
    if values.dtype.kind == "S":
        values = np.char.decode(values, "ascii", "replace")
    values = values.astype(values.dtype.newbyteorder("="))
    missing = np.zeros(len(values), bool)
    if values.ndim == 1 and values.dtype.kind in "fc":
        missing = np.isnan(values)
    elif values.ndim == 1 and values.dtype.kind in "iu" and column.null is not None:
        missing = values == column.null
    return Cells(values, missing)
