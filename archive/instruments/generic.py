"""Any other camera: what a user writes about it in a TOML file of some lines (docs/cameras.md)."""

from __future__ import annotations

import hashlib
import re
import tomllib
from typing import Any

from pydantic import ValidationError

from archive.translation.camera import USUAL, Camera
from archive.translation.types import kind_of_word
from recipes.attributes import FrameAttributes, Photometry, Section
from recipes.masks import MASK_BITS

_SECTIONS = ("data_section", "prescan_x", "overscan_x", "prescan_y", "overscan_y")
_KEYWORDS = {*USUAL, *_SECTIONS, "type", "date_obs", "time_obs", "longitude", "readout_mode"}
_FIXED = {name for name in FrameAttributes.model_fields if name not in {"instrument", "date_obs", "night"}}
_TOP = {"name", "instrume", "longitude", "time_format", "read_noise_unit", "exposure_time_unit", "keywords",
        "fixed", "types", "photometry", "mask_bits", "mask_codes"}  # fmt: skip
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}
_COLOUR = re.compile(r"[A-Za-z0-9]+-[A-Za-z0-9]+")
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
    seconds = given.get("exposure_time_unit", "s")
    if seconds not in _SECONDS:
        raise BadCamera(f"exposure_time_unit is one of {', '.join(_SECONDS)}")
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
        exposure_time_unit=_SECONDS[seconds],
        description=hashlib.sha256(text.encode()).hexdigest(),
        photometry=_photometry(_table(given, "photometry")),
        mask_bits=_mask(_table(given, "mask_bits"), "mask_bits") | _mask(_table(given, "mask_codes"), "mask_codes"),
        mask_codes=_one_of(given, "mask_bits", "mask_codes") == "mask_codes",
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


def _photometry(given: dict[str, Any]) -> dict[str, Photometry]:
    found = {}
    for name, declared in given.items():
        where = f"[photometry.{name}]"
        if not isinstance(declared, dict):
            raise BadCamera(f'[photometry]: write a table for each filter, like [photometry.{name}] with band = "V"')
        _only(declared, set(Photometry.model_fields), where)
        try:
            photometry = Photometry.model_validate(declared)
        except ValidationError as error:
            problem = error.errors()[0]
            raise BadCamera(f"{where} {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
        if photometry.system not in {"", "Vega", "AB"}:
            raise BadCamera(f'{where}: system is "Vega" or "AB"')
        if photometry.colour and not _COLOUR.fullmatch(photometry.colour):
            raise BadCamera(f'{where}: colour is two bands with a minus between, like "B-V"')
        if photometry.colour_term and not photometry.colour:
            raise BadCamera(f'{where}: a colour_term needs its colour, like colour = "B-V"')
        found[name] = photometry
    return found


def _mask(given: dict[str, Any], where: str) -> dict[int, int]:
    """Return for each bit (or code) of a mask the bit of ours that it means; "good" for a code that is none."""
    ours = {meaning: bit for bit, meaning in MASK_BITS.items()} | {"good": 0}
    found = {}
    for number, meaning in given.items():
        if not number.isdecimal() or int(number) >= 2**31:
            raise BadCamera(f"[{where}] {number!r} is no value of a mask: write it as a number, like 4 or 128")
        if where == "mask_bits" and int(number).bit_count() != 1:
            raise BadCamera(f"[{where}] {number} is no single bit: 1, 2, 4, 8...; for codes write [mask_codes]")
        if str(meaning).replace("_", " ") not in ours:
            raise BadCamera(f"[{where}] {number}: {meaning!r} is none of {', '.join(ours)}")
        found[int(number)] = ours[str(meaning).replace("_", " ")]
    return found


def _one_of(given: dict[str, Any], *names: str) -> str:
    there = [name for name in names if name in given]
    if len(there) > 1:
        raise BadCamera(f"write one of {' and '.join(f'[{name}]' for name in names)}, not both")
    return there[0] if there else ""


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
