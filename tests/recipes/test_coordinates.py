"""The coordinate system of a raw frame on its trimmed product."""

import numpy as np
import pytest

from recipes.ccd.wcs import celestial, pixel_scale_of, sky_positions, trimmed_wcs

GOOD = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 20.0, "CRPIX1": 512.0, "CRPIX2": 500.0,
        "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4}  # fmt: skip


def test_reference_pixel_moves_with_the_trim() -> None:
    cards, remark = trimmed_wcs(GOOD, 24, 3)
    assert (cards["CRPIX1"], cards["CRPIX2"], remark) == (488.0, 497.0, "")
    assert pixel_scale_of(cards) == pytest.approx(0.36)


def test_old_cards_beside_the_matrix_are_dropped() -> None:
    cards, remark = trimmed_wcs(GOOD | {"CDELT1": 1.0, "CDELT2": 1.0, "CROTA2": 12.0}, 0, 0)
    assert "CDELT" in remark
    assert set(cards) == set(GOOD)


def test_old_cards_alone_are_kept() -> None:
    old = {key: value for key, value in GOOD.items() if not key.startswith("CD")}
    cards, remark = trimmed_wcs(old | {"CDELT1": -2e-4, "CDELT2": 2e-4, "CROTA2": 10.0}, 0, 0)
    assert remark == ""
    assert pixel_scale_of(cards) == pytest.approx(0.72)


def test_scamp_headers_are_read_as_tpv() -> None:
    cards, remark = trimmed_wcs(GOOD | {"PV1_1": 1.0, "PV1_7": 0.1, "PV2_1": 1.0}, 0, 0)
    assert cards["CTYPE1"] == "RA---TPV"
    assert "TPV" in remark


def test_sip_without_its_name_gets_it() -> None:
    cards, _ = trimmed_wcs(GOOD | {"A_ORDER": 2, "A_2_0": 1e-6, "B_ORDER": 2, "B_0_2": 1e-6}, 0, 0)
    assert cards["CTYPE2"] == "DEC--TAN-SIP"
    assert celestial(cards).sip is not None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"CD1_1": 0.0}, "singular"),
        ({"CD1_1": 1.0, "CD2_2": 1.0}, "pixel of"),
        ({"CRVAL2": 123.0}, "declination"),
        ({"CTYPE1": "NONSENSE", "CTYPE2": "WHATEVER"}, "cannot read"),
    ],
)
def test_what_cannot_be_right_is_dropped_with_the_reason(change, why) -> None:
    cards, remark = trimmed_wcs(GOOD | change, 0, 0)
    assert cards == {}
    assert why in remark


def test_no_coordinates_are_said_so() -> None:
    assert trimmed_wcs({}, 1, 1) == ({}, "the raw frame has no coordinate system")


def test_positions_of_an_old_equinox_come_out_in_icrs() -> None:
    wcs = celestial(GOOD | {"RADESYS": "FK4", "EQUINOX": 1950.0})
    ra, dec = sky_positions(wcs, np.array([512.0]), np.array([500.0]))
    # Precession from 1950 by hand: 50 years of 3.3179 s in right ascension and of -17.36 arcsec in declination.
    assert ra[0] == pytest.approx(150.691, abs=2e-3)
    assert dec[0] == pytest.approx(19.759, abs=2e-3)
