"""Stars whose positions are known: those of a reference catalogue at the epoch of an exposure, or another frame's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.attributes import FrameAttributes
from recipes.ccd.plate import Plate
from recipes.ccd.stars import Stars
from recipes.ccd.tangent_plane import directions, local_axes, separation, unit_vectors
from recipes.errors import UsageError
from recipes.frame import number_of
from recipes.tables import Table

Floats = NDArray[np.float64]

WORST_POSITION = 1.0  # arcsec: positions with larger errors, such as those given to the second of time, are not used
_LONGEST_EXPOSURE = 1e6  # s; what claims to be longer tells nothing of its middle
_J2000 = datetime(2000, 1, 1, 12)  # noqa: DTZ001 - all times are UT, as FITS has them
_MAS = 1 / 3.6e6  # degree
# Bands from short to long waves, to find the one nearest to a filter's: wavelengths [nm] of SDSS, Bessell and Gaia.
_WAVELENGTH = {"u": 354, "U": 366, "B": 438, "BP": 511, "g": 477, "V": 545, "r": 623, "G": 623, "R": 641, "i": 762,
               "RP": 777, "I": 798, "z": 913, "y": 1005, "J": 1235, "H": 1662, "K": 2159}  # fmt: skip


@dataclass(frozen=True)
class ReferenceStars:
    """Stars with known positions [degree, ICRS, at the exposure's epoch], their errors [arcsec] and magnitudes.

    ``magnitude`` is NaN where it is not known; ``number`` is the row in the catalogue. The brightest are first.
    """

    ra: Floats
    dec: Floats
    error: Floats
    magnitude: Floats
    number: NDArray[np.int64]
    name: str
    band: str = ""

    def __len__(self) -> int:
        return len(self.ra)

    def where(self, chosen: NDArray[Any]) -> ReferenceStars:
        """Return those chosen, by a mask or by places."""
        return ReferenceStars(self.ra[chosen], self.dec[chosen], self.error[chosen], self.magnitude[chosen],
                              self.number[chosen], self.name, self.band)  # fmt: skip

    def near(self, ra: float, dec: float, radius: float) -> ReferenceStars:
        """Return those within `radius` [degree] of a position."""
        return self.where(separation(self.ra, self.dec, ra, dec) <= radius)


def reference_stars(catalogue: Table, frame: FrameAttributes, ra: float, dec: float, radius: float) -> ReferenceStars:
    """Return the stars of a reference catalogue near a position, at the epoch of an exposure.

    Parameters
    ----------
    catalogue : Table
        Columns RA, DEC and, where known, RA_ERROR, DEC_ERROR, PMRA, PMDEC and MAG_<band>.
    frame : FrameAttributes
        Of the exposure.
    ra, dec, radius : float
        Circle of sky [degree].

    Returns
    -------
    ReferenceStars
        Those whose positions are good enough.

    Raises
    ------
    UsageError
        The table has no positions.
    """
    name = str(getattr(catalogue.attributes, "catalogue", "") or "catalogue")
    numbers = _numbers(catalogue.columns, name)
    ra_all, dec_all = numbers["RA"], numbers["DEC"]
    usable = np.isfinite(ra_all) & (np.abs(dec_all) <= 90)
    error = _position_error(numbers)
    # Proper motions of a century do not carry a star farther than this margin.
    margin = 0.05
    near = np.flatnonzero(usable & (error <= WORST_POSITION))
    near = near[separation(ra_all[near], dec_all[near], ra, dec) <= radius + margin]
    band = nearest_band([key[4:] for key in numbers if key.startswith("MAG_")], frame)
    magnitude = numbers[f"MAG_{band}"][near] if band else np.full(len(near), np.nan)
    years = _years(frame, number_of(catalogue.attributes, "epoch"))
    motion = [np.nan_to_num(numbers[key][near] if key in numbers else np.zeros(len(near))) for key in ("PMRA", "PMDEC")]
    moved = _moved(ra_all[near], dec_all[near], motion[0] * years, motion[1] * years)
    order = np.argsort(np.where(np.isfinite(magnitude), magnitude, np.inf), kind="stable")
    stars = ReferenceStars(*moved, error[near], magnitude, near.astype(np.int64), name, band).where(order)
    return stars.near(ra, dec, radius)


def stars_as_reference(stars: Stars, plate: Plate, name: str, band: str = "") -> ReferenceStars:
    """Return the stars of another frame as references, where its coordinates have them; instrumental magnitudes."""
    good = stars.where(stars.clean)
    ra, dec = plate.sky(good.x, good.y)
    return ReferenceStars(ra, dec, good.error * plate.pixel_scale, -2.5 * np.log10(good.flux),
                          np.flatnonzero(stars.clean).astype(np.int64), name, band)  # fmt: skip


def epoch_of(frame: FrameAttributes) -> float | None:
    """Return the Julian year at mid-exposure, or None where the date is not known."""
    try:
        start = datetime.fromisoformat(str(frame.date_obs)).replace(tzinfo=None)
    except ValueError:
        return None
    seconds = number_of(frame, "exposure_time") or 0.0
    middle = start + timedelta(seconds=seconds / 2 if abs(seconds) < _LONGEST_EXPOSURE else 0.0)
    return 2000.0 + (middle - _J2000) / timedelta(days=365.25)


def nearest_band(bands: list[str], frame: FrameAttributes) -> str:
    """Return the catalogue's band nearest in wavelength to the frame's filter; the first where nothing is known."""
    wanted = frame.photometry.band if frame.photometry else (frame.filter or "").strip().rstrip("'_p")
    if not bands or wanted in bands:
        return wanted if bands else ""
    wavelength = _WAVELENGTH.get(wanted) or _WAVELENGTH.get(wanted[:1]) or _WAVELENGTH["r"]
    known = [band for band in bands if band in _WAVELENGTH]
    return min(known, key=lambda band: abs(_WAVELENGTH[band] - wavelength)) if known else bands[0]


def _numbers(columns: Mapping[str, Any], name: str) -> dict[str, Floats]:
    found = {}
    for key, column in columns.items():
        values = np.asarray(column.values)
        if values.ndim == 1 and values.dtype.kind in "iuf":
            found[key.upper() if not key.startswith("MAG") else key] = values.astype(np.float64)
    if not {"RA", "DEC"} <= set(found):
        raise UsageError(f"the reference catalogue {name} has no columns RA and DEC of numbers",
                         hint="ingest it with a column map that names its positions [degree]")  # fmt: skip
    return found


def _position_error(numbers: Mapping[str, Floats]) -> Floats:
    """Return the error on an axis [arcsec]: the larger of both, 0 where the catalogue does not say."""
    zero = np.zeros(len(numbers["RA"]))
    errors = [np.nan_to_num(numbers.get(key, zero)) for key in ("RA_ERROR", "DEC_ERROR")]
    return np.asarray(np.maximum(*errors))


def _years(frame: FrameAttributes, epoch: float | None) -> float:
    now = epoch_of(frame)
    return now - epoch if now is not None and epoch is not None else 0.0


def _moved(ra: Floats, dec: Floats, towards_east: Floats, towards_north: Floats) -> tuple[Floats, Floats]:
    """Return positions moved by angles on the sky [mas]; right at the poles too."""
    east, north = local_axes(ra, dec)
    step = np.deg2rad(_MAS)
    return directions(unit_vectors(ra, dec) + step * (towards_east[:, None] * east + towards_north[:, None] * north))
