"""The picture of a source list: where its sources lie on the frame, larger where they are brighter."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from awportal.pictures.frame_file import FrameError
from awportal.pictures.tables import Table, read_table

MAXIMUM_SOURCES = 40_000
_SIDE = 1024
_POSITIONS = (
    ("X_IMAGE", "Y_IMAGE"),
    ("XWIN_IMAGE", "YWIN_IMAGE"),
    ("ALPHA_J2000", "DELTA_J2000"),
    ("ALPHA_SKY", "DELTA_SKY"),
    ("RA", "DEC"),
)
_BRIGHTNESSES = ("FLUX_AUTO", "FLUX_ISO", "FLUX_BEST")


def draw_sources(path: Path) -> tuple[bytes, bytes, dict[str, Any]]:
    """Return the picture in both sizes and the numbers beside it; raise FrameError where there are no positions."""
    table = read_table(path, MAXIMUM_SOURCES)
    if table is None:
        raise FrameError("the file holds no table")
    for names in _POSITIONS:
        x, y = (table.numbers(name) for name in names)
        if x is not None and y is not None:
            break
    else:
        raise FrameError("the table has no positions that could be drawn")
    if not names[0].endswith("_IMAGE"):
        x = _eastwards_left(x, y)
    size = _brightness(table)
    good = np.isfinite(x) & np.isfinite(y)
    picture = _draw(x[good], y[good], size[good])
    thumb = picture.resize((160, max(1, 160 * picture.height // picture.width)), Image.Resampling.BOX)
    facts = {"sources": table.rows_in_all, "drawn": int(good.sum()), "axes": list(names)}
    return _png(picture), _png(thumb), facts


def _eastwards_left(ra: Any, dec: Any) -> Any:
    """Return right ascensions as places along x: degrees on the sky, growing to the left, whole across 0 h."""
    known = ra[np.isfinite(ra) & np.isfinite(dec)]
    if known.size == 0:
        return ra
    offsets = (ra - known[0] + 180.0) % 360.0 - 180.0
    return -offsets * np.cos(np.deg2rad(np.nanmedian(dec)))


def _brightness(table: Table) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return radii from 1 to 8 px: a magnitude brighter is a step larger."""
    rows = len(table.values[table.columns[0]])
    for name in _BRIGHTNESSES:
        flux = table.numbers(name)
        if flux is not None and (flux > 0).any():
            magnitude = -2.5 * np.log10(np.where(flux > 0, flux, flux[flux > 0].min()))
            return np.clip(8.0 - (magnitude - np.nanmin(magnitude)), 1.0, 8.0)
    return np.full(rows, 2.0)


def _draw(x: Any, y: Any, radius: Any) -> Image.Image:
    if x.size == 0:
        return Image.new("RGB", (_SIDE, _SIDE // 2), (10, 13, 16))
    width, height = max(float(np.ptp(x)), 1e-9), max(float(np.ptp(y)), 1e-9)
    scale = (_SIDE - 40) / max(width, height)
    picture = Image.new("RGB", (round(width * scale) + 40, round(height * scale) + 40), (10, 13, 16))
    draw = ImageDraw.Draw(picture)
    for px, py, r in zip((x - x.min()) * scale + 20, picture.height - 20 - (y - y.min()) * scale, radius, strict=True):
        draw.ellipse((px - r, py - r, px + r, py + r), fill=(235, 238, 240))
    return picture


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
