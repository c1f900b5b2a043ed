"""CSV (RFC 4180): a line of column names, then the rows; a missing value is an empty cell.

A column of arrays becomes one column an element: ``FLUX_APER_1``, ``FLUX_APER_2``. Units are not told: FITS, VOTable
and Parquet do.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from dataserver.formats import Format
from dataserver.formats.rows import Cells, Described, rows_of

_AT_ONCE = 5000


def write(source: BinaryIO, output: BinaryIO) -> None:
    """Write the first table of the FITS file `source` as CSV."""
    text = io.TextIOWrapper(output, "utf-8", newline="", write_through=False)
    writer = csv.writer(text)
    for number, (described, cells) in enumerate(rows_of(source, _AT_ONCE)):
        columns = [column for each in zip(described, cells, strict=True) for column in _plain(*each)]
        if number == 0:
            writer.writerow([name for name, _ in columns])
        writer.writerows(zip(*(values for _, values in columns), strict=True))
    text.flush()
    text.detach()


def _plain(column: Described, cells: Cells) -> Iterator[tuple[str, list[str]]]:
    """Yield a column's name and its cells as text, the shortest that reads back as the same number."""
    values = cells.values.reshape(len(cells.values), math.prod(cells.values.shape[1:]))
    for element in range(values.shape[1]):
        name = f"{column.name}_{element + 1}" if values.shape[1] > 1 else column.name
        yield name, ["" if gone else text for gone, text in zip(_missing(cells, values[:, element]),
                                                                _texts(values[:, element]), strict=True)]  # fmt: skip


def _missing(cells: Cells, values: Any) -> list[bool]:
    missing = np.isnan(values) if values.dtype.kind in "fc" else cells.missing
    return list(missing.tolist())


def _texts(values: Any) -> list[str]:
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    return list(values.astype(str).tolist())


FORMAT = Format(
    name="csv",
    title="CSV",
    suffix=".csv",
    media_type="text/csv; charset=utf-8",
    contents=frozenset({"table"}),
    write=write,
)
