"""Tables as people have them, read without trust: FITS, VOTable, and text with or without a header.

What a file claims is held to limits before it is read; nothing in a file makes us open another.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from archive.headers import NotFits, read_units

MAXIMUM_BYTES = 256 << 20
MAXIMUM_ROWS = 5_000_000
MAXIMUM_COLUMNS = 1000
_COLUMNS_TOLD = 40
# XML that defines entities or fetches its data from elsewhere is no table that we read.
_HOSTILE_XML = re.compile(rb"<!ENTITY|<!DOCTYPE[^>]*\[|<\w*:?STREAM\b[^>]*\bhref", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?")
_SEXAGESIMAL = re.compile(r"[+-]?\d{1,3}:\d\d(:\d\d(\.\d*)?)?")
_MISSING_WORDS = {"", "-", "--", "nan", "null", "none", "n/a", "inf", "-inf", "masked"}


class NotACatalogue(ValueError):
    """A file that cannot serve as a catalogue: what is wrong with it, and how to mend it."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True)
class TableColumn:
    """One column as the file has it: numbers with NaN where there are none, or texts; unit and UCD where told."""

    values: NDArray[Any]
    unit: str = ""
    ucd: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it holds texts."""
        return bool(self.values.dtype.kind == "U")


@dataclass(frozen=True)
class TableRead:
    """A table as the file has it."""

    columns: dict[str, TableColumn]
    name: str

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values) if self.columns else 0

    def told(self) -> str:
        """Return the names of its columns, for a person."""
        names = list(self.columns)
        more = f" and {len(names) - _COLUMNS_TOLD} more" if len(names) > _COLUMNS_TOLD else ""
        return ", ".join(names[:_COLUMNS_TOLD]) + more


def read_table(source: Path | BinaryIO, name: str, maximum: int = MAXIMUM_BYTES) -> TableRead:
    """Read the first table of a file; raise :class:`NotACatalogue`."""
    content = _unpacked(_bytes_of(source, maximum), maximum)
    begin = content[:2000].lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin.startswith(b"SIMPLE  "):
        columns = _read_fits(content, maximum)
    elif begin.startswith(b"<"):
        columns = _read_votable(content)
    else:
        columns = _read_text(content)
    table = TableRead(columns, name)
    if not columns or not len(table):
        raise NotACatalogue("its table is empty", "a catalogue has a line for each star")
    return table


def _bytes_of(source: Path | BinaryIO, maximum: int) -> bytes:
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                content = file.read(maximum + 1)
        else:
            source.seek(0, io.SEEK_SET)
            content = source.read(maximum + 1)
    except OSError as error:
        raise NotACatalogue(f"it cannot be read: {error.strerror}") from None
    if len(content) > maximum:
        raise NotACatalogue(f"it is larger than {maximum >> 20} MiB", "cut out the part of the sky that you observe")
    if not content.strip():
        raise NotACatalogue("it is empty")
    return content


def _unpacked(content: bytes, maximum: int) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            plain = packed.read(2 * maximum + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise NotACatalogue(f"its gzip packing is damaged ({error})", "copy it again") from None
    if len(plain) > 2 * maximum:
        raise NotACatalogue(f"unpacked it is larger than {2 * maximum >> 20} MiB")
    return plain


def _read_fits(content: bytes, maximum: int) -> dict[str, TableColumn]:
    try:
        units = read_units(io.BytesIO(content), 4 * maximum)
    except NotFits as error:
        raise NotACatalogue(error.reason, error.hint) from None
    index = next((unit.index for unit in units if unit.header.text("XTENSION") in {"BINTABLE", "TABLE"}
                  and unit.header.value("ZIMAGE") is not True), None)  # fmt: skip
    if index is None:
        raise NotACatalogue("it holds no table", "a catalogue in FITS is a binary table")
    rows, fields = (units[index].header.value(keyword) for keyword in ("NAXIS2", "TFIELDS"))
    _refuse_too_many(rows if isinstance(rows, int) else 0, fields if isinstance(fields, int) else 0)
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = Table.read(io.BytesIO(content), format="fits", hdu=index)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # astropy, fed with a broken table, raises errors of any kind
            raise NotACatalogue(f"its table cannot be read ({error})"[:300]) from None
        header = units[index].header
        ucds = {header.text(f"TTYPE{number}"): header.text(f"TBUCD{number}") for number in range(1, 1000)}
        return {name: _column(table[name], ucds.get(name, "")) for name in table.colnames if table[name].ndim == 1}


def _read_votable(content: bytes) -> dict[str, TableColumn]:
    if _HOSTILE_XML.search(content):
        raise NotACatalogue(
            "its XML defines entities or takes its data from elsewhere", "save it with its data in the file itself"
        )
    if b"VOTABLE" not in content[:5000].upper():
        raise NotACatalogue("it is XML or a web page, but no VOTable", "save the table, not the page that shows it")
    from astropy.io.votable import parse

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            first = parse(io.BytesIO(content), verify="ignore").get_first_table()
            table = first.to_table(use_names_over_ids=True)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # astropy, fed with broken XML, raises errors of any kind
            raise NotACatalogue(f"its VOTable cannot be read ({error})"[:300]) from None
        _refuse_too_many(len(table), len(table.colnames))
        return {
            name: _column(table[name], str(table[name].meta.get("ucd") or ""))
            for name in table.colnames
            if table[name].ndim == 1
        }


def _column(column: Any, ucd: str) -> TableColumn:
    """Return an astropy column with NaN for what is masked."""
    unit = str(column.unit or "")
    values = np.ma.asarray(column)
    if values.dtype.kind in "biuf":
        if values.dtype.kind != "f" and not np.ma.is_masked(values) and values.dtype.itemsize == 8:
            return TableColumn(np.asarray(values), unit, ucd)  # whole numbers that a double would round
        return TableColumn(np.ma.filled(values.astype(float), np.nan), unit, ucd)
    texts = np.ma.filled(values.astype(object), "")
    return TableColumn(np.array([_as_text(value) for value in texts], dtype=str), unit, ucd)


def _as_text(value: Any) -> str:
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value)).strip()


def _read_text(content: bytes) -> dict[str, TableColumn]:
    if b"\0" in content[:100_000]:
        raise NotACatalogue("it is neither FITS, nor VOTable, nor text", "write it as one of these")
    text = content.decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise NotACatalogue("it holds nothing but comments")
    # The services of CDS write names, units, and a line of dashes.
    ruler = next((place for place, line in enumerate(lines[:4]) if re.fullmatch(r"[-\s|,;+]*-{2,}[-\s|,;+]*", line)), 0)
    names = _split(lines[0], lines)
    units = _split(lines[1], lines) if ruler == 2 else []
    rows = [_split(line, lines) for line in lines[ruler + 1 :]] if ruler or not _is_data(names) else None
    if rows is None:
        rows = [names, *(_split(line, lines) for line in lines[1:])]
        names = [f"col{place}" for place in range(1, len(names) + 1)]
    if not rows:
        raise NotACatalogue(
            f"it names {len(names)} columns and has no line of data", "a catalogue has a line for each star"
        )
    _refuse_too_many(len(rows), len(names))
    names = _once_each(names)
    odd = [place for place, row in enumerate(rows) if len(row) != len(names)]
    if len(odd) > len(rows) // 10:
        first = f" (line {odd[0] + ruler + 2} has {len(rows[odd[0]])})" if odd else ""
        raise NotACatalogue(
            f"it is no table of {len(names)} columns{first}", "separate the columns by commas, and name them in line 1"
        )
    rows = [row for row in rows if len(row) == len(names)]
    columns = {}
    for place, name in enumerate(names):
        unit = units[place] if place < len(units) else ""
        columns[name] = TableColumn(_numbers_or_texts([row[place].strip() for row in rows]), unit)
    return columns


def _split(line: str, lines: Sequence[str]) -> list[str]:
    delimiter = next((mark for mark in "\t,;|" if mark in lines[0] and mark in lines[-1]), "")
    if not delimiter:
        return line.split()
    return [part.strip() for part in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def _is_data(words: Sequence[str]) -> bool:
    """Whether a first line is one of data: names are no numbers."""
    return sum(bool(_NUMBER.fullmatch(word) or _SEXAGESIMAL.fullmatch(word)) for word in words) * 2 >= len(words)


def _once_each(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for place, name in enumerate(names, 1):
        plain = name or f"col{place}"
        found.append(plain if plain not in found else f"{plain}_{place}")
    return found


def _numbers_or_texts(words: list[str]) -> NDArray[Any]:
    """Return a column of text as numbers, where all that is there are numbers."""
    if all(_NUMBER.fullmatch(word) or word.lower() in _MISSING_WORDS for word in words):
        if all(re.fullmatch(r"\d{16,18}", word) for word in words):
            return np.array([int(word) for word in words], dtype=np.int64)
        return np.array([_float(word) for word in words], dtype=float)
    return np.array(words, dtype=str)


def _float(word: str) -> float:
    return np.nan if word.lower() in _MISSING_WORDS else float(re.sub("[dD]", "e", word))


def _refuse_too_many(rows: int, columns: int) -> None:
    if rows > MAXIMUM_ROWS or columns > MAXIMUM_COLUMNS:
        raise NotACatalogue(
            f"it has {rows} lines of {columns} columns; at most {MAXIMUM_ROWS} of {MAXIMUM_COLUMNS} are taken",
            "cut out the part of the sky that you observe",
        )
