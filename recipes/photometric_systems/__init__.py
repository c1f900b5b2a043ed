"""The standard photometric systems, a TOML file each, and which band a camera's filter is by its name.

A camera's file may declare what its filters are (``[photometry.<filter>]``); that counts before what is read here from
the name.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from recipes.attributes import Photometry

_PARTS = re.compile(r"[\s_\-./,;:()\[\]#|]+")
# Systems that a plain letter may mean, the first of them first.
_PLAIN = ("Johnson-Cousins", "SDSS", "PS1")
# Words that say: this is no broad band of these systems, whatever letters stand beside.
_OTHER_SYSTEMS = {
    *("str", "thuan", "gunn", "washington", "ddo", "vilnius", "geneva", "narrow", "alpha", "beta", "ha", "hb"),
    *("oiii", "sii", "nii", "oii", "cn", "off", "continuum", "cont", "polar"),
}
_STEMS_OF_OTHERS = ("strom", "ström", "halpha", "hbeta", "narrow")


@dataclass(frozen=True)
class Band:
    """A band of a standard system: wavelength [nm], what to add to reach AB [mag], usual extinction [mag/airmass]."""

    name: str
    system: str
    magnitudes: str
    wavelength: float
    ab_offset: float
    extinction: float
    colour: str
    aliases: tuple[str, ...]

    def photometry(self) -> Photometry:
        """Return what is assumed of a camera's filter that is this band: no colour term, usual extinction."""
        return Photometry(band=self.name, system=self.magnitudes, colour=self.colour, extinction=self.extinction)


@dataclass(frozen=True)
class PhotometricSystem:
    """A standard system: its bands by name, and the words of filters' names that tell of it."""

    name: str
    magnitudes: str
    words: tuple[str, ...]
    bands: dict[str, Band]


@cache
def all_systems() -> dict[str, PhotometricSystem]:
    """Return the systems by name, those first that a plain letter means."""
    folder = resources.files(__name__)
    texts = {entry.name: entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".toml")}
    systems = [_system(tomllib.loads(texts[name])) for name in sorted(texts)]
    systems.sort(key=lambda system: (*(system.name != name for name in _PLAIN), system.name))
    return {system.name: system for system in systems}


def _system(given: dict[str, Any]) -> PhotometricSystem:
    name, magnitudes = str(given["name"]), str(given["magnitudes"])
    bands = {
        band: Band(
            name=band,
            system=name,
            magnitudes=magnitudes,
            wavelength=float(about["wavelength"]),
            ab_offset=float(about["ab_offset"]),
            extinction=float(about["extinction"]),
            colour=str(about["colour"]),
            aliases=tuple(about["aliases"]),
        )
        for band, about in given["bands"].items()
    }
    return PhotometricSystem(name, magnitudes, tuple(given["words"]), bands)


def find_band(name: str, magnitudes: str = "") -> Band | None:
    """Return the band of exactly that name (in a system of Vega or AB magnitudes, where that is told), or None."""
    for system in all_systems().values():
        if name in system.bands and magnitudes in ("", system.magnitudes):
            return system.bands[name]
    return None


def band_of_filter(name: str | None) -> Band | None:
    """Return the standard band that a camera means by a filter's name, or None where that cannot be told.

    ``V``, ``Johnson V``, ``Bessell-V``, ``V#642`` are V; ``R`` and ``Rc`` are Cousins' R, ``r``, ``rp``, ``r'``,
    ``SDSS_r`` and ``r DECam SDSS c0002`` the SDSS's r. A single letter counts as it is written. What names several
    bands, or a system that is not here, is None.
    """
    parts = [part for part in _PARTS.split((name or "").strip()) if part]
    lower = [part.lower() for part in parts]
    if any(part in _OTHER_SYSTEMS or part.startswith(_STEMS_OF_OTHERS) for part in lower):
        return None
    # A letter alone is a band, beside others (W-J-V) it may tell of a system.
    told = [
        system
        for system in all_systems().values()
        if any(word in lower and (len(word) > 1 or len(parts) > 1) for word in system.words)
    ]
    for system in told:
        others = [part for part in parts if part.lower() not in system.words]
        band = _only_one([_of_part(part, system) or _of_part(_other_case(part), system) for part in others])
        if band is not None:
            return band
    if told:
        return None
    plain = [all_systems()[system] for system in _PLAIN]
    return _only_one([next(filter(None, (_of_part(part, system) for system in plain)), None) for part in parts])


def _only_one(found: list[Band | None]) -> Band | None:
    """Return the band, if all that were found are one."""
    bands = {band.name: band for band in found if band is not None}
    return next(iter(bands.values())) if len(bands) == 1 else None


def _other_case(part: str) -> str:
    return part.lower() if part[:1].isupper() else part.upper()


def _of_part(part: str, system: PhotometricSystem) -> Band | None:
    if part in system.bands:
        return system.bands[part]
    # Aliases of SDSS begin with a small letter (RP is Gaia's), unless the prime or plus tells.
    if system.magnitudes == "AB" and part[:1].isupper() and part[-1] not in "'+":
        return None
    return next((band for band in system.bands.values() if part.lower() in band.aliases), None)
