"""Which standard band a camera's filter is, by the names that cameras write."""

from __future__ import annotations

import pytest

from recipes.photometric_systems import all_systems, band_of_filter, find_band

NAMES = {
    "V": [
        "V",
        "Johnson V",
        "Bessell V",
        "Bessell-V",
        "V_Johnson",
        "V#642",
        "V Bessell (12)",
        "W-J-V",
        "johnson v",
        "V ",
    ],
    "R": ["R", "Rc", "R_Cousins", "Kron R", "BB#Rc/162_ESO844", "W-C-RC", "R-band"],
    "I": ["I", "Ic", "Cousins I", "I_band"],
    "B": ["B", "b_Bessell", "Astrodon B", "B.00000"],
    "g": ["g", "g'", "gp", "SDSS_g", "SDSS G", "g.00000", "HSC-g", "G'"],
    "r": ["r", "rp", "r'", "sdss-r", "Sloan R", "r DECam SDSS c0002 6415.0 1480.0", "r_SDSS", "SDSS-R'"],
    "i": ["i", "i.MP9702", "ip", "i_SDSS 7500", "W-S-I+"],
    "z": ["z", "z_SDSS", "zs", "SDSS z'"],
    "y": ["y", "PS1 y"],
    "u": ["u", "up", "u_SDSS"],
}
UNKNOWN = ["", None, "Clear", "L", "Luminance", "Red", "Ha", "H-alpha", "OIII", "Stromgren y", "stromgren b", "B and R",
           "G", "RP", "none", "Gunn r", "off-band V", "NB515"]  # fmt: skip


@pytest.mark.parametrize(("band", "name"), [(band, name) for band, names in NAMES.items() for name in names])
def test_a_filter_is_known_by_its_name(band: str, name: str) -> None:
    found = band_of_filter(name)
    assert found is not None
    assert found.name == band


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_no_broad_band_is_not_guessed(name: str | None) -> None:
    assert band_of_filter(name) is None


def test_systems_are_told_apart() -> None:
    found = {name: band_of_filter(name) for name in ("PS1 g", "SDSS g", "Gaia G", "V")}
    assert {name: band.system for name, band in found.items()} == {
        "PS1 g": "PS1", "SDSS g": "SDSS", "Gaia G": "Gaia", "V": "Johnson-Cousins"}  # fmt: skip
    assert find_band("g").magnitudes == "AB"
    assert find_band("BP").system == "Gaia"
    assert find_band("q") is None
    assert find_band("V", "AB") is None


def test_what_is_assumed_of_a_band() -> None:
    assumed = band_of_filter("Johnson V").photometry()
    assert (assumed.band, assumed.system, assumed.colour, assumed.colour_term) == ("V", "Vega", "B-V", 0.0)
    assert assumed.extinction == pytest.approx(0.15)


def test_every_band_has_sensible_numbers_and_a_colour_of_known_bands() -> None:
    for system in all_systems().values():
        for band in system.bands.values():
            assert 300 < band.wavelength < 1100
            assert 0 <= band.extinction < 0.7
            assert abs(band.ab_offset) < 1
            assert set(band.colour.split("-")) <= set(system.bands)
        # The shorter the waves, the more the air takes away, water's and oxygen's bands aside.
        by_wavelength = sorted(system.bands.values(), key=lambda band: band.wavelength)
        blue = [band.extinction for band in by_wavelength if band.wavelength < 800]
        assert blue == sorted(blue, reverse=True)
