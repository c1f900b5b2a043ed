"""Whether a file that shipped code made is FITS from its first byte to its last; read without trust, headers alone.

Sizes follow the FITS standard 4.0, section 4.4.1 (equation 1 for the primary unit, equation 2 for extensions).
"""

from __future__ import annotations

import re
from typing import BinaryIO

BLOCK = 2880
CARD = 80
MOST_UNITS = 512
MOST_CARDS = 20_000
_WHOLE = re.compile(rb"= +(-?\d{1,18})\s*(?:/.*)?$", re.DOTALL)
_PLAIN = re.compile(rb"[\x20-\x7e]*")
_BITPIX = {8, 16, 32, 64, -32, -64}


def what_is_wrong(file: BinaryIO, size: int) -> str:
    """Return why a file of `size` bytes is no whole FITS file, or ""."""
    place = units = cards = 0
    while place < size:
        header, read = _read_header(file, place, size, MOST_CARDS - cards)
        if header is None:
            return f"the header at byte {place} is not one of FITS, or has no end"
        units, cards = units + 1, cards + len(header)
        first = b"SIMPLE" if units == 1 else b"XTENSION"
        if not header[0].startswith(first):
            return f"the unit at byte {place} does not begin with {first.decode()}"
        if units > MOST_UNITS:
            return f"it has more than {MOST_UNITS} units"
        data = _data_bytes(header)
        if data is None:
            return f"the header at byte {place} gives no size for its data"
        place += read + -(-data // BLOCK) * BLOCK
    if not units:
        return "it is empty"
    return "" if place == size else f"its headers describe {place} bytes, it has {size}"


def _read_header(file: BinaryIO, place: int, size: int, most: int) -> tuple[list[bytes] | None, int]:
    """Return the cards up to END and the bytes of their blocks; None for what is no header."""
    file.seek(place)
    cards: list[bytes] = []
    read = 0
    while place + read + BLOCK <= size and len(cards) < most:
        block = file.read(BLOCK)
        if len(block) != BLOCK or not _PLAIN.fullmatch(block):
            return None, 0
        read += BLOCK
        for begin in range(0, BLOCK, CARD):
            card = block[begin : begin + CARD]
            if card.rstrip() == b"END":
                return (cards or None), read
            cards.append(card)
    return None, 0


def _data_bytes(cards: list[bytes]) -> int | None:
    """Return the bytes of a unit's data, without their padding."""
    bits, axes = _number(cards, b"BITPIX"), _number(cards, b"NAXIS")
    if bits not in _BITPIX or axes is None or not 0 <= axes <= 999:
        return None
    if not axes:
        return 0
    pixels = 1
    for axis in range(1, axes + 1):
        length = _number(cards, b"NAXIS%d" % axis)
        if length is None or length < 0:
            return None
        pixels *= length
        if pixels > 2**53:
            return None
    extra = _number(cards, b"PCOUNT", 0)
    groups = _number(cards, b"GCOUNT", 1)
    if extra is None or groups is None or not 0 <= extra < 2**53 or not 1 <= groups < 2**31:
        return None
    return abs(bits) // 8 * groups * (extra + pixels)


def _number(cards: list[bytes], keyword: bytes, default: int | None = None) -> int | None:
    """Return the whole number of the first card of that keyword; None where it is none."""
    for card in cards:
        if card[:8].rstrip() == keyword:
            found = _WHOLE.match(card[8:])
            return int(found[1]) if found else None
    return default
