"""Writing products as FITS: the same products give the same bytes, and the header tells how they were made.

No time of writing, no host and no path goes into a file; CHECKSUM and DATASUM (FITS 4.0, section 4.4.2.7 and
appendix J) carry fixed comments.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import textwrap
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.attributes import FrameAttributes
from recipes.fits_checksum import encoded, folded, sum_of_bytes, sum_of_pixels
from recipes.fits_header import BLOCK
from recipes.frame import Frame, strip_bounds
from recipes.job import JobInput, Measurement
from recipes.kinds import KINDS
from recipes.masks import CONVENTION, CONVENTION_CARD, MASK_BITS
from recipes.products import Product
from recipes.quality import QUALITY_FLAGS
from recipes.recipe import Recipe, Scalar
from recipes.tables import Table
from recipes.values import Values

if TYPE_CHECKING:
    from astropy.io.fits import Header

_FORMATS = {"b": "L", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "u1": "B"}
_LONGEST_PART = 40
# Pieces that may wait to be hashed while the next is filled: meanwhile the sum of the next plane is taken.
_WAITING = 3
_PIECE = 2**19  # bytes that are made, hashed and written while they lie in the processor's cache
_STANDARD_CARDS = (
    ("INSTRUME", "instrument", "instrument"),
    ("CHIP", "chip", "chip"),
    ("FILTER", "filter", "filter"),
    ("READMODE", "readout_mode", "readout mode"),
    ("DATE-OBS", "date_obs", "UT of the (first) exposure"),
    ("NIGHT", "night", "date of the evening"),
    ("EXPTIME", "exposure_time", "[s] exposure time"),
    ("CCD-TEMP", "temperature", "[deg C] detector"),
    ("AIRMASS", "airmass", "airmass"),
    ("OBJECT", "object", "object"),
    ("RA", "ra", "[deg] pointing, ICRS"),
    ("DEC", "dec", "[deg] pointing, ICRS"),
    ("SATURATE", "saturation", "[adu] saturation level"),
    ("RDNOISE", "read_noise", "[adu] read noise"),
    ("GAIN", "gain", "[electron/adu] gain"),
)


@dataclass(frozen=True)
class Origin:
    """How a product was made, for its header."""

    recipe: Recipe
    parameters: dict[str, Scalar]
    inputs: Sequence[JobInput]
    code_digest: str


def attributes_to_store(product: Product) -> dict[str, Any]:
    """Return all attributes of a product: those of its frame and the numbers of its kind, what is unknown left out."""
    numbers = product.content.numbers() if not isinstance(product.content, Frame | Table) else {}
    if isinstance(product.content, Frame):  # with the pixel scale: how much of the sky it covers
        numbers = dict(zip(("height", "width"), product.content.shape, strict=True))
    table = None if isinstance(product.content, Frame) else _table_of(product.content)
    if table is not None and table.plots:
        numbers["plots"] = [f"{x} {y}" for x, y in table.plots]
    attributes = FrameAttributes.model_validate(product.attributes.model_dump() | numbers)
    stored = attributes.model_dump(mode="json", exclude_none=True)
    if not KINDS[product.kind].per_filter:
        stored.pop("filter", None)
    return {name: value for name, value in stored.items() if value not in ("", [], {}) and not _is_not_finite(value)}


_ON_A_GRID = ("RegriddedFrame", "CoaddedRegriddedFrame")


def product_name(product: Product) -> str:
    """Return the file name of a product without suffix: kind, instrument, chip, filter, date of observation.

    A coadd begins when its first exposure does: its list and weight are told from that exposure's by what they are of.
    """
    attributes = product.attributes
    of = getattr(attributes, "belongs_to", None) or getattr(attributes, "source_kind", None)
    filter_name = attributes.filter if KINDS[product.kind].per_filter else None
    date = re.sub(r"\D", "", (attributes.date_obs or attributes.night or ""))[:14]
    parts = (
        product.kind,
        attributes.instrument,
        attributes.chip,
        filter_name or "",
        date,
        of if of in _ON_A_GRID else "",
    )
    safe = [re.sub(r"[^A-Za-z0-9.+-]+", "-", part).strip("-.")[:_LONGEST_PART] for part in parts]
    return "_".join(part for part in safe if part)


def write_product(
    path: Path,
    product: Product,
    measurements: Sequence[Measurement],
    flags: int,
    made_without: Sequence[str],
    origin: Origin,
) -> tuple[str, int]:
    """Write `product` to `path`; return the file's sha256 and size in bytes."""
    primary = _primary_header(product, measurements, flags, made_without, origin)
    with path.open("wb", buffering=0) as file, _Hashed(file) as hashed:
        for unit in chain([_Unit(primary, 0, 0, _no_pieces)], _units(product)):
            hashed.write(memoryview(_with_checksums(unit)))
            for piece in unit.pieces():
                hashed.write(piece)
            hashed.write(memoryview(bytes(-unit.size % BLOCK)))
    # Not synced to the disk: the result file tells its digest, and who stores it for good verifies and syncs it.
    return hashed.digest.hexdigest(), hashed.size


