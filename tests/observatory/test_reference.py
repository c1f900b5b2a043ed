"""What the catalogue of the simulated sky says agrees with the sky that was rendered."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from observatory.camera import build_camera
from observatory.illumination import illumination_error
from observatory.optics import PIXEL_SCALE, wcs_header
from observatory.plan import NIGHT, STANDARD_FIELD, Plan, schedule
from observatory.sky import EXTINCTION, ZEROPOINT


@pytest.fixture(scope="module")
def catalogue(night: Path) -> fits.FITS_rec:
    return fits.getdata(night / "catalogues" / "simcat.fits")


def test_the_catalogue_states_what_its_numbers_are(night: Path) -> None:
    with fits.open(night / "catalogues" / "simcat.fits") as hdus:
        hdus.verify("exception")
        header = hdus["CATALOGUE"].header
        columns = hdus["CATALOGUE"].columns
    assert {key: header[key] for key in ("CATNAME", "EPOCH", "PHOTSYS", "RADESYS")} == {
        "CATNAME": "SimCat", "EPOCH": 2016.0, "PHOTSYS": "AB", "RADESYS": "ICRS"}  # fmt: skip
    units = {column.name: column.unit for column in columns}
    assert {name: units[name] for name in ("RA", "DEC", "RA_ERROR", "PMDEC", "MAG_g", "MAGERR_z")} == {
        "RA": "deg", "DEC": "deg", "RA_ERROR": "arcsec", "PMDEC": "mas/yr", "MAG_g": "mag",
        "MAGERR_z": "mag"}  # fmt: skip


def test_positions_moved_to_the_night_scatter_as_they_say(night: Path, catalogue: fits.FITS_rec) -> None:
    truth = fits.getdata(night / "truth" / "catalogue.fits")[catalogue["ID"] - 1]
    years = 2026.2 - 2016.0  # of 14 March 2026
    pulls = []
    for axis, motion, scale in (("RA", "PMRA", np.cos(np.deg2rad(truth["DEC"]))), ("DEC", "PMDEC", 1.0)):
        moved = catalogue[axis] + catalogue[motion] * years / 3.6e6 / scale
        error = np.hypot(catalogue[f"{axis}_ERROR"], 0.3e-3 * years)
        pulls.append(3600 * (moved - truth[axis]) * scale / error)
    pulls = np.concatenate(pulls)
    # Mean and width of n pulls are known to 1/sqrt(n) and 1/sqrt(2n).
    assert pulls.mean() == pytest.approx(0, abs=4 / np.sqrt(pulls.size))
    assert pulls.std() == pytest.approx(1, abs=4 / np.sqrt(2 * pulls.size))


def test_magnitudes_scatter_as_they_say_but_for_variable_stars(night: Path, catalogue: fits.FITS_rec) -> None:
    truth = fits.getdata(night / "truth" / "catalogue.fits")[catalogue["ID"] - 1]
    pull = (catalogue["MAG_i"] - truth["MAG_i"]) / catalogue["MAGERR_i"]
    usual = pull[np.abs(pull) < 5]
    assert usual.std() == pytest.approx(1, abs=4 / np.sqrt(2 * usual.size))
    assert len(usual) > 0.93 * len(pull)


def test_stars_are_as_bright_as_zeropoint_extinction_colour_and_illumination_make_them(
    night: Path, plan: Plan, notes: dict
) -> None:
    truth = fits.getdata(night / "truth" / "catalogue.fits")
    camera = {chip.name: chip for chip in build_camera(plan)}
    for note in (frame for frame in notes["frames"] if frame["type"] == "SCIENCE"):
        chip = camera[note["chip"]]
        seen = fits.getdata(night / "truth" / note["file"], "SOURCES")
        of_sky = truth[seen["ID"]]
        observed = -2.5 * np.log10(seen["FLUX"] / note["exposure_time"] / chip.response)
        # Only two bands of one colour index: g - r follows from r - i as the catalogue draws them.
        g_r = (of_sky["MAG_i"] - _red(plan, night, seen["ID"])) * 0.5 / -0.2
        expected = of_sky["MAG_i"] + notes["colour_term"]["i"] * g_r - ZEROPOINT["i"]
        expected += EXTINCTION["i"] * note["airmass"] + illumination_error(plan, chip.place, seen["X"], seen["Y"])
        assert np.allclose(observed, expected, atol=1e-4)


def _red(plan: Plan, night: Path, rows: np.ndarray) -> np.ndarray:
    from observatory.night import _catalogue_of

    return _catalogue_of(plan, build_camera(plan)).magnitude[rows]


def test_the_illumination_error_is_the_stated_polynomial(plan: Plan, notes: dict) -> None:
    stated = notes["illumination"]
    for chip in build_camera(plan):
        wcs = WCS(wcs_header(chip.place, 0.0, 0.0))
        x, y = np.array([3.0, 140.0, 80.0]), np.array([190.0, 10.0, 100.0])
        ra, dec = wcs.all_pix2world(x, y, 0)
        east, north = ((ra + 180) % 360 - 180) / stated["scale"], dec / stated["scale"]
        total = sum(term["factor"] * east ** term["xi"] * north ** term["eta"] for term in stated["terms"])
        # The camera's distortion moves these pixels by less than 0.1 arcsec.
        assert illumination_error(plan, chip.place, x, y) == pytest.approx(total, abs=1e-5)


def test_zeropoints_of_chips_are_means_of_what_their_stars_see(plan: Plan, notes: dict) -> None:
    for chip, about in zip(build_camera(plan), notes["chips"], strict=True):
        y, x = np.mgrid[0 : plan.rows : 8, 0 : plan.columns : 8].astype(float)
        mean = illumination_error(plan, chip.place, x, y).mean()
        expected = ZEROPOINT["i"] + 2.5 * np.log10(chip.response) - mean
        assert about["zeropoint"]["i"] == pytest.approx(expected, abs=1e-4)


def test_the_header_is_turned_by_the_rotation_error(night: Path, plan: Plan, notes: dict) -> None:
    note = next(frame for frame in notes["frames"] if frame["type"] == "SCIENCE")
    claimed, true = (fits.getheader(folder / note["file"]) for folder in (night, night / "truth"))
    matrices = [
        np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)]) * 3600 / PIXEL_SCALE
        for header in (claimed, true)
    ]
    turn = matrices[0] @ np.linalg.inv(matrices[1])
    assert np.rad2deg(np.arctan2(turn[1, 0], turn[0, 0])) == pytest.approx(plan.rotation_error)
    assert np.linalg.det(turn) == pytest.approx(1.0)


def test_the_pointing_is_off_by_what_the_plan_says() -> None:
    for error in (0.0, 120.0):
        errors = [exposure.pointing_error for exposure in schedule(replace(NIGHT, pointing_error=error))
                  if exposure.type == "SCIENCE"]  # fmt: skip
        # Besides, 4 arcsec an axis of every exposure's own.
        assert np.hypot(*np.mean(errors, axis=0)) == pytest.approx(error, abs=4 * 4 / np.sqrt(len(errors)))


def test_the_usual_night_has_two_filters_and_standards_at_another_airmass(tmp_path: Path) -> None:
    exposures = schedule(NIGHT)
    targets = {(exposure.object, exposure.filter) for exposure in exposures if exposure.type == "SCIENCE"}
    assert targets == {(name, band) for name in ("SIMFIELD-1", STANDARD_FIELD) for band in ("r", "g")}
    assert all(first.start < second.start for first, second in pairwise(exposures))
