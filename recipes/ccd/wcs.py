"""The coordinate system of a raw frame handed on to its trimmed product: shifted, and rid of contradictions.

Conventions: Greisen & Calabretta 2002, A&A 395, 1061; SIP: Shupe et al. 2005; TPV and SCAMP's TAN with PV: the FITS
registry of conventions.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

# A pixel of a camera on a telescope is not smaller and not larger than this [degree]; beyond, the cards are no fit.
SMALLEST_PIXEL, LARGEST_PIXEL = 0.001 / 3600, 0.5
_LINEAR_OLD = re.compile(r"(CDELT[12]|CROTA[12]|PC[12]_[12])")
_SIP = re.compile(r"[AB]P?_(ORDER|\d_\d)")
_PV = re.compile(r"PV[12]_\d{1,2}")


def trimmed_wcs(cards: Mapping[str, Any], x0: int, y0: int) -> tuple[dict[str, Any], str]:
    """Return the cards for an image whose first pixel is the raw frame's pixel (`x0`, `y0`), and what was wrong.

    Parameters
    ----------
    cards : mapping
        Coordinate system of the raw frame, by keyword.
    x0, y0 : int
        Columns and rows that were cut off before the image.

    Returns
    -------
    cards : dict
        Empty where there is none or where it cannot be right.
    remark : str
        Why it was dropped or what was mended; empty where all is well.
    """
    if not cards:
        return {}, "the raw frame has no coordinate system"
    kept, mended = _consistent(dict(cards))
    kept["CRPIX1"] = float(kept["CRPIX1"]) - x0
    kept["CRPIX2"] = float(kept["CRPIX2"]) - y0
    problem = _problem(kept)
    if problem:
        return {}, f"the coordinate system of the raw frame was dropped: {problem}"
    return dict(sorted(kept.items(), key=lambda card: _order(card[0]))), mended


def pixel_scale_of(cards: Mapping[str, Any]) -> float | None:
    """Return the pixel scale [arcsec] that the linear part of a coordinate system states, or None."""
    matrix = _matrix(cards)
    area = abs(float(np.linalg.det(matrix)))
    return 3600 * math.sqrt(area) if area > 0 else None


def centre_of(cards: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, float]:
    """Return where the centre of an image of `shape` lies as attributes ``centre_ra``, ``centre_dec`` [degree, ICRS].

    Empty where the cards are no coordinate system.
    """
    wcs = celestial(cards) if cards else None
    if wcs is None:
        return {}
    ra, dec = sky_positions(wcs, np.array([(shape[1] + 1) / 2]), np.array([(shape[0] + 1) / 2]))
    if not (np.isfinite(ra[0]) and np.isfinite(dec[0])):
        return {}
    return {"centre_ra": round(float(ra[0]), 6), "centre_dec": round(float(dec[0]), 6)}


def _consistent(cards: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Leave one description where a header holds several."""
    remarks = []
    if "CD1_1" in cards:
        old = [key for key in cards if _LINEAR_OLD.fullmatch(key)]
        if old:  # FITS 4.0 section 8.2: CDELT and CROTA must not stand beside CD
            remarks.append("CDELT, CROTA or PC beside the CD matrix")
        for key in old:
            del cards[key]
    has_sip = "A_ORDER" in cards and "B_ORDER" in cards
    if not has_sip:
        for key in [key for key in cards if _SIP.fullmatch(key)]:
            del cards[key]
    is_tan = all(str(cards[f"CTYPE{axis}"]).rstrip().endswith("-TAN") for axis in (1, 2))
    has_pv = any(_PV.fullmatch(key) and not key.endswith("_0") for key in cards if key[:3] in ("PV1", "PV2"))
    if has_sip and is_tan:
        remarks.append("SIP coefficients without -SIP in CTYPE")
        for axis in (1, 2):
            cards[f"CTYPE{axis}"] = str(cards[f"CTYPE{axis}"]).rstrip() + "-SIP"
    if has_pv and has_sip:
        remarks.append("both SIP and PV")
        for key in [key for key in cards if _PV.fullmatch(key)]:
            del cards[key]
    elif has_pv and is_tan:
        remarks.append("TAN with PV coefficients, read as TPV")
        for axis in (1, 2):
            cards[f"CTYPE{axis}"] = str(cards[f"CTYPE{axis}"]).rstrip()[:-3] + "TPV"
    return cards, "mended in the coordinate system: " + ", ".join(remarks) if remarks else ""