def _no_pieces() -> Iterator[memoryview]:
    return iter(())


@dataclass(frozen=True)
class _Unit:
    """A header, the size of its data [byte], the plain sum of their words, and what gives them piece by piece."""

    header: Header
    size: int
    sum: int
    pieces: Callable[[], Iterator[memoryview]]


class _Hashed:
    """A file being written, with its digest and size; where two threads are allowed the second one hashes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._file = file
        self._pool = ThreadPoolExecutor(1) if threads.allowed() > 1 else None
        self._hashing: deque[Future[None]] = deque()

    def __enter__(self) -> _Hashed:
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(0)
        if self._pool:
            self._pool.shutdown()

    def write(self, piece: memoryview) -> None:
        """Write a piece, which may be changed again after as many further calls as pieces may wait."""
        self._wait(_WAITING - 1)
        if self._pool:
            self._hashing.append(self._pool.submit(self.digest.update, piece))
        else:
            self.digest.update(piece)
        written = 0
        while written < len(piece):
            written += self._file.write(piece[written:])
        self.size += len(piece)

    def _wait(self, number: int) -> None:
        """Wait until at most so many pieces are to be hashed."""
        while len(self._hashing) > number:
            self._hashing.popleft().result()


def _primary_header(
    product: Product, measurements: Sequence[Measurement], flags: int, made_without: Sequence[str], origin: Origin
) -> Header:
    from astropy.io import fits

    header = fits.Header()
    header["SIMPLE"] = (True, "FITS 4.0")
    header["BITPIX"] = 8
    header["NAXIS"] = 0
    header["EXTEND"] = True
    header["KIND"] = (product.kind, "kind of product")
    attributes = attributes_to_store(product)
    for keyword, name, comment in _STANDARD_CARDS:
        value = attributes.get(name)
        if value is not None and not isinstance(value, list | dict):
            header[keyword] = (_printable(value), comment)
    header["LONGSTRN"] = ("OGIP 1.0", "long strings go on in CONTINUE cards")
    header["ATTRS"] = json.dumps(attributes, ensure_ascii=True, sort_keys=True)
    header["RECIPE"] = (origin.recipe.name, "recipe")
    header["RECVERS"] = (origin.recipe.version, "version of the recipe")
    header["CODEDIG"] = origin.code_digest
    for name, value in sorted(origin.parameters.items()):
        header[f"HIERARCH AW PAR {name}"] = _short(value)
    for number, entry in enumerate(origin.inputs, start=1):
        header[f"IROL{number:04d}"] = (entry.role, "role of an input")
        header[f"INAM{number:04d}"] = _printable(entry.name)
        header[f"ISHA{number:04d}"] = entry.sha256  # too long for a comment
    for measurement in measurements:
        header[f"HIERARCH AW QC {_keyword(measurement.name)}"] = _short(measurement.value)
    header["QFLAGS"] = (flags, "quality flags, 0 = no problem")
    header["WITHOUT"] = ", ".join(made_without)
    for line in _history(product, measurements, flags, made_without, origin):
        for part in textwrap.wrap(_printable(line), 72):
            header.add_history(part)
    return header


def _history(
    product: Product, measurements: Sequence[Measurement], flags: int, made_without: Sequence[str], origin: Origin
) -> list[str]:
    values = ", ".join(f"{name} = {value}" for name, value in sorted(origin.parameters.items())) or "no parameters"
    lines = [f"{product.kind} made by {origin.recipe.name} {origin.recipe.version} with {values}."]
    lines += [f"It took the {entry.role} {entry.name}." for entry in origin.inputs]
    lines += [f"Made without: {', '.join(made_without)}."] if made_without else []
    lines += list(product.notes)
    lines += [
        f"{m.name} = {m.value:.6g}{f' +- {m.error:.2g}' if m.error is not None else ''} {m.unit}".rstrip()
        + (f": {m.verdict}" if m.verdict != "unlimited" else "")
        for m in measurements
    ]
    return lines + [f"Flag {bit}: {meaning}." for bit, meaning in QUALITY_FLAGS.items() if flags & bit]


def _units(product: Product) -> Iterator[_Unit]:
    """Yield the extensions of a product one by one."""
    content = product.content
    if isinstance(content, Frame):
        yield from _image_units(product.kind, content)
        return
    table = content if isinstance(content, Table) else content.curve()
    if table is not None:
        yield _table_unit(table)


def _image_units(kind: str, frame: Frame) -> Iterator[_Unit]:
    squared = f"{frame.unit}2" if frame.unit in {"adu", "electron"} else _squared(frame.unit)
    planes: list[tuple[str, Callable[[int, int], NDArray[Any]] | None, str]] = [
        ("WEIGHT" if kind == "WeightFrame" else "SCI", frame.data_rows if frame.has_data else None, frame.unit),
        ("VAR", frame.variance_rows if frame.has_variance else None, squared),
        ("MASK", lambda y0, y1: _stored_mask(frame.strip(y0, y1).mask), ""),
    ]
    for name, rows, unit in planes:
        if rows is not None:
            yield _image_unit(frame, name, rows, unit)


def _stored_mask(mask: NDArray[np.uint16]) -> NDArray[np.uint16]:
    # uint16 is stored as int16 with an offset; the same bits with the highest one flipped
    return mask ^ np.uint16(0x8000)


def _image_unit(frame: Frame, name: str, rows: Callable[[int, int], NDArray[Any]], unit: str) -> _Unit:
    from astropy.io import fits

    height, width = frame.shape
    header = fits.Header()
    header["XTENSION"] = ("IMAGE", "image extension")
    header["BITPIX"] = 16 if name == "MASK" else -32
    header["NAXIS"] = 2
    header["NAXIS1"] = width
    header["NAXIS2"] = height
    header["PCOUNT"] = 0
    header["GCOUNT"] = 1
    header["EXTNAME"] = name
    if name == "MASK":
        _describe_mask(header)
    else:
        header["BUNIT"] = (unit, "unit of the pixels")
    for keyword, value in frame.wcs.items():
        header[keyword] = _printable(value)
    stored = np.dtype(">u2" if name == "MASK" else ">f4")
    bounds = strip_bounds(height, max(1, _PIECE // (stored.itemsize * width)))

    def pieces() -> Iterator[memoryview]:
        # By turns: some wait to be hashed while the next is filled.
        buffers = [np.empty((bounds[0][1], width), stored) for _ in range(_WAITING + 1)]
        for number, (y0, y1) in enumerate(bounds):
            buffer = buffers[number % len(buffers)][: y1 - y0]
            buffer[:] = rows(y0, y1)
            yield memoryview(buffer.reshape(-1).view(np.uint8))  # type: ignore[arg-type]

    total = sum(threads.each(lambda strip: sum_of_pixels(rows(*strip), strip[0] * width), bounds))
    return _Unit(header, height * width * stored.itemsize, total, pieces)


def _describe_mask(header: Header) -> None:
    header["BZERO"] = (32768, "unsigned 16-bit integers")
    header["BSCALE"] = 1
    header[CONVENTION_CARD] = (CONVENTION, "0 good, each bit a cause")
    for bit, meaning in MASK_BITS.items():
        header[f"HIERARCH AW BIT {bit}"] = meaning


def _table_of(content: Table | Values) -> Table | None:
    return content if isinstance(content, Table) else content.curve()


def _table_unit(table: Table) -> _Unit:
    from astropy.io import fits

    fields, formats = [], []
    for name, column in table.columns.items():
        values = np.asarray(column.values)
        if values.dtype.kind in "US":
            values = np.char.encode(values, "ascii", "replace") if values.dtype.kind == "U" else values
            formats.append(f"{max(values.dtype.itemsize, 1)}A")
        else:
            values = values.astype(_storable(values.dtype))
            letter = _FORMATS[values.dtype.str[1:] if values.dtype.kind != "b" else "b"]
            formats.append(f"{int(np.prod(values.shape[1:]))}{letter}" if values.ndim > 1 else letter)
            if values.dtype.kind == "b":
                values = np.where(values, ord("T"), ord("F")).astype("u1")
        fields.append((name, values))
    record = np.dtype([(name, values.dtype.newbyteorder(">"), values.shape[1:]) for name, values in fields])
    rows = np.zeros(len(table), record)
    for name, values in fields:
        rows[name] = values
    header = fits.Header()
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = 8
    header["NAXIS"] = 2
    header["NAXIS1"] = record.itemsize
    header["NAXIS2"] = len(rows)
    header["PCOUNT"] = 0
    header["GCOUNT"] = 1
    header["TFIELDS"] = len(fields)
    header["EXTNAME"] = table.name
    for number, (x, y) in enumerate(table.plots, start=1):
        header[f"PLOT{number}"] = (f"{x} {y}", "columns that are plotted against each other")
    for number, ((name, column), form) in enumerate(zip(table.columns.items(), formats, strict=True), start=1):
        header[f"TTYPE{number}"] = (name, _printable(column.description)[:40])
        header[f"TFORM{number}"] = form
        if column.unit:
            header[f"TUNIT{number}"] = column.unit
    data = memoryview(rows.tobytes())
    return _Unit(header, len(data), sum_of_bytes(data), lambda: iter((data,)))


def _storable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which FITS can store such numbers without an offset."""
    if dtype.kind == "u" and dtype.itemsize > 1:
        return np.dtype({2: "i4", 4: "i8", 8: "i8"}[dtype.itemsize])
    if dtype.kind == "i" and dtype.itemsize == 1:
        return np.dtype("i2")
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return np.dtype("f8")
    return dtype.newbyteorder("=")


def _with_checksums(unit: _Unit) -> bytes:
    header, datasum = unit.header, folded(unit.sum)
    header["CHECKSUM"] = ("0" * 16, "of this HDU")
    header["DATASUM"] = (str(datasum), "of the data")
    text: bytes = header.tostring(endcard=True, padding=True).encode("ascii")
    total = folded(datasum + sum_of_bytes(text))
    return text.replace(b"CHECKSUM= '0000000000000000'", b"CHECKSUM= '" + encoded(total) + b"'", 1)


def _printable(value: Any) -> Any:
    """Return a value that a FITS card can hold: text in printable ASCII."""
    return re.sub(r"[^ -~]", "?", value) if isinstance(value, str) else value


def _keyword(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)[:36]


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _short(value: Any) -> Any:
    return _printable(value)[:30] if isinstance(value, str) else value


def _squared(unit: str) -> str:
    return f"({unit})**2" if unit else ""
