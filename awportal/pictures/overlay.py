"""Sources of a table as the viewer lays them over their frame: ellipses on its pixels, and one source's whole row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from awportal.pictures.frame_file import FrameError
from awportal.pictures.source_map import MAXIMUM_SOURCES
from awportal.pictures.tables import Table, read_table

_POSITIONS = (("XWIN_IMAGE", "YWIN_IMAGE"), ("X_IMAGE", "Y_IMAGE"))
_PLAIN_RADIUS = 6.0  # pixels, where the table tells no shape
_ISOPHOTE = 3.0  # times the rms along the axes, where there is no Kron radius: SExtractor's isophotal extent


def ellipses(path: Path) -> dict[str, Any]:
    """Return row numbers, positions (from 0 at the centre of the first pixel), half axes [pixel] and angles [deg]."""
    table = _table(path)
    for names in _POSITIONS:
        x, y = (table.numbers(name) for name in names)
        if x is not None and y is not None:
            break
    else:
        raise FrameError("the table has no positions on pixels")
    major, minor, angle = (table.numbers(name) for name in ("A_IMAGE", "B_IMAGE", "THETA_IMAGE"))
    if major is None or minor is None or angle is None:
        major = minor = np.full(x.size, _PLAIN_RADIUS)
        angle = np.zeros(x.size)
    else:
        kron = table.numbers("KRON_RADIUS")
        factor = _ISOPHOTE if kron is None else np.where(kron > 0, kron, _ISOPHOTE)
        major, minor = major * factor, minor * factor
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & np.isfinite(major) & np.isfinite(minor))
    values = {"x": x - 1, "y": y - 1, "major": major, "minor": minor, "angle": np.nan_to_num(angle)}
    columns = {name: [round(float(value), 2) for value in column[rows]] for name, column in values.items()}
    return {"rows": rows.tolist(), "in_all": table.rows_in_all, **columns}


def row_of(path: Path, row: int) -> dict[str, Any]:
    """Return the cells of a row: name, value as text, unit; raise FrameError where there is none."""
    table = _table(path)
    if not 0 <= row < len(table.values[table.columns[0]]):
        raise FrameError(f"the table has no row {row}")
    cells = [
        {"name": name, "value": _text(table.values[name][row]), "unit": unit}
        for name, unit in zip(table.columns, table.units, strict=True)
    ]
    return {"row": row, "cells": cells}


def _table(path: Path) -> Table:
    table = read_table(path, MAXIMUM_SOURCES)
    if table is None or not table.columns:
        raise FrameError("the file holds no table")
    return table


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return ", ".join(_text(each) for each in value[:8])
    if isinstance(value, np.floating):
        return f"{float(value):.8g}" if value.dtype.itemsize > 4 else f"{float(value):.6g}"
    return str(value.decode("latin-1") if isinstance(value, bytes) else value)