def _matrix(cards: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the linear transformation of the cards [degree/pixel]."""
    if any(f"CD{i}_{j}" in cards for i in (1, 2) for j in (1, 2)):
        return np.array([[float(cards.get(f"CD{i}_{j}", 0.0)) for j in (1, 2)] for i in (1, 2)])
    if "CDELT1" not in cards or "CDELT2" not in cards:
        return np.zeros((2, 2))
    scale = np.array([float(cards["CDELT1"]), float(cards["CDELT2"])])
    turn = np.array([[float(cards.get(f"PC{i}_{j}", float(i == j))) for j in (1, 2)] for i in (1, 2)])
    return np.asarray(scale[:, np.newaxis] * turn)


def _problem(cards: dict[str, Any]) -> str:
    """Return why the cards cannot be right, or nothing."""
    scale = pixel_scale_of(cards)
    if scale is None:
        return "its matrix is missing or singular"
    if not SMALLEST_PIXEL <= scale / 3600 <= LARGEST_PIXEL:
        return f"a pixel of {scale:.3g} arcsec"
    if not -90.0 <= float(cards["CRVAL2"]) <= 90.0 and str(cards["CTYPE2"]).startswith("DEC"):
        return f"a declination of {cards['CRVAL2']}"
    sky = celestial(cards)
    if sky is None:
        return "astropy cannot read it"
    return ""


def celestial(cards: Mapping[str, Any]) -> Any:
    """Return the cards as an astropy WCS of two celestial axes, or None where it is none; nobody may change it."""
    return _celestial(tuple(cards.items()))


@lru_cache(maxsize=2)  # a frame's is asked for several times in a row, and takes 10 ms
def _celestial(items: tuple[tuple[str, Any], ...]) -> Any:
    from astropy.io import fits
    from astropy.wcs import WCS

    cards = dict(items)
    header = fits.Header()
    for keyword, value in items:
        header[keyword] = value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(header)
            if not wcs.has_celestial or wcs.naxis != 2:
                return None
            ra, dec = wcs.all_pix2world(float(cards["CRPIX1"]) - 1, float(cards["CRPIX2"]) - 1, 0)
    except (ValueError, TypeError, KeyError, AssertionError, ArithmeticError):  # WcsError is a ValueError
        return None
    return wcs if np.isfinite(ra) and np.isfinite(dec) else None


def _order(keyword: str) -> tuple[int, str]:
    groups = ("WCSAXES", "CTYPE", "CUNIT", "CRVAL", "CRPIX", "CD", "PC", "CROTA", "PV", "A_", "AP_", "B_", "BP_")
    rank = next((number for number, group in enumerate(groups) if keyword.startswith(group)), len(groups))
    return rank, keyword


def sky_positions(wcs: Any, x: Any, y: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return right ascension and declination [degree, ICRS] of FITS pixel positions (the first pixel is 1)."""
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    longitude, latitude = wcs.all_pix2world(np.asarray(x, dtype=float), np.asarray(y, dtype=float), 1)
    try:
        frame = wcs_to_celestial_frame(wcs)
    except ValueError:
        return np.asarray(longitude), np.asarray(latitude)
    of_j2000 = frame.name == "icrs" or (frame.name == "fk5" and frame.equinox.jyear == 2000.0)
    if of_j2000 or not len(longitude):  # FK5 of J2000 is ICRS to 0.02 arcsec
        return np.asarray(longitude), np.asarray(latitude)
    icrs = SkyCoord(longitude * units.deg, latitude * units.deg, frame=frame).icrs
    return np.asarray(icrs.ra.deg), np.asarray(icrs.dec.deg)
