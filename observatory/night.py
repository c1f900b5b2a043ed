"""Render a night: raw files of every chip and exposure, and the truth about them beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from observatory import truth
from observatory.camera import FRINGE_AMPLITUDE, Chip, build_camera
from observatory.events import cosmic_rays, overflow, satellite_trail
from observatory.illumination import illumination_error
from observatory.optics import PIXEL_SCALE, sky_to_chip, wcs_header
from observatory.plan import SCIENCE_FIELD, STANDARD_FIELD, Exposure, Plan, airmass_of, schedule
from observatory.readout import digitise, raw_header
from observatory.reference import write_reference
from observatory.sky import EXTINCTION, SKY_BRIGHTNESS, ZEROPOINT, Catalogue, add_galaxy, add_star, make_catalogue
from observatory.streams import stream

Floats = NDArray[np.float64]
Progress = Callable[[float, str], None]

TWILIGHT_FLOOR = 300.0  # electrons of the faintest source on a twilight frame: below a hundredth of the noise
FIELD_MARGIN = 4.0  # arcmin of sky around the mosaic, for dithers
REACH = 2.0  # degrees from the pointing within which sources may be on a chip


@dataclass
class Rendered:
    """One chip of one exposure: the raw array with its header, and what is true of it (trimmed 0-based pixels)."""

    raw: NDArray[np.uint16]
    header: fits.Header
    true_wcs: fits.Header | None
    expected: NDArray[np.float32]
    sources: truth.Sources | None
    cosmic: Floats
    trail: Floats | None
    saturated: NDArray[np.bool_]
    sky: float


def observe(folder: Path, plan: Plan, progress: Progress = lambda fraction, text: None) -> list[Path]:
    """Render the night of `plan` into `folder`; return the raw files, in the order of the exposures.

    The same plan gives the same bytes. The truth goes to ``folder/truth``, what an observer knows of the stars to
    ``folder/catalogues``.
    """
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    camera = build_camera(plan)
    catalogue = _catalogue_of(plan, camera)
    (folder / "catalogues").mkdir(exist_ok=True)
    write_reference(folder / "catalogues" / "simcat.fits", catalogue, plan)
    truth.write_camera(folder / "truth", camera)
    truth.write_catalogue(folder / "truth" / "catalogue.fits", catalogue, plan.filters)
    exposures = schedule(plan)
    written: list[Path] = []
    notes = []
    for exposure in exposures:
        for chip in camera:
            rendered = render(plan, chip, exposure, catalogue)
            name = f"simcam_{plan.date:%Y%m%d}_{exposure.number:04d}_{chip.name}"
            _write_raw(folder / f"{name}.fits", rendered)
            truth.write_frame(folder / "truth" / f"{name}.fits", rendered)
            notes.append(truth.describe_frame(name, chip, exposure, rendered))
            written.append(folder / f"{name}.fits")
        what = f"{exposure.type} {exposure.filter or ''} {exposure.exposure_time:g} s".replace("  ", " ")
        progress(exposure.number / len(exposures), f"exposure {exposure.number} of {len(exposures)}: {what}")
    night = {
        **truth.describe_plan(plan),
        "chips": [truth.describe_chip(chip, plan) for chip in camera],
        "frames": notes,
    }
    (folder / "truth" / "night.json").write_text(json.dumps(night, indent=1) + "\n")
    return written


def _catalogue_of(plan: Plan, camera: list[Chip]) -> Catalogue:
    half_width = max(abs(chip.place.centre_x) + plan.columns / 2 for chip in camera) * PIXEL_SCALE / 60
    half_height = max(abs(chip.place.centre_y) + plan.rows / 2 for chip in camera) * PIXEL_SCALE / 60
    size = 2 * half_width + FIELD_MARGIN, 2 * half_height + FIELD_MARGIN
    purposes = {SCIENCE_FIELD: "catalogue", STANDARD_FIELD: "standards"}
    fields = [make_catalogue(stream(plan.seed, purposes[name]), *centre, *size) for name, centre in plan.fields.items()]
    return reduce(add, fields)


def render(plan: Plan, chip: Chip, exposure: Exposure, catalogue: Catalogue) -> Rendered:
    """Render one chip of one exposure."""
    random = stream(plan.seed, plan.date.toordinal(), exposure.number, chip.name)
    true_wcs, header_wcs = _wcs_of(plan, chip, exposure)
    light, sources, sky = _light(plan, chip, exposure, catalogue, true_wcs)
    expected = light.astype(np.float32)
    trail = None
    if exposure.trail:
        trail = satellite_trail(chip.place, stream(plan.seed, plan.date.toordinal(), exposure.number, "trail"))
        light += trail
    light *= chip.dome if exposure.type == "DOMEFLAT" else chip.flat
    light += chip.dark * exposure.exposure_time
    electrons = random.poisson(light).astype(np.float64)
    hits = plan.cosmic_rays * exposure.exposure_time * electrons.size / 1e6
    cosmic = cosmic_rays(chip.shape, hits, random)
    electrons += np.rint(cosmic)
    saturated = overflow(electrons, chip.full_well)
    raw = digitise(chip, plan, electrons, random)
    header = raw_header(chip, plan, exposure, header_wcs, -110.0 + 0.05 * random.standard_normal())
    return Rendered(raw, header, true_wcs, expected, sources, cosmic, trail, saturated, sky)


def _wcs_of(plan: Plan, chip: Chip, exposure: Exposure) -> tuple[fits.Header | None, fits.Header | None]:
    """Return the true WCS of the trimmed chip, and the one of the raw header that is off by the pointing error."""
    if not exposure.is_of_the_sky:
        return None, None
    east, north = exposure.offset
    dec = exposure.centre[1] + north / 3600
    ra = exposure.centre[0] + east / 3600 / np.cos(np.deg2rad(exposure.centre[1]))
    wrong_east, wrong_north = exposure.pointing_error
    wrong_ra = ra + wrong_east / 3600 / np.cos(np.deg2rad(dec))
    true_wcs = wcs_header(chip.place, ra, dec)
    return true_wcs, wcs_header(chip.place, wrong_ra, dec + wrong_north / 3600, plan.prescan, plan.rotation_error)


def _light(
    plan: Plan, chip: Chip, exposure: Exposure, catalogue: Catalogue, wcs: fits.Header | None
) -> tuple[Floats, truth.Sources | None, float]:
    """Return expected electrons before the pixels' own response, the sources on the chip, and the sky level."""
    light = np.full(chip.shape, exposure.level * chip.response)
    name = exposure.filter
    if wcs is None or name is None:
        return light, None, float(light[0, 0])
    if exposure.type == "SCIENCE":
        rate = 10 ** (0.4 * (ZEROPOINT[name] - SKY_BRIGHTNESS[name])) * PIXEL_SCALE**2
        light += rate * exposure.exposure_time * chip.response
        if name in FRINGE_AMPLITUDE:
            light *= 1 + FRINGE_AMPLITUDE[name] * chip.fringe[name]
    sky = float(np.median(light))
    x, y = _positions(wcs, catalogue, exposure)
    airmass = airmass_of(*exposure.centre, exposure.middle)
    magnitude = catalogue.seen_in(name) + EXTINCTION[name] * airmass + illumination_error(plan, chip.place, x, y)
    flux = 10 ** (0.4 * (ZEROPOINT[name] - magnitude)) * exposure.exposure_time * chip.response
    floor = TWILIGHT_FLOOR if exposure.type == "TWILIGHT" else 0.0
    near = (flux > floor) & (x > -150) & (y > -150) & (x < chip.shape[1] + 150) & (y < chip.shape[0] + 150)
    fwhm = exposure.fwhm / PIXEL_SCALE
    for index in np.flatnonzero(near):
        if catalogue.radius[index] > 0:
            add_galaxy(light, x[index], y[index], flux[index], fwhm, catalogue.radius[index] / PIXEL_SCALE,
                       catalogue.axis_ratio[index], catalogue.angle[index])  # fmt: skip
        else:
            add_star(light, x[index], y[index], flux[index], fwhm)
    on_chip = near & (x >= -0.5) & (y >= -0.5) & (x < chip.shape[1] - 0.5) & (y < chip.shape[0] - 0.5)
    which = np.flatnonzero(on_chip)
    return light, truth.Sources(which, x[which], y[which], flux[which]), sky


def _positions(wcs: fits.Header, catalogue: Catalogue, exposure: Exposure) -> tuple[Floats, Floats]:
    """Return 0-based pixels of all sources; NaN for those of other fields."""
    east = (catalogue.ra - exposure.centre[0] + 180) % 360 - 180
    here = np.hypot(east * np.cos(np.deg2rad(exposure.centre[1])), catalogue.dec - exposure.centre[1]) < REACH
    x, y = np.full(len(here), np.nan), np.full(len(here), np.nan)
    x[here], y[here] = sky_to_chip(wcs, catalogue.ra[here], catalogue.dec[here])
    return x, y


def _write_raw(path: Path, rendered: Rendered) -> None:
    hdu = fits.PrimaryHDU(rendered.raw, rendered.header)
    when = datetime.fromisoformat(rendered.header["DATE-OBS"]).isoformat(timespec="seconds")
    hdu.add_checksum(when=f"simulated {when}")  # the clock of this machine must not reach the bytes
    hdu.writeto(path, overwrite=True)
