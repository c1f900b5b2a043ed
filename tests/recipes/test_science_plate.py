"""A chip's coordinates: read from any form of header, moved, and written so that others read the same."""

import numpy as np
import pytest

from recipes.ccd.plate import plate_from_pointing, plate_of
from recipes.ccd.tangent_plane import deproject, project, separation
from recipes.ccd.wcs import celestial, sky_positions

SHAPE = (1000, 2000)
TAN = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 80.0, "CRPIX1": 512.0, "CRPIX2": 500.0,
       "CD1_1": -1e-4, "CD1_2": 1e-6, "CD2_1": 2e-6, "CD2_2": 1.01e-4}  # fmt: skip
TPV = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.0, "PV2_1": 1.0, "PV1_7": 0.105, "PV1_9": 0.105,
       "PV2_7": 0.105, "PV2_9": 0.105}  # fmt: skip
SIP = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 3, "B_ORDER": 3, "A_2_0": 1e-6, "A_3_0": -2e-9,
       "B_1_1": 1e-6, "B_0_3": 1e-9}  # fmt: skip
FORMS = {
    "TAN": TAN,
    "TPV of an axis beside the chip": TAN | TPV | {"CRPIX1": -600.0},
    "SIP": TAN | SIP,
    "ARC": TAN | {"CTYPE1": "RA---ARC", "CTYPE2": "DEC--ARC"},
    "axis far away": TAN | {"CRPIX1": -9000.0},
    "CDELT and CROTA": {key: value for key, value in TAN.items() if not key.startswith("CD")}
    | {"CDELT1": -1e-4, "CDELT2": 1e-4, "CROTA2": 12.0},
    "across the pole": TAN | {"CRVAL2": 89.99},
    "across right ascension 0": TAN | {"CRVAL1": 0.01, "CRVAL2": -5.0},
}


def somewhere() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(1).uniform(0.5, 1000.5, (2, 500))
    return 2 * x, y


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_says_what_was_read(form: str) -> None:
    cards = FORMS[form]
    plate = plate_of(cards, SHAPE)
    x, y = somewhere()
    stated = sky_positions(celestial(cards), x, y)
    # A ten thousandth of a pixel of 0.36 arcsec is what the polynomial may miss.
    assert (separation(*stated, *plate.sky(x, y)) * 3600).max() < 4e-5
    assert (separation(*stated, *sky_positions(celestial(plate.cards()), x, y)) * 3600).max() < 4e-5


def test_a_plain_header_stays_plain() -> None:
    written = plate_of(TAN, SHAPE).cards()
    assert written["CTYPE1"] == "RA---TAN"
    for key, value in TAN.items():
        assert written[key] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9, abs=1e-12))


def test_distortion_is_written_as_tpv_without_a_constant() -> None:
    written = plate_of(FORMS["SIP"], SHAPE).cards()
    assert written["CTYPE2"] == "DEC--TPV"
    assert not {"PV1_0", "PV1_3", "PV2_0"} & set(written)
    assert (written["PV1_1"], written["PV2_1"]) == (1.0, 1.0)


def test_headers_of_no_sky_are_none() -> None:
    assert plate_of({}, SHAPE) is None
    assert plate_of(TAN | {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, SHAPE) is None


def test_a_move_turns_about_the_centre() -> None:
    plate = plate_of(FORMS["TPV of an axis beside the chip"], SHAPE)
    angle = np.deg2rad(2.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = plate.centre
    centre = np.array(plate.plane(np.array([x]), np.array([y])))[:, 0]
    moved = plate.moved(turn, centre, np.array([0.0, 1 / 60]))
    there = moved.sky(np.array([x]), np.array([y]))
    wanted = deproject(centre[0], centre[1] + 1 / 60, *plate.tangent)
    assert separation(*there, *wanted)[0] * 3600 < 1e-3
    assert moved.pixel_scale == pytest.approx(plate.pixel_scale, rel=1e-6)


def test_a_pointing_makes_a_plate_with_north_up() -> None:
    plate = plate_from_pointing((1024, 1024), 201.4, -8.8, 0.37)
    ra, dec = plate.sky(np.array([512.5, 512.5]), np.array([512.5, 612.5]))
    assert (ra[0], dec[0]) == (pytest.approx(201.4), pytest.approx(-8.8))
    assert (dec[1] - dec[0]) * 3600 == pytest.approx(37.0, rel=1e-5)
    assert plate.pixel_scale == pytest.approx(0.37, rel=1e-5)


def test_projection_and_its_inverse_at_the_pole() -> None:
    ra, dec = np.array([0.0, 90.0, 200.0]), np.array([89.5, 89.9, 89.99])
    back = deproject(*project(ra, dec, 123.0, 89.95), 123.0, 89.95)
    assert (separation(*back, ra, dec) * 3600).max() < 1e-8


def test_the_other_half_of_the_sky_has_no_place_on_the_plane() -> None:
    assert np.isnan(project(np.array([180.0]), np.array([0.0]), 0.0, 0.0)[0]).all()
