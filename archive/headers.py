"""FITS headers as cameras write them, read without trust: sizes checked before data, unpacking bounded and streamed.

Of a file nothing but its headers is kept in memory; the data are only counted.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from recipes.errors import UsageError
from recipes.fits_header import CARD, data_size, padded, parse_header, read_raw_header

# Unpacked size of a file and number of its units: more than any camera writes, and no more than a node reads.
MAXIMUM_BYTES = 2 * 2**30
MAXIMUM_UNITS = 512
MAXIMUM_CARDS = 20_000
_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_OTHERS = {b"BZ": "bzip2", b"PK": "zip", b"\xfd7": "xz", b"\x1f\x9d": "compress", b"\x28\xb5": "zstd"}
_NO_FITS = {
    b"\xff\xd8": "a JPEG picture",
    b"\x89P": "a PNG picture",
    b"II": "a TIFF picture or a camera's own raw file",
    b"MM": "a TIFF picture or a camera's own raw file",
    b"%P": "a PDF",
    b"<!": "a web page",
    b"<h": "a web page",
}
# Cards that are nobody's business: licence numbers and owners of the software that wrote the file.
_PRIVATE = re.compile(r"SWSERIAL|SWOWNER|.*LICEN[CS]E?.*|.*PASSW.*|.*SECRET.*|.*TOKEN.*")
_PRIVATE_COMMENT = re.compile(r"licen[cs]|software serial|password", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STRING = re.compile(r"'((?:[^']|'')*)'\s*(?:/\s*(.*))?")


class NotFits(ValueError):
    """A file that cannot be read as FITS: what is wrong with it, and what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


Value = str | int | float | bool | None


@dataclass(frozen=True)
class Card:
    """One card: its value as FITS types it (None: undefined) and its comment."""

    value: Value
    comment: str = ""


@dataclass(frozen=True)
class Header:
    """The cards of one unit by keyword, the first where one is repeated; HIERARCH keywords without that word."""

    cards: dict[str, Card]

    def find(self, *keywords: str) -> tuple[str, Card] | None:
        """Return the first of `keywords` that is there with a value that says something."""
        for keyword in keywords:
            card = self.cards.get(keyword)
            if card is not None and says_something(card.value):
                return keyword, card
        return None

    def value(self, *keywords: str) -> Value:
        """Return the value of the first of `keywords` that says something, or None."""
        found = self.find(*keywords)
        return found[1].value if found else None

    def text(self, *keywords: str) -> str:
        """Return the same as a text without control characters, "" for none."""
        value = self.value(*keywords)
        return clean(str(value)) if value is not None else ""

    def over(self, primary: Header) -> Header:
        """Return this extension's header with what it inherits from the primary one."""
        return Header(primary.cards | self.cards)


@dataclass(frozen=True)
class Unit:
    """One header-data unit: its place in the file, its header, and its image's size (columns, rows), if it is one."""

    index: int
    header: Header
    axes: tuple[int, ...] = ()
    lines: list[tuple[str, Value, str]] = field(default_factory=list, repr=False)

    @property
    def is_image(self) -> bool:
        """Whether it holds an image, compressed or not."""
        return len(self.axes) >= 2 and min(self.axes) > 0


def says_something(value: Value) -> bool:
    """Whether a card's value is more than an empty word for nothing."""
    if value is None:
        return False
    return not isinstance(value, str) or value.strip().lower() not in _NOTHING


_NOTHING = {"", "n/a", "na", "nan", "none", "null", "unknown", "undefined", "undef", "notyetset", "not set", "-", "--",
            "?"}  # fmt: skip


def clean(text: str) -> str:
    """Return `text` without control characters and needless blanks."""
    return " ".join(_CONTROL.sub(" ", text).split())


def read_units(source: Path | BinaryIO, maximum: int = MAXIMUM_BYTES) -> list[Unit]:
    """Return the units of a FITS file, plain or gzip, all of whose data are there; raise :class:`NotFits`.

    `maximum` bounds the unpacked bytes.
    """
    with _opened(source) as file:
        first = file.read(2)
        file.seek(0)
        if first in _OTHERS:
            raise NotFits(f"it is packed by {_OTHERS[first]}", "unpack it; .fits, .fits.gz and .fits.fz are understood")
        if first in _NO_FITS:
            raise NotFits(f"it is {_NO_FITS[first]}, whatever its name says", "raw frames are ingested as FITS")
        try:
            if first == _GZIP:
                with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                    return list(_scan(unpacked, maximum))
            return list(_scan(file, maximum))
        except UsageError as error:
            raise NotFits(error.message, error.hint) from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise NotFits(f"its gzip packing is damaged ({error})", "copy it again") from None


