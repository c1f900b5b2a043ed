"""Read a frame in strips with bounded memory, believing no header: sizes are checked before any data is read.

Plain, gzipped and tile-compressed (``.fz``) FITS files. A tile-compressed image is decompressed tile by tile by
astropy, after its claimed size was checked here.
"""

from __future__ import annotations

import gzip
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 2880
MAXIMUM_HEADER_BLOCKS = 2000  # 72,000 cards
MAXIMUM_HDUS = 300
MAXIMUM_PIXELS = 1 << 30  # 32k × 32k; a larger chip does not exist
MAXIMUM_BYTES = 1 << 33
MAXIMUM_INFLATION = 200  # times; a .gz of 1 MB that claims more than 200 MB is no frame
STRIP_BYTES = 8 << 20

PIXEL_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_QUOTED = re.compile(r"\s*'((?:[^']|'')*)'")


class FrameError(Exception):
    """The file is not a frame that can be shown; the message says why."""


@dataclass(frozen=True)
class Card:
    """One line of a header, as text."""

    keyword: str
    value: str
    comment: str


@dataclass(frozen=True)
class Hdu:
    """A header-data unit: its cards, and where its data lie."""

    cards: tuple[Card, ...]
    offset: int
    size: int
    values: dict[str, str] = field(repr=False, default_factory=dict)

    def number(self, keyword: str) -> float | None:
        """Return a card's value as a number, or None."""
        try:
            number = float(self.values[keyword].replace("D", "E"))
        except (KeyError, ValueError):
            return None
        return number if math.isfinite(number) else None

    def whole(self, keyword: str, default: int = 0) -> int:
        """Return a card's value as a whole number; raise FrameError where it is none."""
        if keyword not in self.values:
            return default
        try:
            return int(self.values[keyword])
        except ValueError:
            raise FrameError(f"the header's {keyword} is {self.values[keyword]!r}, not a whole number") from None

    @property
    def name(self) -> str:
        """The extension's name; the primary one's is PRIMARY."""
        return self.values.get("EXTNAME", "").strip().upper() or ("PRIMARY" if "SIMPLE" in self.values else "")

    @property
    def compressed(self) -> bool:
        """Whether this table holds a tile-compressed image."""
        return self.values.get("ZIMAGE") == "T"

    @property
    def is_table(self) -> bool:
        """Whether this is a table (and no image in disguise)."""
        return self.values.get("XTENSION", "").strip() in {"BINTABLE", "TABLE"} and not self.compressed

    @property
    def shape(self) -> tuple[int, int] | None:
        """Rows and columns of the image's first plane; None where there is no image."""
        if self.is_table:
            return None
        z = "Z" if self.compressed else ""
        if self.whole(f"{z}NAXIS") < 2:
            return None
        columns, rows = self.whole(f"{z}NAXIS1"), self.whole(f"{z}NAXIS2")
        if columns < 1 or rows < 1:
            return None
        if columns * rows > MAXIMUM_PIXELS:
            raise FrameError(f"the header claims {columns} × {rows} pixels: more than a frame can have")
        return rows, columns


def read_cards(block: bytes) -> tuple[Card, ...]:
    """Return the cards of a header, read up to END."""
    cards = []
    for start in range(0, len(block), 80):
        line = block[start : start + 80].decode("latin-1")
        if line[:8] == "END     ":
            break
        if line.strip():
            cards.append(_card(line))
    return tuple(cards)


def _card(line: str) -> Card:
    keyword, rest = line[:8].rstrip(), line[8:]
    if keyword == "HIERARCH" and "=" in rest:
        keyword, rest = (part.strip() for part in rest.split("=", 1))
    elif rest[:1] == "=":
        rest = rest[1:]
    else:
        return Card(keyword, rest.strip(), "")
    quoted = _QUOTED.match(rest)
    if quoted:
        value, rest = quoted.group(1).replace("''", "'").rstrip(), rest[quoted.end() :]
        return Card(keyword, value, rest.partition("/")[2].strip())
    value, _, comment = rest.partition("/")
    return Card(keyword, value.strip(), comment.strip())


