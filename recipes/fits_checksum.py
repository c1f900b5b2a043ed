"""Checksums of FITS units: DATASUM and CHECKSUM (FITS 4.0, section 4.4.2.7 and appendix J), made and verified.

The sum of 32-bit words in ones' complement is a plain sum of whole numbers with the carries added at the end, which
numpy does at nearly the memory's speed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.fits_header import data_size, padded, parse_header, read_raw_header

_PIECE = 1 << 20
_LETTERS = 16


def folded(total: int) -> int:
    """Return a plain sum of words as 32 bits in ones' complement."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def sum_of_bytes(data: memoryview | bytes) -> int:
    """Return the plain sum of the big-endian words of `data`, its end filled up with zeros."""
    whole = len(data) // 4 * 4
    total = int(np.frombuffer(data, ">u4", whole // 4).sum(dtype=np.uint64))
    if whole < len(data):
        total += int.from_bytes(bytes(data[whole:]).ljust(4, b"\0"), "big")
    return total


def sum_of_pixels(pixels: NDArray[Any], first: int = 0) -> int:
    """Return the plain sum of the words that pixels of 16 or 32 bits make; `first` counts the pixels before them."""
    if pixels.itemsize == 4:
        return int(np.ascontiguousarray(pixels).view(np.uint32).sum(dtype=np.uint64))
    halves = np.ascontiguousarray(pixels).view(np.uint16).ravel()
    pairs = halves[: len(halves) // 2 * 2].view(np.uint32)  # two at a time: their places tell which is which
    if sys.byteorder == "little":
        earlier, later = pairs & np.uint32(0xFFFF), pairs >> np.uint32(16)
    else:
        earlier, later = pairs >> np.uint32(16), pairs & np.uint32(0xFFFF)
    sums = [int(part.sum(dtype=np.uint64)) for part in (earlier, later)]
    sums[0] += int(halves[-1]) if len(halves) % 2 else 0
    high, low = sums if first % 2 == 0 else sums[::-1]
    return (high << 16) + low


def encoded(total: int) -> bytes:
    """Return the complement of a sum in the sixteen letters and digits of FITS 4.0, appendix J."""
    complement = 0xFFFFFFFF - total
    letters = [0] * _LETTERS
    for place in range(4):
        byte = (complement >> (24 - 8 * place)) & 0xFF
        quarter = [byte // 4 + 0x30 + (byte % 4 if index == 0 else 0) for index in range(4)]
        while any(_is_punctuation(letter) for letter in quarter):
            for first in (0, 2):
                if any(_is_punctuation(letter) for letter in quarter[first : first + 2]):
                    quarter[first] += 1
                    quarter[first + 1] -= 1
        for index in range(4):
            letters[4 * index + place] = quarter[index]
    return bytes(letters[-1:] + letters[:-1])


def _is_punctuation(letter: int) -> bool:
    return 0x3A <= letter <= 0x40 or 0x5B <= letter <= 0x60


@dataclass(frozen=True)
class WrongChecksum:
    """A unit (0 is the primary one) whose CHECKSUM or DATASUM does not agree with its bytes."""

    unit: int
    keyword: str


def wrong_checksums(path: Path) -> list[WrongChecksum]:
    """Return which checksums of a FITS file are wrong; units without them are passed over.

    Raises
    ------
    UsageError
        It is no FITS file, or a header is cut off.
    """
    wrong = []
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        position, unit = 0, 0
        while position < size:
            file.seek(position)
            raw = read_raw_header(file.read, path.name)
            if not raw:
                break
            cards = parse_header(raw)
            length = padded(data_size(cards))
            of_data = folded(sum(map(sum_of_bytes, _pieces(file.fileno(), position + len(raw), length))))
            given = str(cards.get("DATASUM", "")).strip()
            if given.isdigit() and int(given) != of_data:
                wrong.append(WrongChecksum(unit, "DATASUM"))
            # The checksum is chosen so that the whole unit sums up to all ones.
            if str(cards.get("CHECKSUM", "")).strip() and folded(of_data + sum_of_bytes(raw)) not in (0xFFFFFFFF, 0):
                wrong.append(WrongChecksum(unit, "CHECKSUM"))
            position += len(raw) + length
            unit += 1
    return wrong


def _pieces(file: int, start: int, length: int) -> Iterable[memoryview]:
    buffer = memoryview(bytearray(_PIECE))
    while length > 0:
        read = os.preadv(file, [buffer[: min(length, _PIECE)]], start)
        if not read:
            return
        yield buffer[:read]
        start, length = start + read, length - read
