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
from archive.models import Lineage, Product
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


STRANGE = {
    "INSTRUME": "Kamera 2", "IMAGETYP": "Objekt", "OBJECT": "NGC 4565", "EXPTIME": 60000, "FILTER": 3,
    "DATE-OBS": "2023-05-04", "UT": "21:03:05,3", "RA": "12 36 20,8", "DEC": "+25 59 15", "CCD-TEMP": "-35,2 C",
}  # fmt: skip
TWO_LIES = 'name = "kiel"\nexposure_time_unit = "ms"\n[fixed]\noverscan_x = "[81:96,1:60]"\n[types]\n"Objekt" = "light"'


def put_in(context: Context, store: Store, camera: str | None, **cards: Any) -> tuple[Any, list[Product]]:
    stream = io.BytesIO()
    fits.PrimaryHDU(np.zeros((60, 96), np.uint16), fits.Header(STRANGE | cards)).writeto(stream)
    outcome = ingest_file(stream, "k1.fits", context, store, camera_from_toml(camera) if camera else None)
    return outcome, list(Product.objects.filter(pk__in=getattr(outcome, "products", [])))


def test_commas_in_times_and_milliseconds_that_only_the_camera_file_tells(context: Context, store: Store) -> None:
    refused, _ = put_in(context, store, None)
    assert refused.hint.endswith('or what the word means in the camera\'s TOML file: [types] "Objekt" = ...')
    _, (made,) = put_in(context, store, TWO_LIES)
    told = made.attributes
    assert (told["exposure_time"], told["date_obs"], made.filter_name) == (60.0, "2023-05-04T21:03:05.300", "3")
    assert (told["ra"], told["dec"]) == pytest.approx((189.0866667, 25.9875), abs=1e-6)
    assert (told["temperature"], told["data_section"]) == (-35.2, "[1:80,1:60]")


def test_a_camera_described_after_the_first_ingest_counts_until_something_was_made(
    context: Context, store: Store, make_product: Any
) -> None:
    _, (first,) = put_in(context, store, None, IMAGETYP="light")
    again, (read,) = put_in(context, store, TWO_LIES, IMAGETYP="light")
    assert read.pk == first.pk
    assert again.state == "already_there"
    assert again.notes[0].startswith("was data_section unknown; exposure_time 60000.0; instrument Kamera_2; ")
    assert (read.instrument, read.attributes["exposure_time"]) == ("kiel", 60.0)
    assert put_in(context, store, TWO_LIES, IMAGETYP="light")[0].notes == []  # and so it stays
    assert put_in(context, store, None, IMAGETYP="light")[1][0].instrument == "kiel"

    Lineage.objects.create(product=make_product(), source_id=first.pk, role="raw")
    seconds = TWO_LIES.replace('"ms"', '"s"')
    used, (kept,) = put_in(context, store, seconds, IMAGETYP="light")
    assert used.notes == [
        "stays exposure_time 60.0: products were made from it; give the camera another name to have it read anew"
    ]
    assert kept.attributes["exposure_time"] == 60.0
    other, (new,) = put_in(context, store, seconds.replace("kiel", "kiel.2"), IMAGETYP="light")
    assert (other.state, new.instrument, new.attributes["exposure_time"]) == ("ingested", "kiel.2", 60000.0)
    assert put_in(context, store, TWO_LIES, IMAGETYP="light")[1] == [kept]


def test_a_type_told_before_stays_when_a_camera_is_described(context: Context, store: Store) -> None:
    stream = io.BytesIO()
    fits.PrimaryHDU(np.zeros((60, 96), np.uint16), fits.Header(STRANGE)).writeto(stream)
    ingest_file(stream, "k1.fits", context, store, type="twilight")
    camera = camera_from_toml(TWO_LIES)
    ingest_file(stream, "k1.fits", context, store, camera)
    assert Product.objects.get().kind == "RawTwilightFlat"


def test_the_unit_of_exposure_times_is_one_of_four() -> None:
    with pytest.raises(BadCamera, match="exposure_time_unit is one of s, ms, us, min"):
        camera_from_toml('name = "x"\nexposure_time_unit = "h"')
