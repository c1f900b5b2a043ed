"""The truth about a rendered night, in files beside the raw frames (observatory/README.md describes them)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from observatory.camera import SATURATION, Chip
from observatory.illumination import illumination_of_chip, illumination_truth
from observatory.optics import PIXEL_SCALE
from observatory.plan import Exposure, Plan, airmass_of
from observatory.readout import ADC_MAXIMUM, sections
from observatory.reference import describe_reference
from observatory.sky import COLOUR_TERM, EXTINCTION, ZEROPOINT, Catalogue

if TYPE_CHECKING:
    from observatory.night import Rendered

# A pixel belongs to a trail in the truth where the trail is above this many electrons: below the noise of any sky.
TRAIL_FLOOR = 5.0


@dataclass
class Sources:
    """Sources on a chip: row in the catalogue, 0-based position on the trimmed chip, expected electrons."""

    row: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]


def write_camera(folder: Path, camera: list[Chip]) -> None:
    """Write ``<chip>.fits``: bias structure, flats, fringes, dark current, and the defect pixels, for each chip."""
    for chip in camera:
        images = {"BIAS": chip.bias, "FLAT": chip.flat, "DOME": chip.dome, "DARK": chip.dark}
        images |= {f"FRINGE_{name}": pattern for name, pattern in chip.fringe.items()}
        hdus: list[Any] = [fits.PrimaryHDU()]
        hdus += [fits.ImageHDU(image, name=name) for name, image in images.items()]
        hdus.append(_pixels("HOT", chip.hot, {"OFFSET": chip.hot_offset, "RATE": chip.dark}))
        hdus.append(_pixels("COLD", chip.cold, {"RESPONSE": chip.flat}))
        fits.HDUList(hdus).writeto(folder / f"{chip.name}.fits", overwrite=True)


def write_catalogue(path: Path, catalogue: Catalogue, filters: tuple[str, ...]) -> None:
    """Write the sources of the field."""
    table = Table(
        {
            "ID": np.arange(len(catalogue.ra)),
            "RA": catalogue.ra,
            "DEC": catalogue.dec,
            "IS_STAR": catalogue.radius == 0,
            "RADIUS": catalogue.radius,
            "AXIS_RATIO": catalogue.axis_ratio,
            "PMRA": catalogue.motion_ra,
            "PMDEC": catalogue.motion_dec,
            **{f"MAG_{name}": catalogue.magnitude_in(name) for name in filters},
        }
    )
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, name="CATALOGUE")]).writeto(path, overwrite=True)


def write_frame(path: Path, rendered: Rendered) -> None:
    """Write the truth of one frame, where there is more to say of it than ``night.json`` does."""
    hdus: list[Any] = [fits.PrimaryHDU(header=rendered.true_wcs)]
    if rendered.header["IMAGETYP"] == "SCIENCE":
        hdus.append(fits.ImageHDU(rendered.expected, name="EXPECTED"))
    if rendered.sources is not None:
        found = rendered.sources
        table = Table({"ID": found.row, "X": found.x, "Y": found.y, "FLUX": found.flux})
        hdus.append(fits.BinTableHDU(table, name="SOURCES"))
    if rendered.cosmic.any():
        hdus.append(_pixels("COSMIC", rendered.cosmic > 0, {"ELECTRON": rendered.cosmic}))
    if rendered.trail is not None:
        hdus.append(_pixels("TRAIL", rendered.trail > TRAIL_FLOOR, {"ELECTRON": rendered.trail}))
    if rendered.saturated.any():
        hdus.append(_pixels("SATURATED", rendered.saturated, {}))
    if len(hdus) > 1:
        fits.HDUList(hdus).writeto(path, overwrite=True)


def _pixels(name: str, where: NDArray[np.bool_], values: dict[str, NDArray[Any]]) -> fits.BinTableHDU:
    y, x = np.nonzero(where)
    columns = {"X": x.astype(np.int32), "Y": y.astype(np.int32)}
    columns |= {key: value[y, x].astype(np.float32) for key, value in values.items()}
    return fits.BinTableHDU(Table(columns), name=name)


def describe_plan(plan: Plan) -> dict[str, Any]:
    """Return what ``night.json`` says of the night."""
    return {
        "instrument": "SimCam",
        "night": plan.date.isoformat(),
        "seed": plan.seed,
        "columns": plan.columns,
        "rows": plan.rows,
        "filters": list(plan.filters),
        "sections": sections(plan),
        "pixel_scale": PIXEL_SCALE,
        "zeropoint": {name: ZEROPOINT[name] for name in plan.filters},
        "extinction": {name: EXTINCTION[name] for name in plan.filters},
        "colour": "g-r",
        "colour_term": {name: COLOUR_TERM[name] for name in plan.filters},
        "illumination": illumination_truth(plan),
        "rotation_error": plan.rotation_error,
        "catalogue": describe_reference(),
        "field": {"ra": plan.ra, "dec": plan.dec},
        "fields": {name: {"ra": ra, "dec": dec} for name, (ra, dec) in plan.fields.items()},
    }


def describe_chip(chip: Chip, plan: Plan) -> dict[str, Any]:
    """Return what ``night.json`` says of a chip."""
    return {
        "chip": chip.name,
        "gain": chip.gain,
        "read_noise": chip.read_noise,
        # Rounding to whole numbers adds its own variance of 1/12 adu**2 to what any measurement sees.
        "read_noise_digitised": float(np.hypot(chip.read_noise, 12**-0.5)),
        "bias_level": chip.bias_level,
        "full_well": chip.full_well,
        "saturation": min(SATURATION, ADC_MAXIMUM),
        "response": chip.response,
        "zeropoint": {name: _zeropoint_of_chip(chip, plan, name) for name in plan.filters},
        "hot_pixels": int(chip.hot.sum()),
        "cold_pixels": int(chip.cold.sum()),
        "prescan": plan.prescan,
    }


def _zeropoint_of_chip(chip: Chip, plan: Plan, name: str) -> float:
    """Return what a star's magnitude is found to be at 1 electron/s, in the mean over the chip."""
    return float(ZEROPOINT[name] + 2.5 * np.log10(chip.response) - illumination_of_chip(plan, chip.place).mean())


def describe_frame(name: str, chip: Chip, exposure: Exposure, rendered: Rendered) -> dict[str, Any]:
    """Return what ``night.json`` says of a raw file."""
    note: dict[str, Any] = {
        "file": f"{name}.fits",
        "chip": chip.name,
        "type": exposure.type,
        "object": exposure.object,
        "filter": exposure.filter,
        "date_obs": exposure.start.isoformat(),
        "exposure_time": exposure.exposure_time,
        "sky": rendered.sky,
        "cosmic_ray_pixels": int((rendered.cosmic > 0).sum()),
        "saturated_pixels": int(rendered.saturated.sum()),
        "trail": rendered.trail is not None and bool((rendered.trail > TRAIL_FLOOR).any()),
    }
    if rendered.true_wcs is not None:
        ra, dec = rendered.true_wcs["CRVAL1"], rendered.true_wcs["CRVAL2"]
        note |= {
            "ra": ra,
            "dec": dec,
            "pointing_error": exposure.pointing_error,
            "fwhm": exposure.fwhm,
            "airmass": airmass_of(*exposure.centre, exposure.middle),
            "sources": 0 if rendered.sources is None else len(rendered.sources.row),
        }
    return note
