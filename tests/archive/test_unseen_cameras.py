"""Cameras that nobody has told us of go in with a file of at most twenty lines; what is not known stays unknown."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from archive.context import Context
from archive.ingest import ingest_file
from archive.instruments.generic import BadCamera, camera_from_toml
from archive.models import Product
from archive.translation.unlit_edges import unlit_sections
from dataserver.store import Store

pytestmark = pytest.mark.django_db

CCD = """
name = "hilltop"
instrume = ["Hilltop*"]
longitude = 12.5
time_format = "%d.%m.%Y %H:%M:%S"
[keywords]
date_obs = "WHEN"
filter = "SLOT"
nominal_gain = []
[fixed]
prescan_x = "[1:16,1:60]"
overscan_x = "[81:96,1:60]"
saturation = 60000
[photometry."Grün"]
band = "V"
system = "Vega"
colour = "B-V"
colour_term = -0.05
extinction = 0.2
[types]
"Licht" = "science"
""".strip()
CMOS = """
name = "roofcam"
[keywords]
nominal_gain = "ELPERADU"
exposure_time = "SECONDS"
[fixed]
filter = "L"
[photometry.L]
band = "G"
system = "Vega"
""".strip()


def ingest(context: Context, store: Store, camera: str, pixels: np.ndarray, **cards: Any) -> Product:
    assert len(camera.splitlines()) <= 20
    stream = io.BytesIO()
    fits.PrimaryHDU(pixels, fits.Header(cards)).writeto(stream)
    outcome = ingest_file(stream, "frame.fits", context, store, camera_from_toml(camera))
    assert outcome.state == "ingested", outcome
    return Product.objects.get(pk=outcome.products[0])


def test_prescan_overscan_own_words_and_a_wrong_gain(context: Context, store: Store) -> None:
    cards = {
        "INSTRUME": "Hilltop 2", "WHEN": "14.03.2021 21:15:30", "SLOT": "Grün", "IMAGETYP": "Licht", "GAIN": 99.0,
        "EXPTIME": "120.5", "CCD-TEMP": "-20,0 C", "AIRMASS": "1.3", "OBJECT": "NGC 1", "RA": "00:07:15.8",
        "DEC": "+27:42:29",
    }  # fmt: skip
    cards = {name: value.encode("ascii", "replace").decode() if isinstance(value, str) else value
             for name, value in cards.items()}  # fmt: skip
    made = ingest(context, store, CCD.replace("Grün", "Gr?n"), np.zeros((60, 96), np.uint16), **cards)
    told = made.attributes
    assert (made.instrument, made.filter_name, made.kind) == ("hilltop", "Gr?n", "RawScience")
    assert told["exposure_time"] == 120.5
    assert told["airmass"] == 1.3
    assert "nominal_gain" not in told  # the header's is wrong: GainLinearity measures it
    assert "nominal_read_noise" not in told
    assert (told["prescan_x"], told["overscan_x"]) == ("[1:16,1:60]", "[81:96,1:60]")
    assert told["data_section"] == "[17:80,1:60]"  # what they leave
    assert told["photometry"] == {
        "band": "V", "system": "Vega", "colour": "B-V", "colour_term": -0.05, "extinction": 0.2
    }  # fmt: skip
    assert made.night is not None
    assert made.night.isoformat() == "2021-03-14"


def test_a_cmos_of_one_chip_with_texts_for_numbers(context: Context, store: Store) -> None:
    made = ingest(
        context, store, CMOS, np.zeros((40, 50), np.uint16), INSTRUME="ASI", IMAGETYP="Light Frame", SECONDS="30 s",
        ELPERADU="0.25 e-/ADU", OBJECT="M1", **{"DATE-OBS": "2022-01-02T03:04:05", "CCD-TEMP": "n/a"},
    )  # fmt: skip
    told = made.attributes
    assert (made.filter_name, told["exposure_time"], told["nominal_gain"]) == ("L", 30.0, 0.25)
    assert "temperature" not in told
    assert told["photometry"]["band"] == "G"
    assert made.chip == "1"


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ('[photometry]\nV = "V"', "write a table for each filter"),
        ('[photometry.V]\nsystem = "Vega"', r"\[photometry.V\] band: Field required"),
        ('[photometry.V]\nband = "V"\nsystem = "ST"', 'system is "Vega" or "AB"'),
        ('[photometry.V]\nband = "V"\ncolour = "BV"', "two bands with a minus between"),
        ('[photometry.V]\nband = "V"\ncolour_term = 0.1', "a colour_term needs its colour"),
        ('[photometry.V]\nband = "V"\nzeropoint = 25', "has no 'zeropoint'; it may have: band, colour"),
    ],
)
def test_wrong_photometry_is_said(wrong: str, problem: str) -> None:
    with pytest.raises(BadCamera, match=problem):
        camera_from_toml(f'name = "x"\n{wrong}')


def flat(height: int = 80, width: int = 120) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    shade = 1 - 0.4 * (((x - width / 2) / width) ** 2 + ((y - height / 2) / height) ** 2)
    return (1000 + np.random.default_rng(2).normal(20000 * shade, 100)).astype(np.float32)


def test_overscan_that_no_header_tells_is_hinted_at(context: Context, store: Store) -> None:
    pixels = flat()
    assert unlit_sections(pixels) == {}
    pixels[:, -12:] = np.random.default_rng(3).normal(1000, 5, (80, 12))
    pixels[:6] = np.random.default_rng(4).normal(1000, 5, (6, 120))
    assert unlit_sections(pixels) == {"overscan_x": "[109:120,7:80]", "prescan_y": "[1:108,1:6]"}
    cards = {
        "INSTRUME": "x",
        "IMAGETYP": "Flat Field",
        "EXPTIME": 3.0,
        "FILTER": "V",
        "DATE-OBS": "2022-01-02T03:04:05",
    }
    notes = ingest(context, store, 'name = "x"', pixels.astype(np.uint16), **cards).attributes["notes"]
    assert notes[-1].endswith('[fixed] overscan_x = "[109:120,7:80]", prescan_y = "[1:108,1:6]"')
    told = ingest(context, store, 'name = "x"', pixels.astype(np.uint16) + 1, BIASSEC="[109:120,1:80]", **cards)
    assert not any("hint" in note for note in told.attributes.get("notes", []))


def test_shade_and_dark_frames_are_no_overscan() -> None:
    x = np.arange(120)
    falling = flat() * np.clip(x / 40, 0.02, 1)  # vignetting to nothing, but slowly
    assert unlit_sections(falling.astype(np.float32)) == {}
    assert unlit_sections(np.random.default_rng(5).normal(1000, 5, (80, 120)).astype(np.float32)) == {}
    assert unlit_sections(np.full((80, 120), np.nan, np.float32)) == {}


@pytest.mark.real_frames
def test_real_flats_without_overscan_give_no_hint(real_frames: Path) -> None:
    for path in sorted((real_frames / "arcsat_xo1_z_2025").rglob("*lat*.fits*"))[:2]:
        with fits.open(path) as hdus:
            assert unlit_sections(hdus[0].data.astype(np.float32)) == {}
