"""Any other camera: what a user writes about it in a TOML file of some lines (docs/cameras.md)."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from archive.translation.camera import USUAL, Camera
from archive.translation.types import kind_of_word
from recipes.attributes import FrameAttributes, Section

_SECTIONS = ("data_section", "prescan_x", "overscan_x", "prescan_y", "overscan_y")
_KEYWORDS = {*USUAL, *_SECTIONS, "type", "date_obs", "time_obs", "longitude", "readout_mode"}
_FIXED = {name for name in FrameAttributes.model_fields if name not in {"instrument", "date_obs", "night"}}
_TOP = {"name", "instrume", "longitude", "time_format", "read_noise_unit", "keywords", "fixed", "types"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,59}")


class BadCamera(ValueError):
    """A description of a camera that cannot be understood; the message says where and what is expected."""


def camera_from_toml(text: str) -> Camera:
    """Return the camera that a TOML text describes, or raise :class:`BadCamera`."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadCamera(f"not TOML: {error}") from None
    _only(given, _TOP, "the camera's file")
    name = given.get("name", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadCamera('name is missing or no name: write name = "mycamera" with letters, digits and . + _ -')
    unit = given.get("read_noise_unit", "electron")
    if unit not in {"electron", "adu"}:
        raise BadCamera('read_noise_unit is "electron" or "adu"')
    longitude = given.get("longitude")
    if longitude is not None and not (_is_number(longitude) and -180 <= longitude <= 360):
        raise BadCamera("longitude is a number of degrees, east positive")
    return Camera(
        name=name,
        instrume=_texts(given.get("instrume", []), "instrume"),
        keywords=_keywords(_table(given, "keywords")),
        fixed=_fixed(_table(given, "fixed")),
        types=_types(_table(given, "types")),
        longitude=None if longitude is None else float(longitude),
        time_format=str(given.get("time_format", "")),
        read_noise_unit=unit,
    )


def _keywords(given: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    _only(given, _KEYWORDS, "[keywords]")
    return {
        attribute: tuple(keyword.upper().removeprefix("HIERARCH ") for keyword in _texts(keywords, attribute))
        for attribute, keywords in given.items()
    }


def _fixed(given: dict[str, Any]) -> dict[str, Any]:
    _only(given, _FIXED, "[fixed]")
    for attribute in _SECTIONS:
        if attribute in given:
            try:
                Section.parse(str(given[attribute]))
            except ValueError as error:
                raise BadCamera(f"[fixed] {attribute}: {error}") from None
    try:
        FrameAttributes.model_validate(given)
    except ValueError as error:
        raise BadCamera(f"[fixed]: {str(error).splitlines()[1]} has a value of the wrong type") from None
    return given


def _types(given: dict[str, Any]) -> dict[str, str]:
    found = {}
    for word, meant in given.items():
        kind = kind_of_word(str(meant))
        if kind is None:
            raise BadCamera(f"[types] {word!r}: {meant!r} is none of bias, dark, domeflat, twilight, science")
        found[word] = kind
    return found


def _table(given: dict[str, Any], name: str) -> dict[str, Any]:
    table = given.get(name, {})
    if not isinstance(table, dict):
        raise BadCamera(f"[{name}] is a table")
    return table


def _texts(given: Any, name: str) -> tuple[str, ...]:
    several = [given] if isinstance(given, str) else given
    if not isinstance(several, list) or not all(isinstance(entry, str) for entry in several):
        raise BadCamera(f"{name} is a text, or several in [...]")
    return tuple(several)


def _only(given: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise BadCamera(f"{where} has no {unknown[0]!r}; it may have: {', '.join(sorted(known))}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
