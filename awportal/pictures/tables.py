"""Read a table of a product with bounded memory: its columns with units, and its first rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awportal.pictures.frame_file import FrameError, open_frame

MAXIMUM_COLUMNS = 200


@dataclass(frozen=True)
class Table:
    """The first rows of a table."""

    name: str
    rows_in_all: int
    columns: list[str]
    units: list[str]
    values: dict[str, NDArray[Any]]

    @property
    def rows(self) -> list[list[Any]]:
        """The rows as lists of plain values."""
        return [list(row) for row in zip(*(self.values[name].tolist() for name in self.columns), strict=True)]

    def numbers(self, name: str) -> NDArray[np.float64] | None:
        """Return a column of scalars as float64, or None."""
        column = self.values.get(name)
        if column is None or column.ndim != 1 or column.dtype.kind not in "iufb":
            return None
        return column.astype(np.float64)


def read_table(path: Path, maximum_rows: int) -> Table | None:
    """Return the first table of the file; None where there is none; raise FrameError where it cannot be read."""
    with open_frame(path) as frame:
        position = next((place for place, hdu in enumerate(frame.hdus) if hdu.is_table), None)
    if position is None:
        return None
    from astropy.io import fits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=True) as opened:
                hdu = opened[position]
                names = [str(name) for name in hdu.columns.names[:MAXIMUM_COLUMNS]]
                units = [str(unit or "") for unit in hdu.columns.units[:MAXIMUM_COLUMNS]]
                head = hdu.data[:maximum_rows]
                values = {name: np.array(head[name]) for name in names}
                return Table(hdu.name, len(hdu.data), names, units, values)
    except Exception as error:  # noqa: BLE001 - astropy raises anything on a mutated table; this is its edge
        raise FrameError(f"the table cannot be read: {error}") from None
