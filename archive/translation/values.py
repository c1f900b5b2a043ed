"""Reading single values of headers: numbers written as texts, angles in any of their spellings, names made safe."""

from __future__ import annotations

import math
import re

from archive.headers import Header, Value, clean

_NUMBER = re.compile(r"\s*([+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eEdD][+-]?\d+)?)")
_NO_UNIT = re.compile(r"\s*[:°\d]|[hd]\s*\d|\s*,")  # a time, an angle or a list goes on there, not a number's unit
_SEXAGESIMAL = re.compile(r"\s*([+-]?)\s*(\d{1,3})[:hd°\s]\s*(\d{1,2})(?:[:m'′\s]\s*(\d{1,2}(?:[.,]\d*)?))?[s\"″]?\s*"
                          r"(?:\(?(?:J2000|B1950|ICRS|FK5|UTC?)[\d.]*\)?\s*)?", re.IGNORECASE)  # fmt: skip


def number(value: Value) -> float | None:
    """Return a finite number, also one that a camera wrote as a text ("30.0 s"); None for what is none."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = _NUMBER.match(value)
        if match is None or _NO_UNIT.match(value, match.end()):
            return None
        value = match[1].upper().replace("D", "E").replace(",", ".")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def find_number(header: Header, *keywords: str) -> float | None:
    """Return the number of the first of `keywords` that has one."""
    for keyword in keywords:
        found = header.find(keyword)
        if found and (as_number := number(found[1].value)) is not None:
            return as_number
    return None


def sexagesimal(value: Value) -> float | None:
    """Return ``hh:mm:ss``, ``dd mm ss`` and the like as hours or degrees; None for another spelling."""
    if not isinstance(value, str):
        return None
    match = _SEXAGESIMAL.fullmatch(value)
    if match is None:
        return None
    minutes, seconds = float(match[3]), float((match[4] or "0").replace(",", "."))
    if minutes >= 60 or seconds > 60:
        return None
    size = float(match[2]) + minutes / 60 + seconds / 3600
    return -size if match[1] == "-" else size


def angle(value: Value, *, in_hours: bool = False) -> float | None:
    """Return an angle in degrees: a number is degrees; a sexagesimal text is hours where `in_hours` says so."""
    parts = sexagesimal(value)
    if parts is not None:
        return parts * 15 if in_hours else parts
    return number(value)


def slug(text: str, longest: int) -> str:
    """Return `text` as a name of letters, digits and ``. + -``, other characters turned into ``_``."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", clean(text)).strip("_.-+")[:longest]
