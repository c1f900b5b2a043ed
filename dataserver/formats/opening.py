"""Opening FITS files that came from anybody: what the headers claim is checked before any data are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from dataserver.errors import WrongFormat

# Largest array that is unpacked or scaled for a conversion: 16k x 16k pixels of 4 bytes.
MAXIMUM_HDU_BYTES = 1 << 30
MAXIMUM_HDUS = 1000
_UNREADABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, OverflowError, MemoryError)


@contextmanager
def opened_fits(file: BinaryIO) -> Iterator[list[Any]]:
    """Give the HDUs of an open FITS file (plain, gzipped or with compressed images), or raise WrongFormat."""
    from astropy.io import fits

    try:
        with fits.open(file, mode="readonly", lazy_load_hdus=True) as hdus:
            yield list(_checked(hdus, os.fstat(file.fileno()).st_size))
    except OSError as error:
        if error.errno is not None:  # the disk's, not astropy's
            raise
        raise WrongFormat(f"the file is not FITS: {error}", "download it as it is stored") from error
    except (*_UNREADABLE, fits.VerifyError) as error:
        raise WrongFormat(f"the file cannot be read as FITS: {error}", "download it as it is stored") from error


def _checked(hdus: Any, file_size: int) -> Iterator[Any]:
    for number, hdu in enumerate(hdus):
        if number >= MAXIMUM_HDUS:
            raise WrongFormat(f"the file has more than {MAXIMUM_HDUS} HDUs", "download it as it is stored")
        claimed = _claimed_bytes(hdu.header)
        where = hdu.fileinfo() or {}
        is_plain = not hdus._file.compression and type(hdu).__name__ != "CompImageHDU"
        if claimed > MAXIMUM_HDU_BYTES or (is_plain and where.get("datLoc", 0) + claimed > file_size):
            raise WrongFormat(
                f"HDU {number} claims {claimed} bytes, the file has {file_size}", "download it as it is stored"
            )
        yield hdu


def _claimed_bytes(header: Any) -> int:
    axes = [int(header[f"NAXIS{axis}"]) for axis in range(1, int(header.get("NAXIS", 0)) + 1)]
    pixels = 1 if axes else 0
    for length in axes:
        pixels *= length
    parameters = int(header.get("PCOUNT", 0)) if header.get("XTENSION") else 0
    return (pixels + parameters) * int(header.get("GCOUNT", 1)) * abs(int(header["BITPIX"])) // 8


def is_table(hdu: Any) -> bool:
    """Whether an HDU is a table (a compressed image, which FITS keeps in one, is not)."""
    return type(hdu).__name__ in {"BinTableHDU", "TableHDU"} and hdu.data is not None


def name_of(hdu: Any, number: int) -> str:
    """Return what an HDU is called: its EXTNAME, else PRIMARY or HDU and its number."""
    return str(hdu.header.get("EXTNAME") or ("PRIMARY" if number == 0 else f"HDU{number}"))


def cards_of(header: Any) -> dict[str, Any]:
    """Return a header's cards as plain values; commentary cards as lists of lines, structural ones left out."""
    found: dict[str, Any] = {}
    for card in header.cards:
        keyword, value = card.keyword, card.value
        if not keyword or keyword in _STRUCTURAL or keyword.rstrip("0123456789") in _STRUCTURAL_NUMBERED:
            continue
        if keyword in {"COMMENT", "HISTORY"}:
            found.setdefault(keyword, []).append(str(value))
        elif isinstance(value, bool | int | float | str):
            found[keyword] = value
        elif value is not None:
            found[keyword] = str(value)
    return found


_STRUCTURAL = {"SIMPLE", "XTENSION", "BITPIX", "EXTEND", "PCOUNT", "GCOUNT", "TFIELDS", "CHECKSUM", "DATASUM",
               "BSCALE", "BZERO", "END", "GROUPS", "THEAP"}  # fmt: skip
_STRUCTURAL_NUMBERED = {"NAXIS", "TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL", "TZERO", "TDISP", "TDIM", "TUCD"}
