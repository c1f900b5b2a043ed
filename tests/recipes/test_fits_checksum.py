"""Checksums of FITS units: those of astropy are right, ours are what astropy expects, and damage is found."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from recipes.fits_checksum import WrongChecksum, encoded, folded, sum_of_bytes, sum_of_pixels, wrong_checksums


@pytest.fixture
def by_astropy(tmp_path):
    path = tmp_path / "image.fits"
    data = np.random.default_rng(1).standard_normal((13, 7)).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data), fits.ImageHDU(np.arange(9, dtype=np.uint16))]).writeto(
        path, checksum=True
    )
    return path


def test_checksums_of_astropy_are_right(by_astropy):
    assert wrong_checksums(by_astropy) == []


def test_a_changed_byte_is_found_in_its_unit(by_astropy):
    raw = bytearray(by_astropy.read_bytes())
    raw[2 * 2880 + 17] ^= 4  # in the data of the second unit: two headers come before it
    by_astropy.write_bytes(raw)
    assert {entry.unit for entry in wrong_checksums(by_astropy)} == {1}


def test_a_changed_card_is_found(by_astropy):
    raw = by_astropy.read_bytes().replace(b"XTENSION= 'IMAGE", b"XTENSION= 'IMAGF", 1)
    by_astropy.write_bytes(raw)
    assert wrong_checksums(by_astropy) == [WrongChecksum(1, "CHECKSUM")]


def test_units_without_checksums_are_passed_over(tmp_path):
    fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp_path / "plain.fits")
    assert wrong_checksums(tmp_path / "plain.fits") == []


@pytest.mark.parametrize("first", [0, 1, 5])
def test_sum_of_pixels_is_that_of_their_bytes(first):
    rng = np.random.default_rng(2)
    floats = rng.standard_normal(12).astype(np.float32)
    assert folded(sum_of_pixels(floats)) == folded(sum_of_bytes(floats.astype(">f4").tobytes()))
    halves = rng.integers(0, 65536, 11).astype(np.uint16)
    whole = np.concatenate([np.zeros(first, np.uint16), halves]).astype(">u2").tobytes()
    assert folded(sum_of_pixels(halves, first)) == folded(sum_of_bytes(whole))


@pytest.mark.parametrize("total", [0, 1, 0x3A3A3A3A, 0xFFFFFFFF, 868229149])
def test_encoded_sums_have_letters_and_digits_only(total):
    text = encoded(total)
    assert text.decode().isalnum()
    # The letters, turned one place back and less the zeros they stand on, add up to the complement.
    turned = text[1:] + text[:1]
    assert folded(sum_of_bytes(turned) - 4 * 0x30303030) in (0xFFFFFFFF - total, (0xFFFFFFFF - total) or 0xFFFFFFFF)
