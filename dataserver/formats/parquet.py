"""Parquet, for pandas, polars and DuckDB: columns with their types; unit and description are metadata of each field.

``pyarrow.parquet.read_table(name).schema.field("FLUX_AUTO").metadata`` gives ``{b"unit": b"electron", ...}``.
"""

from __future__ import annotations

import math
from typing import Any, BinaryIO

from dataserver.formats import Format
from dataserver.formats.rows import Cells, Described, rows_of

_AT_ONCE = 65_536  # rows of a group


def write(source: BinaryIO, output: BinaryIO) -> None:
    """Write the first table of the FITS file `source` as Parquet, a group of rows after the other."""
    import pyarrow as pa
    from pyarrow import parquet

    writer = None
    try:
        for described, cells in rows_of(source, _AT_ONCE):
            arrays = [_array(pa, each) for each in cells]
            if writer is None:
                schema = pa.schema([_field(pa, *pair) for pair in zip(described, arrays, strict=True)])
                writer = parquet.ParquetWriter(output, schema, compression="zstd")
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    finally:
        if writer is not None:
            writer.close()


def _array(pa: Any, cells: Cells) -> Any:
    values = cells.values
    if values.ndim > 1:
        flat = pa.array(values.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, math.prod(values.shape[1:]))
    if values.dtype.kind == "U":
        return pa.array(values.tolist(), pa.string())
    return pa.array(values, mask=cells.missing)


def _field(pa: Any, column: Described, array: Any) -> Any:
    told = {"unit": column.unit, "description": column.description}
    return pa.field(column.name, array.type, metadata={name: text for name, text in told.items() if text} or None)


FORMAT = Format(
    name="parquet",
    title="Parquet",
    suffix=".parquet",
    media_type="application/vnd.apache.parquet",
    contents=frozenset({"table"}),
    write=write,
)
