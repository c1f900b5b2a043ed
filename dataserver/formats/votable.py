"""VOTable 1.4 (IVOA, http://www.ivoa.net/documents/VOTable/): tables with units and UCDs, rows in BINARY2.

Rows are converted and written 16,384 at a time, so that memory stays bounded however long a source list is.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from dataserver.errors import WrongFormat
from dataserver.formats import Format
from dataserver.formats.opening import cards_of, is_table, name_of, opened_fits
from dataserver.formats.ucds import ucd_of

_ROWS = 1 << 14
_LINE_BYTES = 57 * 1024  # a multiple of 3, so that pieces of base64 can be put one behind the other
# numpy kind and size: VOTable's datatype, and the numpy type that its bytes have.
_DATATYPES = {
    "b1": ("boolean", "S1"), "u1": ("unsignedByte", "u1"), "i1": ("short", ">i2"), "i2": ("short", ">i2"),
    "u2": ("int", ">i4"), "i4": ("int", ">i4"), "u4": ("long", ">i8"), "i8": ("long", ">i8"), "u8": ("long", ">i8"),
    "f4": ("float", ">f4"), "f8": ("double", ">f8"), "c8": ("floatComplex", ">c8"), "c16": ("doubleComplex", ">c16"),
}  # fmt: skip
_NOT_IN_IDENTIFIERS = re.compile(r"[^A-Za-z0-9_.-]")
_SYSTEMS = {"FK5": "eq_FK5", "FK4": "eq_FK4"}


@dataclass(frozen=True)
class _Field:
    """One column: how VOTable describes it, and the type of its bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    null: int | None
    unit: str
    description: str


def write(source: BinaryIO, output: BinaryIO) -> None:
    """Write every table of the FITS file `source` as VOTable."""
    with opened_fits(source) as hdus:
        tables = [(name_of(hdu, number), hdu) for number, hdu in enumerate(hdus) if is_table(hdu)]
        if not tables:
            raise WrongFormat("the file holds no table", hint="download it as FITS or ASDF")
        output.write(_head(cards_of(hdus[0].header)).encode())
        taken = {"sky"}
        for name, hdu in tables:
            fields = [_field(hdu, number) for number in range(len(hdu.columns))]
            output.write(_table_head(name, len(hdu.data), fields, cards_of(hdu.header), taken).encode())
            for piece in _base64(_rows(hdu, fields)):
                output.write(piece)
            output.write(b"</STREAM></BINARY2></DATA>\n</TABLE>\n")
        output.write(b"</RESOURCE>\n</VOTABLE>\n")


