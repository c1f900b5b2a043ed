"""Light of stars and galaxies, and the way from sky to chip."""

import numpy as np
import pytest
from astropy.wcs import WCS

from observatory.events import overflow
from observatory.optics import DISTORTION, PIXEL_SCALE, Place, sky_to_chip, wcs_header
from observatory.sky import add_galaxy, add_star


def test_a_star_keeps_its_flux_and_place() -> None:
    image = np.zeros((201, 201))
    add_star(image, 100.3, 99.6, 50_000.0, 3.2)
    y, x = np.mgrid[:201, :201]
    assert image.sum() == pytest.approx(50_000, rel=2e-3)  # the wings of a Moffat beyond the stamp
    assert (image * x).sum() / image.sum() == pytest.approx(100.3, abs=0.01)
    assert (image * y).sum() / image.sum() == pytest.approx(99.6, abs=0.01)


def test_a_galaxy_keeps_its_flux_and_is_wider_than_a_star() -> None:
    image, star = np.zeros((201, 201)), np.zeros((201, 201))
    add_galaxy(image, 100.0, 100.0, 20_000.0, 3.2, 6.0, 0.5, 30.0)
    add_star(star, 100.0, 100.0, 20_000.0, 3.2)
    assert image.sum() == pytest.approx(20_000, rel=1e-6)
    assert image.max() < 0.4 * star.max()


def test_distortion_is_the_stated_cubic() -> None:
    place = Place(0.0, 0.0, 0.0, 2000, 2000)
    header = wcs_header(place, 150.0, 0.0)
    ra, dec = WCS(header).all_pix2world(999.5, 999.5 + 900, 0)
    y = 900 * PIXEL_SCALE / 3600
    distorted = np.rad2deg(np.arctan(np.deg2rad(y + DISTORTION * y**3)))
    assert ra == pytest.approx(150.0, abs=1e-9)
    assert dec == pytest.approx(distorted, abs=1e-9)
    assert 3600 * DISTORTION * y**3 == pytest.approx(0.74, abs=0.01)  # arcsec: it is worth knowing


@pytest.mark.parametrize("turn", [0.0, 180.0, 30.0])
def test_sky_to_chip_is_the_inverse_of_the_wcs(turn: float) -> None:
    header = wcs_header(Place(276.0, -532.0, turn, 512, 1024), 132.8, -27.0)
    x, y = np.array([0.0, 511.0, 200.0]), np.array([0.0, 1023.0, 700.0])
    found = sky_to_chip(header, *WCS(header).all_pix2world(x, y, 0))
    assert np.allclose(found, [x, y], atol=1e-4)


def test_charge_overflows_along_the_column_and_is_kept() -> None:
    electrons = np.zeros((101, 5))
    electrons[50, 2] = 10.5e4
    saturated = overflow(electrons, 1e4)
    assert electrons.sum() == pytest.approx(10.5e4)
    assert electrons.max() == 1e4
    assert saturated.sum() == saturated[:, 2].sum() == 9