class FrameFile:
    """An open frame: its units, and its images strip by strip."""

    def __init__(self, path: Path, file: IO[bytes], real_size: int, gzipped: bool, wanted: int) -> None:
        self.path = path
        self._file = file
        self.gzipped = gzipped
        self._wanted = wanted
        self._limit = min(real_size * MAXIMUM_INFLATION, MAXIMUM_BYTES) if gzipped else real_size
        self.hdus = self._scan()

    def _scan(self) -> list[Hdu]:
        hdus: list[Hdu] = []
        offset = 0
        while len(hdus) < MAXIMUM_HDUS:
            header = self._read_header(offset, first=not hdus)
            if header is None:
                break
            hdu = _measure(header, offset + len(header))
            if hdu.offset + hdu.size > self._limit:
                raise FrameError(
                    f"the header of unit {len(hdus)} claims {hdu.size} bytes of data, more than the file has"
                )
            hdus.append(hdu)
            if self.gzipped and hdu.shape and len(hdus) > self._wanted:
                break  # to look behind an image would mean to decompress all of it
            offset = hdu.offset + -(-hdu.size // BLOCK) * BLOCK
        return hdus

    def _read_header(self, offset: int, first: bool) -> bytes | None:
        if offset + BLOCK > self._limit:
            if first:
                raise FrameError("the file is too short to be FITS")
            return None
        self._file.seek(offset)
        blocks = []
        for _ in range(MAXIMUM_HEADER_BLOCKS):
            block = self._file.read(BLOCK)
            if len(block) < BLOCK:
                if blocks or first:
                    raise FrameError("the file ends within a header")
                return None
            if not blocks and block[:8] != (b"SIMPLE  " if first else b"XTENSION"):
                if first:
                    raise FrameError("the file does not begin as FITS does")
                return None
            blocks.append(block)
            if any(block[start : start + 8] == b"END     " for start in range(0, BLOCK, 80)):
                return b"".join(blocks)
        raise FrameError("the header has no end")

    def find(self, *names: str) -> Hdu | None:
        """Return the first image of one of these names, in the order of the names."""
        for name in names:
            for hdu in self.hdus:
                if hdu.name == name and hdu.shape:
                    return hdu
        return None

    @property
    def first_image(self) -> Hdu | None:
        """The first unit that holds an image."""
        return next((hdu for hdu in self.hdus if hdu.shape), None)

    def strips(self, hdu: Hdu, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the image from its first row on, `rows` rows at a time, in physical values."""
        if hdu.compressed:
            yield from self._compressed_strips(hdu, rows)
            return
        height, width = hdu.shape or (0, 0)
        dtype = np.dtype(PIXEL_TYPES[hdu.whole("BITPIX")])
        scale, zero = hdu.number("BSCALE"), hdu.number("BZERO")
        self._file.seek(hdu.offset)
        for y in range(0, height, rows):
            wanted = min(rows, height - y) * width * dtype.itemsize
            data = self._file.read(wanted)
            if len(data) < wanted:
                raise FrameError("the file ends within its data: it is cut off")
            yield physical(np.frombuffer(data, dtype).reshape(-1, width), scale, zero)

    def _compressed_strips(self, hdu: Hdu, rows: int) -> Iterator[NDArray[Any]]:
        from astropy.io import fits

        height, _ = hdu.shape or (0, 0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with fits.open(self.path, memmap=False, lazy_load_hdus=True) as opened:
                    section = opened[self.hdus.index(hdu)].section
                    for y in range(0, height, rows):
                        yield np.asarray(section[y : min(y + rows, height)])
        except Exception as error:  # noqa: BLE001 - astropy raises anything on a mutated table; this is its edge
            raise FrameError(f"the compressed image cannot be read: {error}") from None


def _measure(header: bytes, offset: int) -> Hdu:
    """Return the unit whose header this is; the size of its data is as section 4.4 of the FITS standard computes it."""
    cards = read_cards(header)
    values: dict[str, str] = {}
    for card in cards:
        values.setdefault(card.keyword, card.value)
    draft = Hdu(cards, offset, 0, values)
    bitpix, axes = draft.whole("BITPIX"), draft.whole("NAXIS")
    if bitpix not in PIXEL_TYPES or not 0 <= axes <= 9:
        raise FrameError(f"the header says BITPIX {bitpix} and NAXIS {axes}: no such FITS")
    pixels = 1 if axes else 0
    for axis in range(1, axes + 1):
        length = draft.whole(f"NAXIS{axis}")
        if length < 0:
            raise FrameError(f"the header's NAXIS{axis} is negative")
        pixels *= length
    groups, heap = max(draft.whole("GCOUNT", 1), 1), max(draft.whole("PCOUNT"), 0)
    return Hdu(cards, offset, abs(bitpix) // 8 * groups * (heap + pixels), values)


def physical(array: NDArray[Any], scale: float | None, zero: float | None) -> NDArray[Any]:
    if (scale is None or scale == 1.0) and not zero:
        return array
    # float32 holds 16-bit counts exactly, and a picture needs no more.
    return array.astype(np.float32) * np.float32(1.0 if scale is None else scale) + np.float32(zero or 0.0)


@contextmanager
def open_frame(path: Path, wanted: int = 0) -> Iterator[FrameFile]:
    """Open a frame and scan its headers, at least up to the unit `wanted`; raise FrameError where it is none."""
    size = path.stat().st_size
    with path.open("rb") as probe:
        gzipped = probe.read(2) == b"\x1f\x8b"
    opener: Any = gzip.open if gzipped else open
    try:
        with opener(path, "rb") as file:
            yield FrameFile(path, file, size, gzipped, wanted)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FrameError(f"the file cannot be decompressed: {error}") from None
