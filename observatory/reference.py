"""What an observer knows of the stars: a catalogue with errors, at an epoch of its own, as surveys publish them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from observatory.plan import Plan
from observatory.sky import COLOUR, Catalogue
from observatory.streams import stream

NAME, EPOCH, SYSTEM = "SimCat", 2016.0, "AB"
FAINTEST = 21.0  # r of the faintest star listed
POSITION_ERROR = 0.008  # arcsec, of a star of r = 16; grows tenfold in five magnitudes
LEAST_POSITION_ERROR = 0.003
MOTION_ERROR = 0.3  # mas/yr
MAGNITUDE_ERROR = 0.006  # of a star of r = 17; doubles every magnitude
LEAST_MAGNITUDE_ERROR = 0.004
VARIABLE = 0.02  # of the stars have changed since, by so much (rms)
CHANGE = 0.3  # mag


def write_reference(path: Path, catalogue: Catalogue, plan: Plan) -> None:
    """Write the stars of `catalogue` that a survey would list, with its errors, at its epoch."""
    random = stream(plan.seed, "reference")
    stars = np.flatnonzero((catalogue.radius == 0) & (catalogue.magnitude < FAINTEST))
    bright = catalogue.magnitude[stars]
    position_error = np.maximum(POSITION_ERROR * 10 ** (0.2 * (bright - 16)), LEAST_POSITION_ERROR)
    noon = datetime(plan.date.year, plan.date.month, plan.date.day)  # noqa: DTZ001 - UT
    years = 2000 + (noon - datetime(2000, 1, 1)).days / 365.25 - EPOCH  # noqa: DTZ001 - UT
    east, north = random.normal(0, position_error, (2, len(stars))) / 3600
    east -= catalogue.motion_ra[stars] * years / 3.6e6
    north -= catalogue.motion_dec[stars] * years / 3.6e6
    dec = catalogue.dec[stars] + north
    columns: dict[str, Any] = {
        "ID": stars + 1,
        "RA": (catalogue.ra[stars] + east / np.cos(np.deg2rad(catalogue.dec[stars]))) % 360,
        "DEC": dec,
        "RA_ERROR": position_error,
        "DEC_ERROR": position_error,
        "PMRA": catalogue.motion_ra[stars] + random.normal(0, MOTION_ERROR, len(stars)),
        "PMDEC": catalogue.motion_dec[stars] + random.normal(0, MOTION_ERROR, len(stars)),
    }
    change = np.where(random.random(len(stars)) < VARIABLE, random.normal(0, CHANGE, len(stars)), 0.0)
    for band in COLOUR:
        magnitude = catalogue.magnitude_in(band)[stars]
        error = np.maximum(MAGNITUDE_ERROR * 2 ** (magnitude - 17), LEAST_MAGNITUDE_ERROR)
        columns[f"MAG_{band}"] = (magnitude + change + random.normal(0, error)).astype(np.float32)
        columns[f"MAGERR_{band}"] = error.astype(np.float32)
    columns["ref_epoch"] = np.full(len(stars), EPOCH)
    hdu = fits.BinTableHDU(Table(columns), name="CATALOGUE")
    units = {"RA": "deg", "DEC": "deg", "RA_ERROR": "arcsec", "DEC_ERROR": "arcsec", "PMRA": "mas/yr",
             "PMDEC": "mas/yr", "ref_epoch": "yr"}  # fmt: skip
    for column in hdu.columns:
        column.unit = units.get(column.name, "mag" if column.name.startswith("MAG") else None)
    hdu.header["CATNAME"] = (NAME, "name of the catalogue")
    hdu.header["EPOCH"] = (EPOCH, "[yr] Julian epoch of the positions")
    hdu.header["RADESYS"] = "ICRS"
    hdu.header["PHOTSYS"] = (SYSTEM, "system of the magnitudes")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)


def describe_reference() -> dict[str, Any]:
    """Return what ``night.json`` says of the catalogue."""
    return {"file": "catalogues/simcat.fits", "name": NAME, "epoch": EPOCH, "system": SYSTEM, "bands": list(COLOUR)}