def _field(hdu: Any, number: int) -> _Field:
    column = hdu.columns[number]
    values = hdu.data[:0].field(number)
    comment = str(hdu.header.comments[f"TTYPE{number + 1}"])
    unit, unknown = _unit(column.unit or "")
    description = f"{comment} [{unknown}]".strip() if unknown else comment
    if values.dtype.kind in "SU":
        width = max(1, values.dtype.itemsize // (4 if values.dtype.kind == "U" else 1))
        return _Field(column.name, "char", values.shape[1:], np.dtype(f"S{width}"), None, unit, description)
    known = _DATATYPES.get(f"{values.dtype.kind}{values.dtype.itemsize}")
    if known is None:
        raise WrongFormat(f"column {column.name} has lists of any length", hint="download the table as FITS")
    null = column.null if isinstance(column.null, int) and values.dtype.kind in "iu" else None
    return _Field(column.name, known[0], values.shape[1:], np.dtype(known[1]), null, unit, description)


def _rows(hdu: Any, fields: list[_Field]) -> Iterator[bytes]:
    """Yield the rows in BINARY2: before each row a bit a column says whether its value is missing."""
    flag_bytes = (len(fields) + 7) // 8
    names = [f"f{number}" for number in range(len(fields))]
    columns = [(name, field.dtype, field.shape) for name, field in zip(names, fields, strict=True)]
    record = np.dtype([("missing", "u1", (flag_bytes,)), *columns])
    for first in range(0, len(hdu.data), _ROWS):
        part = hdu.data[first : first + _ROWS]
        rows = np.zeros(len(part), record)
        missing = np.zeros((len(part), 8 * flag_bytes), bool)
        for number, field in enumerate(fields):
            values = np.asarray(part.field(number))
            rows[names[number]] = _as_bytes(values, field)
            missing[:, number] = _missing(values, field)
        rows["missing"] = np.packbits(missing, axis=1)
        yield rows.tobytes()


def _as_bytes(values: Any, field: _Field) -> Any:
    if field.datatype == "boolean":
        return np.where(values, b"T", b"F")
    if values.dtype.kind == "U":
        return np.char.encode(values, "ascii", "replace")
    if values.dtype.kind == "u" and values.dtype.itemsize == 8 and values.size and int(values.max()) >= 1 << 63:
        raise WrongFormat(f"column {field.name} has numbers beyond 64 signed bits", hint="download the table as FITS")
    return values


def _missing(values: Any, field: _Field) -> Any:
    if field.shape:
        return False  # arrays say it by NaN
    if values.dtype.kind in "fc":
        return np.isnan(values)
    return False if field.null is None else values == field.null


def _base64(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        rest += piece
        whole = len(rest) // _LINE_BYTES * _LINE_BYTES
        for first in range(0, whole, _LINE_BYTES):
            yield base64.b64encode(rest[first : first + _LINE_BYTES]) + b"\n"
        rest = rest[whole:]
    yield base64.b64encode(rest)


def _head(cards: dict[str, Any]) -> str:
    system = _SYSTEMS.get(str(cards.get("RADESYS", "")).strip(), "ICRS")
    equinox = ' equinox="J2000"' if system == "eq_FK5" else ' equinox="B1950"' if system == "eq_FK4" else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
        '<RESOURCE type="results">\n'
        + "".join(_info(name, value) for name, value in cards.items())
        + f'<COOSYS ID="sky" system="{system}"{equinox}/>\n'
    )


def _table_head(name: str, rows: int, fields: list[_Field], cards: dict[str, Any], taken: set[str]) -> str:
    lines = [f"<TABLE name={_quoted(name)} nrows={_quoted(rows)}>\n"]
    lines += [_info(keyword, value) for keyword, value in cards.items()]
    for field in fields:
        ucd = ucd_of(field.name)
        attributes = {
            "ID": _identifier(field.name, taken),
            "name": field.name,
            "datatype": field.datatype,
            "arraysize": _array_size(field),
            "unit": field.unit,
            "ucd": ucd,
            "ref": "sky" if ucd.startswith(("pos.eq.ra", "pos.eq.dec")) else "",
        }
        text = " ".join(f"{key}={_quoted(value)}" for key, value in attributes.items() if value)
        description = f"<DESCRIPTION>{escape(_printable(field.description))}</DESCRIPTION>" if field.description else ""
        lines.append(f"<FIELD {text}>{description}</FIELD>\n")
    return "".join(lines) + '<DATA><BINARY2><STREAM encoding="base64">\n'


def _identifier(name: str, taken: set[str]) -> str:
    """Return an XML identifier, no other one in `taken`; astropy calls the columns by it."""
    plain = _NOT_IN_IDENTIFIERS.sub("_", name)
    plain = plain if plain[:1].isalpha() else f"_{plain}"
    number, identifier = 1, plain
    while identifier in taken:
        number += 1
        identifier = f"{plain}_{number}"
    taken.add(identifier)
    return identifier


def _array_size(field: _Field) -> str:
    lengths = [str(length) for length in reversed(field.shape)]
    if field.datatype == "char":
        lengths.insert(0, str(field.dtype.itemsize))
    return "x".join(lengths)


def _unit(text: str) -> tuple[str, str]:
    """Return a unit as VOUnits 1.0 writes it (units that it does not know in quotes), and what is no unit at all."""
    from astropy import units

    if not text:
        return "", ""
    try:
        unit = units.Unit(text)
    except (ValueError, TypeError):
        return "", text
    try:
        return unit.to_string("vounit"), ""
    except ValueError:
        if unit.scale != 1.0:
            return "", text
        powers = zip(unit.bases, unit.powers, strict=True)
        return ".".join(f"'{base}'" + (f"**{power}" if power != 1 else "") for base, power in powers), ""


def _info(name: str, value: Any) -> str:
    text = "\n".join(value) if isinstance(value, list) else str(value)
    return f"<INFO name={_quoted(name)} value={_quoted(text)}/>\n"


def _quoted(value: Any) -> str:
    return quoteattr(_printable(str(value)))


def _printable(text: str) -> str:
    """Leave out what XML cannot hold."""
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable())


FORMAT = Format(
    name="votable",
    title="VOTable",
    suffix=".vot",
    media_type="application/x-votable+xml",
    contents=frozenset({"table"}),
    write=write,
)
