"""Filters as people write them (nights, validity, coordinates, an order), read into what the archive compares."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

from archive.models import Validity
from archive.products import parse_time

# Degrees around a position whose radius nobody told.
USUAL_RADIUS = 0.1
MOST_NUMBERS = 20_000
# What lists are sorted by, and the columns that break its ties: each has an index in this order (archive.models).
ORDERS = {
    "name": ("name", "date_obs", "id"),
    "kind": ("kind", "date_obs", "id"),
    "instrument": ("instrument", "date_obs", "id"),
    "chip": ("chip", "date_obs", "id"),
    "filter": ("filter_name", "date_obs", "id"),
    "object": ("object_name", "date_obs", "id"),
    "exposure_time": ("exposure_time", "date_obs", "id"),
    "date_obs": ("date_obs", "id"),
    "night": ("night", "date_obs", "id"),
    "created": ("id",),  # products are numbered as they come in
}
_COORDINATE = re.compile(r"[-+]?[\d.]+(?:[\s:hdm°'′s\"″]+[\d.]+){0,2}[\s:hdm°'′s\"″]*")
_RADIUS = re.compile(r"([\d.]+)\s*(deg|d|°|arcmin|m|'|′|arcsec|s|\"|″|'')?")
_OF_A_DEGREE = {"": 1, "deg": 1, "d": 1, "°": 1, "arcmin": 60, "m": 60, "'": 60, "′": 60}


class BadSelection(ValueError):
    """A filter that cannot be understood; the message names it and says what is expected."""


def night(name: str, text: str) -> datetime.date:
    """Return the date of a night."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise BadSelection(f"{name}: {text!r} is not a date like 2024-05-12") from None


def whole(name: str, text: str) -> int:
    """Return a number."""
    if not re.fullmatch(r"\d{1,18}", text):
        raise BadSelection(f"{name}: {text!r} is not a whole number")
    return int(text)


def numbers(name: str, texts: tuple[str, ...]) -> tuple[int, ...]:
    """Return the numbers of texts like 3 and 8-12."""
    found: list[int] = []
    for text in texts:
        first, dash, last = text.partition("-")
        begin = whole(name, first)
        end = whole(name, last) if dash else begin
        if end - begin + len(found) >= MOST_NUMBERS:
            raise BadSelection(f"{name}: more than {MOST_NUMBERS} products are named")
        found += range(begin, end + 1)
    return tuple(found)


def verdict(text: str) -> int:
    """Return a person's verdict, given as number or word."""
    words = {"bad": Validity.BAD, "good": Validity.GOOD, "proposed": Validity.PROPOSED}
    if text.lower() in words:
        return words[text.lower()]
    if text in {"0", "1", "2"}:
        return int(text)
    raise BadSelection(f"is_valid: {text!r} is none of 0 (bad), 1 (good), 2 (proposed)")


def one_word(name: str, text: str, words: tuple[str, ...]) -> str:
    """Return one of `words`."""
    if text.lower() not in words:
        raise BadSelection(f"{name}: {text[:40]!r} is none of {', '.join(words)}")
    return text.lower()


def moment(name: str, text: str) -> datetime.datetime:
    """Return a time in UT; a date alone is its noon, ``now`` is now."""
    if text.lower() == "now":
        return datetime.datetime.now(datetime.UTC)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        text += "T12:00"
    found = parse_time(text)
    if found is None:
        raise BadSelection(f"{name}: {text[:40]!r} is neither now nor a date or time (UT) like 2024-05-12T03:20")
    return found


def cone(texts: Mapping[str, str]) -> tuple[float, float, float] | None:
    """Return right ascension, declination and radius [deg] of a place on the sky, or None where none is given."""
    given = [name for name in ("ra", "dec", "radius") if name in texts]
    if not given:
        return None
    if not {"ra", "dec"} <= set(given):
        raise BadSelection("a place on the sky is given by ra, dec and radius together")
    ra, dec = coordinate("ra", texts["ra"]), coordinate("dec", texts["dec"])
    radius = _radius(texts["radius"]) if "radius" in texts else USUAL_RADIUS
    if not (-360 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius <= 180):
        raise BadSelection("ra lies from 0 to 360, dec from -90 to 90, radius above 0 to 180 degrees")
    return ra % 360, dec, radius


def coordinate(name: str, text: str) -> float:
    """Return a coordinate [deg] that is written in degrees or in sexagesimals; those of `ra` are hours."""
    text = text.strip().replace("−", "-").lower()
    if not _COORDINATE.fullmatch(text):
        raise _no_coordinate(name, text)
    pieces = re.split(r"[\s:hdm°'′s\"″]+", text.lstrip("+-").rstrip(" :hdm°'′s\"″"))
    try:
        parts = [float(piece) for piece in pieces]
    except ValueError:
        raise _no_coordinate(name, text) from None
    if any(part >= 60 for part in parts[1:]):
        raise _no_coordinate(name, text)
    degrees = sum(part / 60**place for place, part in enumerate(parts))
    in_hours = name == "ra" and (len(parts) > 1 or "h" in text) and not re.search("[d°]", text)
    if in_hours and degrees > 24:
        raise BadSelection(f"ra: {text!r} is more than 24 hours; write degrees as 187.25 or 187d15m")
    return (-1 if text.startswith("-") else 1) * degrees * (15 if in_hours else 1)


def _no_coordinate(name: str, text: str) -> BadSelection:
    example = "187.25 (degrees) or 12:29:00 (hours)" if name == "ra" else "-41.5 or -41:30:00 (degrees)"
    return BadSelection(f"{name}: {text[:40]!r} is no coordinate; write it like {example}")


def _radius(text: str) -> float:
    match = _RADIUS.fullmatch(text.strip().lower())
    try:
        return float(match[1]) / _OF_A_DEGREE.get(match[2] or "", 3600) if match else -1.0
    except ValueError:
        return -1.0


def order(text: str) -> tuple[str, ...]:
    """Return the columns to sort by: one with those that break its ties, or several as they are named."""
    asked = several(text)
    wrong = [name for name in asked if name.removeprefix("-") not in ORDERS]
    if wrong:
        raise BadSelection(f"order: {wrong[0]!r} is none of {', '.join(ORDERS)} (a minus before it turns it round)")
    columns = [(name[:1] if name.startswith("-") else "", ORDERS[name.removeprefix("-")]) for name in asked]
    if len(columns) == 1:
        return tuple(sign + column for sign, own in columns for column in own)
    return (*(sign + own[0] for sign, own in columns), "id")


def several(text: str) -> tuple[str, ...]:
    """Return the values that commas separate."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
