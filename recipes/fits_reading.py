"""Reading FITS files for a job: raw frames of any camera and our own products, by rows, with every size checked first.

Plain files are read in place. Compressed ones (``.gz`` by their first bytes, ``.fz`` by ZIMAGE) are first unpacked into
an unnamed temporary file, never further than the headers claim and never beyond a cap.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from recipes.attributes import FrameAttributes
from recipes.errors import UsageError, is_of_the_machine
from recipes.fits_header import (
    HduInfo,
    data_size,
    number,
    padded,
    parse_header,
    read_raw_header,
    refuse_absurd,
    wcs_cards,
)
from recipes.frame import ALL, Frame, strip_bounds
from recipes.masks import CONVENTION_CARD, CONVENTIONS, in_our_bits
from recipes.tables import Column, Table

# Largest unpacked file and largest image: twice a 16k × 16k chip in float32. A cap, not an allocation.
MAXIMUM_BYTES = 2 * 2**30
_PIECE = 4 * 2**20
_IN_CACHE = 2**17
_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


class FilePlane:
    """An uncompressed image in an open file, read by rows and scaled by BSCALE, BZERO and BLANK."""

    def __init__(self, file: IO[bytes], hdu: HduInfo, name: str, convention: str = "") -> None:
        self._file = file
        self._offset = hdu.offset
        self._name = name
        self._convention = convention
        bitpix = int(number(hdu.cards, "BITPIX", 0))
        if bitpix not in _TYPES:
            raise UsageError(f"{name}: BITPIX = {hdu.cards.get('BITPIX')!r} is none of {sorted(_TYPES)}")
        self._type = np.dtype(_TYPES[bitpix])
        self._zero = number(hdu.cards, "BZERO", 0.0)
        self._scale = number(hdu.cards, "BSCALE", 1.0)
        self._blank = int(number(hdu.cards, "BLANK", 0)) if bitpix > 0 and "BLANK" in hdu.cards else None
        self._shape = _two_axes(hdu, name)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._shape

    def read(self, y0: int, y1: int, columns: slice = ALL) -> NDArray[Any]:
        """Return rows `y0` to `y1` in float32 (NaN where BLANK), or as bits where it is a mask."""
        width = self._shape[1]
        if self._is_plain and columns == ALL:
            return self._numbers(y0, y1)
        size = (y1 - y0) * width * self._type.itemsize
        raw = os.pread(self._file.fileno(), size, self._offset + y0 * width * self._type.itemsize)
        if len(raw) != size:
            raise self._cut_off(y1)
        stored = np.frombuffer(raw, self._type).reshape(y1 - y0, width)[:, columns]
        if self._convention:
            if self._type == np.dtype(">i2") and self._zero == 0x8000:  # as we store them
                return in_our_bits(stored.view(">u2").astype(np.uint16) ^ np.uint16(0x8000), self._convention)
            plain = stored if self._zero == 0 else stored.astype(np.int64) + int(self._zero)
            return in_our_bits(plain, self._convention)
        values = self._scaled(stored)
        if self._blank is not None:
            values[stored == self._blank] = np.nan
        return values

    @property
    def _is_plain(self) -> bool:
        return self._type == np.dtype(">f4") and self._scale == 1.0 and self._zero == 0.0 and not self._convention

    def _numbers(self, y0: int, y1: int) -> NDArray[np.float32]:
        """Return rows of floats, each piece put into the processor's order while it is in its cache."""
        width = self._shape[1]
        values = np.empty((y1 - y0, width), np.float32)
        rows = max(1, _IN_CACHE // (4 * width))
        piece = np.empty((min(rows, y1 - y0), 4 * width), np.uint8)
        for start, end in strip_bounds(y1 - y0, rows):
            part = piece[: end - start]
            into, position = memoryview(part), self._offset + 4 * width * (y0 + start)  # type: ignore[arg-type]
            if os.preadv(self._file.fileno(), [into], position) != into.nbytes:
                raise self._cut_off(y0 + end)
            values[start:end] = part.view(">f4")
        return values

    @property
    def stored_zero(self) -> float | None:
        """What is added to stored 16-bit numbers, None where they are others or need more than that."""
        simple = self._type == np.dtype(">i2") and self._scale == 1.0 and self._blank is None and not self._convention
        return self._zero if simple and self._zero == np.float32(self._zero) else None

    def read_stored(self, y0: int, rows: NDArray[np.uint16]) -> None:
        """Fill `rows` (C-contiguous, of full width) from row `y0` on with the numbers as they are stored."""
        position = self._offset + y0 * self._shape[1] * self._type.itemsize
        if os.preadv(self._file.fileno(), [rows], position) != rows.nbytes:  # type: ignore[list-item]
            raise self._cut_off(y0 + len(rows))

    def _cut_off(self, row: int) -> UsageError:
        return UsageError(f"{self._name}: the file ends before row {row}", hint="it was cut off: copy it again")

    def _scaled(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        if self._type.itemsize <= 2 or (self._type.kind == "f" and self._type.itemsize == 4):
            values = stored.astype(np.float32)
            if self._scale != 1.0:
                values *= np.float32(self._scale)
            if self._zero != 0.0:
                values += np.float32(self._zero)
            return values
        # 32-bit integers and doubles lose less when they are scaled first
        with np.errstate(over="ignore", invalid="ignore"):
            return (stored.astype(np.float64) * self._scale + self._zero).astype(np.float32)


class FitsFile:
    """An open FITS file: its header-data units, and their planes."""

    def __init__(self, file: IO[bytes], hdus: list[HduInfo], name: str) -> None:
        self.file = file
        self.hdus = hdus
        self.name = name
        self.unpacked: list[IO[bytes]] = []

    def close(self) -> None:
        """Close what was unpacked from it."""
        for file in self.unpacked:
            file.close()

    def extension(self, name: str) -> HduInfo | None:
        """Return the unit of that EXTNAME, or None."""
        return next((hdu for hdu in self.hdus if hdu.name == name), None)

    def raw_image(self, wanted: str | int | None) -> HduInfo:
        """Return the unit that holds the chip's image: `wanted` (EXTNAME or number), else the first image."""
        if wanted is not None and str(wanted).strip() != "":
            text = str(wanted).strip()
            found = None if isinstance(wanted, int) else self.extension(text.upper())
            if found is None and text.isdecimal() and int(text) < len(self.hdus):
                found = self.hdus[int(text)]
            if found is None or not (found.is_image or found.is_compressed_image):
                raise UsageError(f"{self.name} has no image {wanted!r}", hint=f"it has {self._described()}")
            return found
        images = [hdu for hdu in self.hdus if hdu.is_image or hdu.is_compressed_image]
        if not images:
            raise UsageError(f"{self.name} holds no image", hint=f"it has {self._described()}")
        return images[0]

    def _described(self) -> str:
        return ", ".join(f"{number}: {hdu.name or 'unnamed'} {'×'.join(map(str, hdu.axes)) or 'empty'}"
                         for number, hdu in enumerate(self.hdus))  # fmt: skip


@contextmanager
def open_fits(path: Path, name: str, scratch: Path | None = None) -> Iterator[FitsFile]:
    """Open a FITS file of any camera, compressed or not; `name` is what errors call it, `scratch` where to unpack."""
    try:
        file: IO[bytes] = path.open("rb")
    except OSError as error:
        if is_of_the_machine(error):
            raise
        raise UsageError(f"{name} cannot be read: {error.strerror}", hint=f"looked for it at {path.name}") from None
    with file:
        if file.read(2) == b"\x1f\x8b":
            with tempfile.TemporaryFile(dir=scratch) as unpacked:
                _unpack(path, unpacked, name)
                with closing(_scan(unpacked, name)) as fits:
                    yield fits
        else:
            with closing(_scan(file, name)) as fits:
                yield fits


def read_raw_frame(fits: FitsFile, attributes: FrameAttributes, scratch: Path | None = None, kind: str = "") -> Frame:
    """Return a raw frame [adu] of an open file; the attribute ``extension`` names its image where there are several."""
    hdu = fits.raw_image(getattr(attributes, "extension", None))
    wcs = wcs_cards(fits.hdus[0].cards | hdu.cards)
    plane = _image_plane(fits, hdu, scratch)
    return Frame(plane, attributes=attributes, unit="adu", name=fits.name, kind=kind, wcs=wcs)


def read_product_frame(fits: FitsFile, attributes: FrameAttributes, kind: str = "") -> Frame:
    """Return an image or mask product that this package wrote (``SCI`` or ``WEIGHT``, ``VAR``, ``MASK``)."""
    science = fits.extension("SCI") or fits.extension("WEIGHT")
    variance, mask = fits.extension("VAR"), fits.extension("MASK")
    if science is None and mask is None:
        raise UsageError(
            f"{fits.name} has no SCI and no MASK extension", hint="only products of recipes can be used here"
        )
    convention = str(mask.cards.get(CONVENTION_CARD, "")).strip().upper() if mask else ""
    if mask and convention not in CONVENTIONS:
        raise UsageError(
            f"{fits.name}: its MASK does not say what its values mean",
            hint=f"write the card {CONVENTION_CARD} = one of {', '.join(CONVENTIONS)} into its header",
        )
    return Frame(
        FilePlane(fits.file, science, fits.name) if science else None,
        variance=FilePlane(fits.file, variance, fits.name) if variance else None,
        mask=FilePlane(fits.file, mask, fits.name, convention) if mask else None,
        attributes=attributes,
        unit=str((science or mask).cards.get("BUNIT", "")),  # type: ignore[union-attr]
        name=fits.name,
        kind=kind,
        wcs=wcs_cards(science.cards) if science else None,
    )


def read_table(fits: FitsFile, attributes: FrameAttributes) -> Table | None:
    """Return the first binary table of the file, or None; array columns and strings keep their shape."""
    for index, hdu in enumerate(fits.hdus):
        if str(hdu.cards.get("XTENSION", "")).strip() == "BINTABLE" and not hdu.is_compressed_image:
            return _table(fits, index, attributes)
    return None


def attributes_in(fits: FitsFile, given: dict[str, Any]) -> FrameAttributes:
    """Return the attributes of a file: those that a product carries in its header, overruled by those `given`."""
    own: dict[str, Any] = {}
    text = fits.hdus[0].cards.get("ATTRS")
    if isinstance(text, str):
        try:
            stored = json.loads(text)
        except ValueError:
            stored = {}
        own = stored if isinstance(stored, dict) else {}
    return parse_attributes(fits.name, own | given)


def parse_attributes(name: str, given: dict[str, Any]) -> FrameAttributes:
    """Return `given` as attributes, or raise UsageError that names the file and the field."""
    try:
        return FrameAttributes.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}: attribute {where}: {first['msg']} (it is {first.get('input')!r})") from None


def _table(fits: FitsFile, index: int, attributes: FrameAttributes) -> Table:
    from astropy.io import fits as astropy_fits

    fits.file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = astropy_fits.open(fits.file, memmap=False, lazy_load_hdus=True)
            hdu = opened[index]
            names = [(column.name, column.unit or "") for column in hdu.columns]
            columns = {name: Column(np.array(hdu.data[name]), unit) for name, unit in names}
            opened.close(closed=False)
    except Exception as error:  # astropy, fed with a broken table, raises errors of any kind
        if is_of_the_machine(error):
            raise
        raise UsageError(f"{fits.name}: its table cannot be read ({error})") from None
    for name, column in columns.items():
        if column.values.dtype.kind == "S":  # what astropy gives back where it cannot make text of the bytes
            raise UsageError(
                f"{fits.name}: column {name} holds text that is no ASCII, as FITS has it", hint="copy the file again"
            )
    # What is made from several tables tells by their names which is which.
    named = attributes.model_copy(update={"file_name": fits.name})
    return Table(columns, name=fits.hdus[index].name, attributes=named)


def _scan(file: IO[bytes], name: str) -> FitsFile:
    """Read the headers of an uncompressed file, each claim held to the file's size."""
    total = os.fstat(file.fileno()).st_size
    hdus: list[HduInfo] = []
    position = 0
    while position < total:
        file.seek(position)
        raw = read_raw_header(file.read, name) if not hdus else _next_header(file, name)
        if not raw:
            break
        cards = parse_header(raw)
        refuse_absurd(cards, name)
        size = data_size(cards)
        offset = position + len(raw)
        if offset + size > total:
            raise UsageError(
                f"{name}: its header claims {size} bytes of data, the file has {max(total - offset, 0)}",
                hint="the file is cut off or its header is wrong: copy it again",
            )
        hdus.append(HduInfo(cards, offset, size))
        position = offset + padded(size)
    if not hdus:
        raise UsageError(f"{name} is empty")
    return FitsFile(file, hdus, name)


def _next_header(file: IO[bytes] | gzip.GzipFile, name: str) -> bytes:
    """Return the next header; what follows the last unit and is none is ignored, as the standard allows."""
    try:
        return read_raw_header(file.read, name)
    except UsageError:
        return b""


def _unpack(path: Path, unpacked: IO[bytes], name: str) -> None:
    """Unpack a gzip file unit by unit, as far as the headers claim and no further."""
    written = 0
    with gzip.open(path, "rb") as packed:
        try:
            while raw := read_raw_header(packed.read, name) if not written else _next_header(packed, name):
                cards = parse_header(raw)
                refuse_absurd(cards, name)
                size = padded(data_size(cards))
                written += len(raw) + size
                if written > MAXIMUM_BYTES:
                    raise UsageError(f"{name}: unpacked it would take more than {MAXIMUM_BYTES >> 20} MiB")
                unpacked.write(raw)
                _copy(packed, unpacked, size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UsageError(f"{name}: the gzip file is damaged ({error})", hint="copy it again") from None
    unpacked.flush()


def _copy(packed: gzip.GzipFile, unpacked: IO[bytes], size: int) -> None:
    while size > 0:
        piece = packed.read(min(size, _PIECE))
        if not piece:
            return  # what is missing is found, and named, when the headers are held to the file's size
        unpacked.write(piece)
        size -= len(piece)


def _two_axes(hdu: HduInfo, name: str) -> tuple[int, int]:
    axes = hdu.axes
    while len(axes) > 2 and axes[-1] == 1:
        axes = axes[:-1]
    if len(axes) != 2 or min(axes) < 1:
        described = " × ".join(str(length) for length in hdu.axes) or "nothing"
        raise UsageError(f"{name}: an image of rows and columns is needed, this one is {described}")
    return axes[1], axes[0]


def _image_plane(fits: FitsFile, hdu: HduInfo, scratch: Path | None) -> Any:
    if not hdu.is_compressed_image:
        return FilePlane(fits.file, hdu, fits.name)
    shape = _two_axes(hdu, fits.name)
    bytes_a_pixel = abs(int(number(hdu.cards, "ZBITPIX", 8))) // 8
    tile = 1
    for axis in range(1, len(hdu.axes) + 1):
        tile *= max(1, int(number(hdu.cards, f"ZTILE{axis}", hdu.axes[0] if axis == 1 else 1)))
    if max(shape[0] * shape[1], tile) * max(bytes_a_pixel, 4) > MAXIMUM_BYTES:
        raise UsageError(f"{fits.name}: unpacked it would take more than {MAXIMUM_BYTES >> 20} MiB")
    return UnpackedPlane(fits, hdu, shape, scratch)


class UnpackedPlane:
    """A tile-compressed image, unpacked by strips of tiles into an unnamed file of float32."""

    def __init__(self, fits: FitsFile, hdu: HduInfo, shape: tuple[int, int], scratch: Path | None) -> None:
        from astropy.io import fits as astropy_fits

        self._shape = shape
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  # closed with the FITS file
        fits.unpacked.append(self._file)
        rows = max(1, _PIECE // (4 * shape[1]), int(number(hdu.cards, "ZTILE2", 1)))
        fits.file.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                opened = astropy_fits.open(fits.file, memmap=False, lazy_load_hdus=True)
                section = opened[fits.hdus.index(hdu)].section
                for y0 in range(0, shape[0], rows):
                    image = np.asarray(section[..., y0 : y0 + rows, :]).reshape(-1, shape[1])
                    self._file.write(image.astype(np.float32).tobytes())
                opened.close(closed=False)
        except Exception as error:  # the unpacker, fed with broken bytes, raises errors of any kind
            if is_of_the_machine(error):  # the disk that it unpacks to may be full
                raise
            raise UsageError(f"{fits.name}: the compressed image cannot be unpacked ({error})") from None
        self._file.flush()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._shape

    def read(self, y0: int, y1: int, columns: slice = ALL) -> NDArray[Any]:
        """Return rows `y0` to `y1` in float32."""
        row = 4 * self._shape[1]
        raw = os.pread(self._file.fileno(), (y1 - y0) * row, y0 * row)
        return np.frombuffer(raw, np.float32).reshape(y1 - y0, self._shape[1])[:, columns]
