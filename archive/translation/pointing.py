"""Where the telescope pointed, how many arcseconds a pixel is, through how much air."""

from __future__ import annotations

import math
import re
from typing import Any

from archive.headers import Header
from archive.translation.camera import Camera
from archive.translation.values import angle, find_number, number

_ARCSEC_MICRON_MM = 206.2648  # arcsec for a micrometre at a millimetre's distance


def find_position(header: Header, camera: Camera, notes: list[str]) -> dict[str, Any]:
    """Return ``ra`` and ``dec`` [deg, ICRS] of the pointing; nothing where they are not told or make no sense."""
    for ra_keyword, dec_keyword in zip(camera.keywords_for("ra"), camera.keywords_for("dec"), strict=False):
        ra_card, dec_card = header.find(ra_keyword), header.find(dec_keyword)
        if ra_card is None or dec_card is None:
            continue
        if ra_keyword == "CRVAL1" and not header.text("CTYPE1").upper().startswith("RA"):
            continue
        comment = ra_card[1].comment.lower()
        ra = angle(ra_card[1].value, in_hours=True)
        if (
            ra is not None
            and (re.search(r"\bhours?\b|\bhrs?\b", comment) or comment.strip().startswith("[h]"))
            and number(ra_card[1].value) == ra
            and 0 <= ra < 24
        ):
            ra *= 15
        dec = angle(dec_card[1].value)
        if ra is None or dec is None or not -90 <= dec <= 90 or not -360 <= ra <= 360:
            continue
        ra, dec = _to_icrs(ra % 360, dec, header, notes)
        return {"ra": round(ra, 7), "dec": round(dec, 7)}
    return {}


def find_pixel_scale(header: Header, camera: Camera) -> dict[str, Any]:
    """Return ``pixel_scale`` [arcsec]: of the WCS, of a keyword, or of pixel size and focal length."""
    matrix = [find_number(header, f"CD{row}_{column}") for row, column in ((1, 1), (1, 2), (2, 1), (2, 2))]
    if matrix[0] is not None and matrix[3] is not None and header.text("CTYPE1").upper().startswith("RA"):
        a, b, c, d = (value or 0.0 for value in matrix)
        scale = 3600 * math.sqrt(abs(a * d - b * c))
    elif header.text("CTYPE1").upper().startswith("RA") and (step := find_number(header, "CDELT2")):
        scale = 3600 * abs(step)
    elif told := find_number(header, *camera.keywords_for("pixel_scale")):
        scale = abs(told)
    else:
        size, length = find_number(header, "XPIXSZ", "PIXSIZE1"), find_number(header, "FOCALLEN")
        scale = _ARCSEC_MICRON_MM * size / length if size and length and size > 0 and length > 0 else 0.0
    return {"pixel_scale": round(scale, 5)} if 0.001 <= scale <= 600 else {}


def find_airmass(header: Header, camera: Camera, notes: list[str]) -> dict[str, Any]:
    """Return ``airmass``; none where the header's cannot be."""
    airmass = find_number(header, *camera.keywords_for("airmass"))
    if airmass is None:
        return {}
    if not 0.99 <= airmass <= 10:
        notes.append(f"an airmass of {airmass:.2f} cannot be: not used")
        return {}
    return {"airmass": airmass}


def _to_icrs(ra: float, dec: float, header: Header, notes: list[str]) -> tuple[float, float]:
    """Return a position of another equinox precessed to ICRS."""
    equinox = find_number(header, "EQUINOX", "EPOCH")
    system = header.text("RADESYS", "RADECSYS").upper()
    if equinox is None or abs(equinox - 2000) < 0.05 or system == "ICRS" or not 1850 <= equinox <= 2100:
        return ra, dec
    from astropy import units
    from astropy.coordinates import FK4, FK5, SkyCoord
    from astropy.time import Time

    old = system == "FK4" or equinox < 1984
    frame = FK4(equinox=Time(equinox, format="byear")) if old else FK5(equinox=Time(equinox, format="jyear"))
    icrs = SkyCoord(ra * units.deg, dec * units.deg, frame=frame).icrs
    notes.append(f"position precessed from equinox {equinox:g}")
    return float(icrs.ra.deg), float(icrs.dec.deg)
