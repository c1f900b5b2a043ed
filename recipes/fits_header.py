"""FITS headers as they come: a forgiving reader of cards that never trusts what a camera wrote.

Own reader rather than astropy's because sizes must be known, and checked, before anything is read (a header may claim
10⁶ × 10⁶ pixels), because numbers written as strings must be understood, and because it costs 0.1 ms.
Standard: FITS 4.0, sections 4.1-4.2 and 7.1 (Pence et al. 2010, A&A 524, A42).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from recipes.errors import UsageError

BLOCK = 2880
CARD = 80
MAXIMUM_COUNT = 999
MAXIMUM_HEADER_BYTES = 8 * 2**20

_STRING = re.compile(r"'((?:[^']|'')*)'")
# Keywords of a celestial coordinate system: FITS 4.0 section 8, and SIP (Shupe et al. 2005).
_WCS_NUMBER = re.compile(r"(CRVAL[12]|CRPIX[12]|CDELT[12]|CROTA[12]|CD[12]_[12]|PC[12]_[12]|PV[12]_\d{1,2}"
                         r"|[AB]P?_(ORDER|\d_\d)|LONPOLE|LATPOLE|EQUINOX|WCSAXES)")  # fmt: skip
_WCS_TEXT = re.compile(r"(CTYPE[12]|CUNIT[12]|RADESYS)")
_WCS_WHOLE = re.compile(r"([AB]P?_ORDER|WCSAXES)")

Cards = dict[str, Any]


@dataclass(frozen=True)
class HduInfo:
    """One header-data unit of a file: its cards, and where its data lie."""

    cards: Cards
    offset: int
    size: int

    @property
    def name(self) -> str:
        """Value of EXTNAME."""
        return str(self.cards.get("EXTNAME", "")).strip().upper()

    @property
    def is_compressed_image(self) -> bool:
        """Whether it is a tile-compressed image (FITS 4.0 section 10)."""
        return self.cards.get("ZIMAGE") is True

    @property
    def is_image(self) -> bool:
        """Whether it holds an image of its own."""
        kind = str(self.cards.get("XTENSION", "IMAGE")).strip()
        return kind == "IMAGE" and self.size > 0 and len(self.axes) >= 2

    @property
    def axes(self) -> tuple[int, ...]:
        """Lengths of the axes, fastest first; those of the image where it is compressed."""
        letter = "ZNAXIS" if self.is_compressed_image else "NAXIS"
        count = int(number(self.cards, letter, 0))
        return tuple(int(number(self.cards, f"{letter}{axis}", 0)) for axis in range(1, min(count, 999) + 1))


def parse_header(raw: bytes) -> Cards:
    """Return the cards of a header; of a keyword that is repeated the first counts."""
    cards: Cards = {}
    previous = ""
    for start in range(0, len(raw), CARD):
        card = raw[start : start + CARD].decode("latin-1")
        keyword = card[:8].strip()
        if keyword == "END":
            break
        if keyword == "CONTINUE" and previous and isinstance(cards.get(previous), str):
            more = _STRING.search(card[8:])
            if more and cards[previous].endswith("&"):
                cards[previous] = cards[previous][:-1] + more[1].replace("''", "'").rstrip()
            continue
        if card[8:10] != "= " or not keyword:
            continue
        previous = keyword
        cards.setdefault(keyword, _value(card[10:]))
    return cards


def number(cards: Mapping[str, Any], keyword: str, default: float) -> float:
    """Return the card's value as a number, also where a camera wrote it as a string; `default` where it is none."""
    value = cards.get(keyword, default)
    if isinstance(value, bool):
        return default
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return found if math.isfinite(found) else default


def refuse_absurd(cards: Cards, name: str) -> None:
    """Raise UsageError where the header counts more axes or columns than there can be: readers loop over them."""
    for keyword in ("NAXIS", "ZNAXIS", "TFIELDS"):
        if not 0 <= number(cards, keyword, 0) <= MAXIMUM_COUNT:
            raise UsageError(f"{name}: its header says {keyword} = {cards[keyword]}", hint="the header is damaged")


def data_size(cards: Cards) -> int:
    """Return the bytes of data that the header claims (FITS 4.0, equation 2), without padding."""
    axes = [int(number(cards, f"NAXIS{axis}", 0)) for axis in range(1, min(int(number(cards, "NAXIS", 0)), 999) + 1)]
    if not axes or any(length < 0 for length in axes):
        return 0
    if axes[0] == 0:  # random groups: NAXIS1 = 0 is no axis
        axes = axes[1:]
    pixels = 1
    for length in axes:
        pixels *= length
    groups = max(1, int(number(cards, "GCOUNT", 1)))
    return abs(int(number(cards, "BITPIX", 0))) // 8 * groups * (max(0, int(number(cards, "PCOUNT", 0))) + pixels)


def padded(size: int) -> int:
    """Return `size` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def read_raw_header(read: Callable[[int], bytes], name: str) -> bytes:
    """Return the header's blocks from the reader `read`, b"" at the file's end; raise UsageError if it is no header."""
    blocks: list[bytes] = []
    while True:
        block = read(BLOCK)
        if not blocks and not block.strip(b"\0 "):
            return b""
        if len(block) < BLOCK:
            raise UsageError(f"{name}: the FITS header is cut off", hint="the file is incomplete: copy it again")
        if not blocks and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            raise UsageError(f"{name} is not a FITS file", hint=f"it begins with {block[:16]!r}")
        blocks.append(block)
        if any(block[start : start + 8] == b"END     " for start in range(0, BLOCK, CARD)):
            return b"".join(blocks)
        if len(blocks) * BLOCK > MAXIMUM_HEADER_BYTES:
            raise UsageError(f"{name}: the FITS header has no END within {MAXIMUM_HEADER_BYTES >> 20} MiB")


def wcs_cards(cards: Cards) -> dict[str, Any]:
    """Return the cards of the primary coordinate system, numbers as numbers; empty where it is not complete."""
    found: dict[str, Any] = {}
    for keyword, value in cards.items():
        if _WCS_TEXT.fullmatch(keyword) and isinstance(value, str):
            found[keyword] = value
        elif _WCS_NUMBER.fullmatch(keyword):
            as_number = number({keyword: value}, keyword, float("nan"))
            if math.isfinite(as_number):
                found[keyword] = int(as_number) if _WCS_WHOLE.fullmatch(keyword) else as_number
    needed = {"CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"}
    return found if needed <= set(found) else {}


def _value(text: str) -> Any:
    stripped = text.strip()
    if stripped.startswith("'"):
        match = _STRING.match(stripped)
        return match[1].replace("''", "'").rstrip() if match else stripped[1:].strip()
    word = stripped.split("/", 1)[0].strip()
    if word in {"T", "F"}:
        return word == "T"
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word.upper().replace("D", "E"))
    except ValueError:
        return word or None
