"""From electrons to the numbers in a raw file: bias level, prescan, overscan, noise, digitisation; and its header."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from observatory.camera import NOMINAL_GAIN, NOMINAL_READ_NOISE, SATURATION, Chip
from observatory.optics import PIXEL_SCALE
from observatory.plan import SITE_LATITUDE, SITE_LONGITUDE, Exposure, Plan, airmass_of

ADC_MAXIMUM = 65535


def digitise(chip: Chip, plan: Plan, electrons: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.uint16]:
    """Return the raw array: prescan, image and overscan columns, uint16."""
    rows, columns = chip.shape
    raw = random.normal(0.0, chip.read_noise, (rows, plan.prescan + columns + plan.overscan))
    raw += chip.bias_level + random.normal(0.0, 3.0) + _row_drift(rows, random)[:, None]
    image = raw[:, plan.prescan : plan.prescan + columns]
    image += electrons / chip.gain
    image += chip.bias
    image += chip.hot_offset
    return np.clip(np.rint(raw), 0, ADC_MAXIMUM).astype(np.uint16)


def _row_drift(rows: int, random: np.random.Generator) -> NDArray[np.float64]:
    """The bias level wanders while the chip is read: a slow random walk of about 1 adu."""
    knots = np.cumsum(random.normal(0.0, 0.4, rows // 64 + 2))
    return np.asarray(np.interp(np.arange(rows) / 64, np.arange(len(knots)), knots - knots.mean()))


def sections(plan: Plan) -> dict[str, str]:
    """Return the sections of a raw file by keyword, in IRAF's notation."""
    first, last = plan.prescan + 1, plan.prescan + plan.columns
    found = {"DATASEC": f"[{first}:{last},1:{plan.rows}]", "TRIMSEC": f"[{first}:{last},1:{plan.rows}]"}
    if plan.prescan:
        found["PRESEC"] = f"[1:{plan.prescan},1:{plan.rows}]"
    if plan.overscan:
        found["BIASSEC"] = f"[{last + 1}:{last + plan.overscan},1:{plan.rows}]"
    return found


def raw_header(chip: Chip, plan: Plan, exposure: Exposure, wcs: fits.Header | None, temperature: float) -> fits.Header:
    """Return the header of a raw file, as observatory/README.md describes it."""
    header = fits.Header()
    cards: list[tuple[str, object, str]] = [
        ("ORIGIN", "SIMOBS", "simulated observatory"),
        ("TELESCOP", "SimTel-1m", "telescope"),
        ("INSTRUME", "SimCam", "camera"),
        ("CHIP", chip.name, "chip of the mosaic"),
        ("EXTNAME", chip.name, "chip of the mosaic"),
        ("NCHIPS", plan.chips, "chips of the mosaic"),
        ("EXPNUM", exposure.number, "exposure of the night"),
        ("IMAGETYP", exposure.type, "BIAS DARK DOMEFLAT TWILIGHT SCIENCE"),
        ("OBJECT", exposure.object, "target or lamp"),
        ("DATE-OBS", exposure.start.isoformat(timespec="milliseconds"), "UT at the start of the exposure"),
        ("EXPTIME", exposure.exposure_time, "[s] exposure time"),
        ("CCD-TEMP", round(temperature, 2), "[deg C] temperature of the detector"),
        ("READMODE", "normal", "readout mode"),
        ("GAIN", NOMINAL_GAIN, "[electron/adu] nominal, not measured"),
        ("RDNOISE", NOMINAL_READ_NOISE, "[adu] nominal, not measured"),
        ("SATURATE", SATURATION, "[adu] nominal"),
        ("PIXSCALE", PIXEL_SCALE, "[arcsec/pixel]"),
        ("SITELAT", SITE_LATITUDE, "[deg] latitude"),
        ("SITELONG", SITE_LONGITUDE, "[deg] longitude, east positive"),
    ]
    if exposure.filter is not None:
        cards.insert(9, ("FILTER", exposure.filter, "filter"))
    cards += [(keyword, value, "") for keyword, value in sections(plan).items()]
    for keyword, value, comment in cards:
        header[keyword] = (value, comment)
    if wcs is not None:
        header["RA"] = (round(wcs["CRVAL1"], 6), "[deg] pointing as commanded, ICRS")
        header["DEC"] = (round(wcs["CRVAL2"], 6), "[deg] pointing as commanded, ICRS")
        airmass = airmass_of(wcs["CRVAL1"], wcs["CRVAL2"], exposure.middle)
        header["AIRMASS"] = (round(airmass, 3), "at mid-exposure")
        header.extend(wcs.cards)
    return header