def shown_cards(source: Path | BinaryIO) -> list[tuple[int, list[tuple[str, Value, str]]]]:
    """Return, for a page, the cards of every unit (keyword, value, comment) without licence numbers and the like."""
    return [
        (
            unit.index,
            [
                (clean(keyword), clean(value) if isinstance(value, str) else value, clean(comment))
                for keyword, value, comment in unit.lines
                if not is_private(keyword, comment)
            ],
        )
        for unit in read_units(source)
    ]


def is_private(keyword: str, comment: str = "") -> bool:
    """Whether a card holds a licence number or the like, which no page shows."""
    return bool(_PRIVATE.fullmatch(keyword) or _PRIVATE_COMMENT.search(comment))


def parse_cards(raw: bytes) -> list[tuple[str, Value, str]]:
    """Return the cards of a header in order: keyword, value, comment; COMMENT and HISTORY have their text as value."""
    found: list[tuple[str, Value, str]] = []
    for start in range(0, min(len(raw), MAXIMUM_CARDS * CARD), CARD):
        card = raw[start : start + CARD].decode("latin-1")
        keyword = card[:8].strip().upper()
        if keyword == "END":
            break
        if keyword == "CONTINUE" and found and isinstance(found[-1][1], str):
            more, comment = _value_and_comment(card[8:])
            name, text, earlier = found[-1]
            found[-1] = (name, str(text).removesuffix("&") + str(more or ""), comment or earlier)
        elif keyword == "HIERARCH" and "=" in card:
            name, _, rest = card[8:].partition("=")
            found.append((" ".join(name.split()).upper(), *_value_and_comment(rest)))
        elif card[8:9] == "=" and keyword:
            found.append((keyword, *_value_and_comment(card[9:])))
        elif keyword in {"COMMENT", "HISTORY"}:
            found.append((keyword, card[8:].rstrip(), ""))
    return found


def _scan(file: BinaryIO | gzip.GzipFile, maximum: int) -> Iterator[Unit]:
    """Yield the units, each header's claim held to the bytes that are there; what follows the last unit is let be."""
    total = 0
    for index in range(MAXIMUM_UNITS):
        try:
            raw = read_raw_header(file.read, "the file")
        except UsageError:
            if index == 0:
                raise
            return
        if not raw:
            if index == 0:
                raise NotFits("it is empty", "copy it again")
            return
        cards = parse_header(raw)
        size = data_size(cards)
        total += len(raw) + padded(size)
        if total > maximum:
            raise NotFits(
                f"its header claims {total} bytes, more than the {maximum} that are accepted",
                "if it is right, ask the site's manager to raise the limit",
            )
        there = _skip(file, padded(size))
        if there < size:
            reason = f"its header claims {size} bytes of data, the file has {there}"
            raise NotFits(reason, "it was cut off: copy it again")
        lines = parse_cards(raw)
        header = Header({name: Card(value, comment) for name, value, comment in reversed(lines)
                         if name not in {"COMMENT", "HISTORY"}})  # fmt: skip
        yield Unit(index, header, _axes(header), lines)
    raise NotFits(f"it has more than {MAXIMUM_UNITS} extensions")


def _skip(file: BinaryIO | gzip.GzipFile, size: int) -> int:
    """Read `size` bytes and forget them; return how many there were."""
    done = 0
    while done < size:
        piece = file.read(min(_PIECE, size - done))
        if not piece:
            break
        done += len(piece)
    return done


def _axes(header: Header) -> tuple[int, ...]:
    """Return the lengths of the image's axes, those of length 1 at the end left out; () for what is no image."""
    packed = header.value("ZIMAGE") is True
    if not packed and header.text("XTENSION") not in {"", "IMAGE"}:
        return ()
    letter = "ZNAXIS" if packed else "NAXIS"
    count = header.value(letter)
    if not isinstance(count, int) or not 0 < count < 10:
        return ()
    lengths = [header.value(f"{letter}{axis}") for axis in range(1, count + 1)]
    axes = [length for length in lengths if isinstance(length, int)]
    while len(axes) > 2 and axes[-1] == 1:
        axes.pop()
    return tuple(axes) if len(axes) >= 2 else ()


def _value_and_comment(text: str) -> tuple[Value, str]:
    stripped = text.strip()
    if stripped.startswith("'"):
        match = _STRING.match(stripped)
        if match:
            return match[1].replace("''", "'").rstrip(), (match[2] or "").strip()
        return stripped[1:].strip(), ""
    word, _, comment = stripped.partition("/")
    return _number_or_word(word.strip()), comment.strip()


def _number_or_word(word: str) -> Value:
    if word in {"T", "F"}:
        return word == "T"
    if re.fullmatch(r"[+-]?\d{1,40}", word):
        return int(word)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([EDed][+-]?\d+)?", word):
        return float(word.upper().replace("D", "E"))
    return word or None


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(source, Path):
        try:
            file = source.open("rb")
        except OSError as error:
            raise NotFits(f"it cannot be read: {error.strerror}") from None
        with file:
            yield file
    else:
        source.seek(0, io.SEEK_SET)
        yield source
