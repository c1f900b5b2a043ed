"""What a header claims of the detector: temperature, levels, gain and noise (never more than nominal), readout mode."""

from __future__ import annotations

import re
from typing import Any

from archive.headers import Header
from archive.translation.camera import Camera
from archive.translation.values import find_number, number, slug

_USUAL_MODES = {"normal", "monochrome", "raw", "default", "standard", "full", "image", "1"}
_MODES = ("READOUTM", "READMODE", "RDMODE", "READ-MOD", "ROSPEED", "CCDSPEED", "READSPD", "RDSPEED", "RO-SPEED",
          "READSPEE", "SPEEDMOD", "ESO DET READ CLOCK", "ESO DET READ MODE")  # fmt: skip
_INDEX = re.compile(r"index|setting|level|mode|state|code|stage|relative|db\b|no\.|number", re.IGNORECASE)
_ELECTRONS = re.compile(r"e(lectrons?|-)?\s*(/|per)\s*(adu|dn|count)", re.IGNORECASE)


def find_detector(header: Header, camera: Camera) -> dict[str, Any]:
    """Return temperature, saturation, nominal gain and read noise, binning and readout mode."""
    gain = _gain(header, camera)
    return {
        "temperature": _temperature(header, camera),
        "saturation": _positive(find_number(header, *camera.keywords_for("saturation"))),
        "nominal_gain": gain,
        "nominal_read_noise": _read_noise(header, camera, gain),
        "binning": (binning := find_binning(header)),
        "readout_mode": _readout_mode(header, camera, binning, gain),
    }


def find_binning(header: Header) -> tuple[int, int]:
    """Return how many columns and rows of the chip one pixel holds."""
    for across, along in (("XBINNING", "YBINNING"), ("CCDXBIN", "CCDYBIN"), ("BINX", "BINY"), ("XBIN", "YBIN"),
                          ("CCDBINX", "CCDBINY"), ("BINNINGX", "BINNINGY"), ("RBIN", "CBIN"), ("BIN-FCT1", "BIN-FCT2"),
                          ("CDELT1U", "CDELT2U"), ("ESO DET WIN1 BINX", "ESO DET WIN1 BINY")):  # fmt: skip
        pair = (find_number(header, across), find_number(header, along))
        if pair[0] and pair[1]:
            return _whole(pair[0]), _whole(pair[1])
    text = header.text("CCDSUM", "BINNING", "BINMODE")
    parts = re.findall(r"\d+", text)
    if parts and len(parts) <= 2:
        return _whole(float(parts[0])), _whole(float(parts[-1]))
    return 1, 1


def _temperature(header: Header, camera: Camera) -> float | None:
    found = find_number(header, *camera.keywords_for("temperature"))
    if found is None:
        return None
    if 100 < found < 400:  # no detector is that warm in Celsius
        found -= 273.15
    return round(found, 3) if -273.15 <= found <= 100 else None


def _gain(header: Header, camera: Camera) -> float | None:
    """Return what the header claims as electron/adu. GAIN is often an index of the controller: then it is no gain."""
    for keyword in camera.keywords_for("nominal_gain"):
        found = header.find(keyword)
        value = number(found[1].value) if found else None
        if found is None or value is None or not 0.01 <= value <= 200:
            continue
        told = bool(_ELECTRONS.search(found[1].comment))
        own = keyword in camera.keywords.get("nominal_gain", ())
        if keyword == "GAIN" and not (told or own) and (_INDEX.search(found[1].comment) or _is_whole(found[1].value)):
            continue
        return value
    return None


def _read_noise(header: Header, camera: Camera, gain: float | None) -> float | None:
    keywords = camera.keywords_for("nominal_read_noise")
    value = _positive(find_number(header, *keywords))
    found = header.find(*keywords)
    in_adu = bool(found and re.search(r"^\W*(adu|dn|counts?)\b", found[1].comment, re.IGNORECASE))
    if value is None or in_adu or camera.read_noise_unit == "adu":
        return value
    return round(value / gain, 4) if gain else None


def _readout_mode(header: Header, camera: Camera, binning: tuple[int, int], gain: float | None) -> str:
    """Return a name for how the chip was read: binning, window, speed, gain index; "default" for nothing special."""
    parts = []
    if binning != (1, 1):
        parts.append(f"bin{binning[0]}x{binning[1]}")
    corner = [int(find_number(header, name) or 0) for name in ("XORGSUBF", "YORGSUBF")]
    if any(corner):
        parts.append(f"win{corner[0]}_{corner[1]}")
    mode = header.text(*camera.keywords.get("readout_mode", _MODES))
    if mode and mode.lower() not in _USUAL_MODES:
        parts.append(slug(mode, 24))
    index = header.find("GAIN")
    setting = int(number(index[1].value) or 0) if index and _is_whole(index[1].value) else 0
    if setting and (header.find("EGAIN") or (gain is None and setting > 4)):
        parts.append(f"gain{setting}")  # cameras whose gain is a setting: each its own bias
    return "-".join(part for part in parts if part)[:60] or "default"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(value: float) -> int:
    return min(max(1, abs(round(value))), 64)


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None
