"""Headers of cameras that nobody has told us of: types, times, places and sections in their many spellings."""

from typing import Any

import pytest

from archive.headers import Card, Header, Unit
from archive.instruments.catalogue import all_cameras, recognise
from archive.instruments.generic import BadCamera, camera_from_toml
from archive.translation.camera import Camera
from archive.translation.translate import NotUnderstood, RawFrame, translate
from archive.translation.types import kind_of_word, suggested_by

USUAL: dict[str, Any] = {
    "INSTRUME": "My Camera", "IMAGETYP": "object", "OBJECT": "NGC 1", "DATE-OBS": "2024-05-13T02:00:00",
    "EXPTIME": 30.0, "FILTER": "V",
}  # fmt: skip


def frame(
    cards: dict[str, Any] | None = None,
    name: str = "x.fits",
    size: tuple[int, int] = (1056, 1024),
    camera: Camera | None = None,
    **comments: str,
) -> RawFrame:
    given = {key: value for key, value in (USUAL | (cards or {})).items() if value is not None}
    header = Header({key: Card(value, comments.get(key, "")) for key, value in given.items()})
    return translate([Unit(0, header, size)], name, camera)[0]


def attributes(cards: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    return frame(cards, **others).attributes.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("cards", "kind"),
    [
        ({"IMAGETYP": "BIAS"}, "RawBias"),
        ({"IMAGETYP": "Bias Frame"}, "RawBias"),
        ({"IMAGETYP": "zero"}, "RawBias"),
        ({"IMAGETYP": None, "OBSTYPE": "ZERO"}, "RawBias"),
        ({"IMAGETYP": "Dark Frame"}, "RawDark"),
        ({"IMAGETYP": "DARK", "EXPTIME": 0}, "RawBias"),
        ({"IMAGETYP": None, "ESO DPR TYPE": "FLAT,DOME"}, "RawDomeFlat"),
        ({"IMAGETYP": None, "ESO DPR TYPE": "FLAT,SKY"}, "RawTwilightFlat"),
        ({"IMAGETYP": None, "ESO DPR TYPE": "FLAT,TWILIGHT"}, "RawTwilightFlat"),
        ({"IMAGETYP": "dome flat"}, "RawDomeFlat"),
        ({"IMAGETYP": "DOMEFLAT"}, "RawDomeFlat"),
        ({"IMAGETYP": "dflat"}, "RawDomeFlat"),
        ({"IMAGETYP": "Flat Field"}, "RawDomeFlat"),
        ({"IMAGETYP": "FLAT", "OBJECT": "twilight flat V"}, "RawTwilightFlat"),
        ({"IMAGETYP": "skyflat"}, "RawTwilightFlat"),
        ({"IMAGETYP": "TWILIGHT"}, "RawTwilightFlat"),
        ({"IMAGETYP": "sflat"}, "RawTwilightFlat"),
        ({"IMAGETYP": "OBJECT", "OBJECT": "dome flat R"}, "RawDomeFlat"),
        ({"IMAGETYP": "OBJECT", "OBJECT": "Sky_Flat"}, "RawTwilightFlat"),
        ({"IMAGETYP": "OBJECT", "OBJECT": "bias"}, "RawBias"),
        ({"IMAGETYP": "OBJECT", "OBJECT": "Dark Doodad Nebula"}, "RawScience"),
        ({"IMAGETYP": "OBJECT", "OBJECT": "Flatiron field"}, "RawScience"),
        ({"IMAGETYP": "Light Frame"}, "RawScience"),
        ({"IMAGETYP": "LIGHT"}, "RawScience"),
        ({"IMAGETYP": None, "OBSTYPE": "TARGET"}, "RawScience"),
        ({"IMAGETYP": None, "ESO DPR TYPE": "OBJECT"}, "RawScience"),
        ({"IMAGETYP": None}, "RawScience"),
        ({"IMAGETYP": None, "OBJECT": None, "EXPTIME": 0.0}, "RawBias"),
    ],
)
def test_types(cards: dict[str, Any], kind: str) -> None:
    assert frame(cards).kind == kind


def test_a_plain_flat_is_taken_for_one_of_the_dome_and_that_is_said() -> None:
    assert frame({"IMAGETYP": "FLAT"}).notes[0] == "a flat, taken for one of the dome (--type twilight if it is not)"


@pytest.mark.parametrize(
    ("cards", "name", "suggested"),
    [
        ({"IMAGETYP": "Light Frame", "OBJECT": None}, "flat-10s.fit", "RawDomeFlat"),
        ({"IMAGETYP": None, "OBJECT": None}, "bias_001.fits", "RawBias"),
        ({"IMAGETYP": None, "OBJECT": None}, "img_001.fits", ""),
        ({"IMAGETYP": "gibberish", "OBJECT": None}, "SkyFlatV/0001.fits", "RawTwilightFlat"),
    ],
)
def test_a_name_suggests_and_never_decides(cards: dict[str, Any], name: str, suggested: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        frame(cards, name)
    assert caught.value.suggested == suggested
    assert caught.value.hint.startswith("tell its type at ingest: --type bias, dark, domeflat, twilight or science")
    assert ('TOML file: [types] "gibberish" = ' in caught.value.hint) == (cards["IMAGETYP"] == "gibberish")


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({"NCOMBINE": 10}, "it is not raw: NCOMBINE says that it is combined from 10 frames"),
        ({"CALSTAT": "BDF"}, "it is not raw: CALSTAT = 'BDF' says that it is calibrated"),
        ({"IMAGETYP": "Master Bias", "OBJECT": None}, "the type 'Master Bias' is not known"),
    ],
)
def test_what_was_worked_on_is_refused(cards: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        frame(cards)
    assert caught.value.reason == reason
    assert frame({"NCOMBINE": 1, "CALSTAT": ""}).kind == "RawScience"


def test_an_object_is_not_refused_for_its_name() -> None:
    assert frame({"OBJECT": "B33"}, "darks/B33.fits").kind == "RawScience"


def test_words_of_users() -> None:
    words = ("bias", "Zero", "dome flat", "sky-flat", "twilight", "RawScience", "light", "moon")
    assert [kind_of_word(word) for word in words] == [
        "RawBias", "RawBias", "RawDomeFlat", "RawTwilightFlat", "RawTwilightFlat", "RawScience", "RawScience", None,
    ]  # fmt: skip
    assert suggested_by("a/b/flatland_m31.fits") == ""


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"DATE-OBS": "2024-05-13T01:59:58.11"}, "2024-05-13T01:59:58.110"),
        ({"DATE-OBS": "2024-05-13 01:59:58Z"}, "2024-05-13T01:59:58.000"),
        ({"DATE-OBS": "2024-05-13", "TIME-OBS": "01:59:58.5"}, "2024-05-13T01:59:58.500"),
        ({"DATE-OBS": "2024-05-13", "UT": "01 59 58"}, "2024-05-13T01:59:58.000"),
        ({"DATE-OBS": "13/05/98", "UTSTART": "23:00:00"}, "1998-05-13T23:00:00.000"),
        ({"DATE-OBS": "02/06/25", "UT": "03:52:48"}, "2025-06-02T03:52:48.000"),
        ({"DATE-OBS": "2024/05/13", "UTC-OBS": "01:59"}, "2024-05-13T01:59:00.000"),
        ({"DATE-OBS": None, "DATE-BEG": "2024-05-13T01:59:58"}, "2024-05-13T01:59:58.000"),
        ({"DATE-OBS": None, "MJD-OBS": 60443.25}, "2024-05-13T06:00:00.000"),
        ({"DATE-OBS": None, "JD": "2460443.75"}, "2024-05-13T06:00:00.000"),
        ({"DATE-OBS": "garbage", "MJD-OBS": 60443.25}, "2024-05-13T06:00:00.000"),
        ({"DATE-OBS": None, "DATE-END": "2024-05-13T02:00:30"}, "2024-05-13T02:00:00.000"),
        ({"DATE-OBS": "2024-05-13T00:00:37", "TIMESYS": "TAI"}, "2024-05-13T00:00:00.000"),
        ({"DATE-OBS": "2024-12-31T23:59:60"}, "2025-01-01T00:00:00.000"),
    ],
)
def test_times(cards: dict[str, Any], expected: str) -> None:
    assert attributes(cards)["date_obs"] == expected


@pytest.mark.parametrize("date", [None, "yesterday", "2024-13-45T00:00:00", "0001-01-01T00:00:00", 20240513])
def test_without_a_time_a_frame_is_refused(date: object) -> None:
    with pytest.raises(NotUnderstood, match="does not tell when it was taken"):
        frame({"DATE-OBS": date})


@pytest.mark.parametrize(
    ("cards", "night"),
    [
        ({"SITELONG": "-105 49 13", "DATE-OBS": "2025-06-02T03:21:41"}, "2025-06-01"),
        ({"SITELONG": 149.07, "DATE-OBS": "2025-06-02T09:00:00"}, "2025-06-02"),  # Siding Spring's evening
        ({"SITELONG": 149.07, "DATE-OBS": "2025-06-02T01:59:00"}, "2025-06-01"),
        ({"SITELONG": 204.53, "DATE-OBS": "2025-06-02T15:00:00"}, "2025-06-01"),  # Hawaii, 0 to 360
        ({"DATE-OBS": "2025-06-02T11:59:59"}, "2025-06-01"),  # noon UT where nothing is known
        ({"DATE-OBS": "2025-06-02T15:00:00", "LST": "21:21:52"}, "2025-06-01"),  # Hawaii by its sidereal time
        ({"DATE-OBS": "2025-06-02T15:00:00", "RA": "20:21:52", "HA": "01:00:00", "DEC": "0:0:0"}, "2025-06-01"),
    ],
)
def test_nights_go_from_local_noon_to_noon(cards: dict[str, Any], night: str) -> None:
    assert attributes(cards)["night"] == night


def test_a_longitude_counted_to_the_west() -> None:
    assert attributes({"LONGITUD": 155.47, "DATE-OBS": "2025-06-02T15:00:00"}, LONGITUD="[deg] West")["night"] == (
        "2025-06-01"
    )


@pytest.mark.parametrize(
    ("cards", "ra", "dec"),
    [
        ({"RA": "13:25:39.63", "DEC": "-8:49:28.5"}, 201.415125, -8.824583),
        ({"RA": "13 25 39.63", "DEC": "-08 49 28.5"}, 201.415125, -8.824583),
        ({"RA": 201.415125, "DEC": -8.824583}, 201.415125, -8.824583),
        ({"RA": "201.415125", "DEC": "-8.824583"}, 201.415125, -8.824583),
        ({"OBJCTRA": "16 02 11.83", "OBJCTDEC": "+28 10 10.7"}, 240.549292, 28.169639),
        ({"TELRA": "00:00:01", "TELDEC": "-00:30:00"}, 0.0041667, -0.5),
        ({"CTYPE1": "RA---TAN", "CRVAL1": 10.5, "CRVAL2": -20.25}, 10.5, -20.25),
        ({"RA": "12:26:33.246", "DEC": "+02:19:43.47", "EQUINOX": 1950.0}, 187.277915, 2.052388),
    ],
)
def test_positions(cards: dict[str, Any], ra: float, dec: float) -> None:
    found = attributes(cards)
    assert (found["ra"], found["dec"]) == pytest.approx((ra, dec), abs=2e-4)


@pytest.mark.parametrize("cards", [{}, {"RA": "unknown", "DEC": "none"}, {"RA": 10.0, "DEC": 123.0}, {"RA": 10.0}])
def test_what_is_no_position_is_none(cards: dict[str, Any]) -> None:
    assert "ra" not in attributes(cards)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({}, {}),
        ({"DATASEC": "[1:1024,1:1024]"}, {"data_section": "[1:1024,1:1024]"}),
        ({"DATASEC": "[1:1024,1:1024]", "COVER": 32},
         {"data_section": "[1:1024,1:1024]", "overscan_x": "[1025:1056,1:1024]"}),
        ({"COVER": 32, "ROVER": 4}, {"data_section": "[1:1024,1:1020]", "overscan_x": "[1025:1056,1:1024]",
                                     "overscan_y": "[1:1056,1021:1024]"}),
        ({"BIASSEC": "[1025:1056,1:1024]"}, {"data_section": "[1:1024,1:1024]", "overscan_x": "[1025:1056,1:1024]"}),
        ({"BIASSEC": "[1:32,1:1024]", "TRIMSEC": "[33:1056,1:1024]"},
         {"data_section": "[33:1056,1:1024]", "prescan_x": "[1:32,1:1024]"}),
        ({"BIASSEC": "[1030:1050,10:1000]", "DATASEC": "[1:1024,1:1024]"},
         {"data_section": "[1:1024,1:1024]", "overscan_x": "[1030:1050,1:1024]"}),
        ({"BIASSEC": "[1:1056,1001:1024]", "DATASEC": "[1:1056,1:1000]"},
         {"data_section": "[1:1056,1:1000]", "overscan_y": "[1:1056,1001:1024]"}),
        ({"DATASEC": "[1024:1,1024:1]"}, {"data_section": "[1:1024,1:1024]"}),
        ({"DATASEC": "[1:2048,1:2048]", "BIASSEC": "[2049:2112,1:2048]", "CCDSUM": "2 2"},
         {"data_section": "[1:1024,1:1024]", "overscan_x": "[1025:1056,1:1024]"}),
        ({"DATASEC": "[0:0,0:0]", "BIASSEC": "[0:0,0:0]"}, {}),
        ({"DATASEC": "[1:1056,1:1024]", "BIASSEC": "[1:1056,1:1024]"}, {}),
        ({"DATASEC": "[1:5000,1:5000]"}, {}),
        ({"DATASEC": "whole"}, {}),
        ({"DETSEC": "[1:4096,1:4096]", "CCDSEC": "[1:2048,1:4096]"}, {}),
        ({"ESO DET OUT1 PRSCX": 24, "ESO DET OUT1 OVSCX": 8},
         {"data_section": "[25:1048,1:1024]", "prescan_x": "[1:24,1:1024]", "overscan_x": "[1049:1056,1:1024]"}),
    ],
)  # fmt: skip
def test_sections(cards: dict[str, Any], expected: dict[str, str]) -> None:
    found = attributes(cards)
    names = ("data_section", "prescan_x", "overscan_x", "prescan_y", "overscan_y")
    assert {name: found[name] for name in names if name in found} == expected


def test_a_chip_read_by_two_amplifiers() -> None:
    found = attributes({
        "DATASECA": "[29:524,1:1024]", "BIASSECA": "[1:28,1:1024]",
        "DATASECB": "[525:1020,1:1024]", "BIASSECB": "[1021:1056,1:1024]",
    })  # fmt: skip
    assert found["data_section"] == "[29:1020,1:1024]"
    assert [(entry["name"], entry["data_section"], entry.get("prescan_x"), entry.get("overscan_x"))
            for entry in found["amplifiers"]] == [
        ("A", "[29:524,1:1024]", None, "[1:28,1:1024]"),
        ("B", "[525:1020,1:1024]", None, "[1021:1056,1:1024]"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cards", "comment", "gain"),
    [
        ({"GAIN": 1}, "DCS GAIN INDEX", None),
        ({"GAIN": 1}, "", None),
        ({"GAIN": 100}, "", None),
        ({"GAIN": 1}, "[electron/adu]", 1),
        ({"GAIN": 1.5}, "", 1.5),
        ({"GAIN": "1.5 "}, "gain, e-/ADU", 1.5),
        ({"GAIN": 100, "EGAIN": 0.25}, "", 0.25),
        ({"GAIN": 0.0}, "", None),
        ({"GAIN": 2.0}, "gain setting", None),
    ],
)
def test_gain_is_nominal_and_only_where_it_is_one(cards: dict[str, Any], comment: str, gain: float | None) -> None:
    assert attributes(cards, GAIN=comment).get("nominal_gain") == gain


@pytest.mark.parametrize(
    ("cards", "mode"),
    [
        ({}, "default"),
        ({"XBINNING": 1, "YBINNING": 1, "READOUTM": "Monochrome"}, "default"),
        ({"XBINNING": 2, "YBINNING": 2}, "bin2x2"),
        ({"CCDSUM": "1 2"}, "bin1x2"),
        ({"BINNING": "2x2", "READOUTM": "5 MHz (fast)"}, "bin2x2-5_MHz_fast"),
        ({"GAIN": 120, "EGAIN": 0.3}, "gain120"),
        ({"XORGSUBF": 100, "YORGSUBF": 200}, "win100_200"),
    ],
)
def test_readout_modes(cards: dict[str, Any], mode: str) -> None:
    assert attributes(cards)["readout_mode"] == mode


@pytest.mark.parametrize(
    ("cards", "comment", "noise"),
    [
        ({"RDNOISE": 6.0, "EGAIN": 1.5}, "electrons", 4.0),
        ({"RDNOISE": 6.0}, "", None),
        ({"RDNOISE": 6.0}, "[adu] nominal", 6.0),
    ],
)
def test_read_noise_is_nominal_in_adu(cards: dict[str, Any], comment: str, noise: float | None) -> None:
    assert attributes(cards, RDNOISE=comment).get("nominal_read_noise") == noise


def test_numbers_that_are_texts_and_values_that_cannot_be() -> None:
    found = attributes({"EXPTIME": "30.0 s", "CCD-TEMP": "163.15", "AIRMASS": "13.37", "SATURATE": "56000"})
    assert (found["exposure_time"], found["temperature"], found["saturation"]) == (30, -110, 56000)
    assert "airmass" not in found


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({}, "V"),
        ({"FILTER": None, "FILTNAM": "R  "}, "R"),
        ({"FILTER": None, "FILTER1": "open", "FILTER2": "SDSS r'"}, "SDSS r'"),
        ({"FILTER": None, "FILTER1": "Clear", "FILTER2": "Clear"}, "Clear"),
        ({"FILTER": None, "FILTER1": "V", "FILTER2": "ND2"}, "V+ND2"),
        ({"FILTER": None, "ESO INS FILT1 NAME": "r_SDSS"}, "r_SDSS"),
        ({"FILTER": None}, None),
    ],
)
def test_filters(cards: dict[str, Any], name: str | None) -> None:
    assert attributes(cards).get("filter") == name


def test_biases_and_darks_have_no_filter() -> None:
    assert "filter" not in attributes({"IMAGETYP": "bias"})
    assert "filter" not in attributes({"IMAGETYP": "dark"})


@pytest.mark.parametrize(
    ("cards", "chip"),
    [
        ({}, "1"),
        ({"CCDNUM": 3}, "3"),
        ({"CHIP": "ccd3"}, "ccd3"),
        ({"EXTNAME": "N4"}, "N4"),
        ({"CCDID": "A / 2"}, "A_2"),
    ],
)
def test_chips(cards: dict[str, Any], chip: str) -> None:
    assert attributes(cards)["chip"] == chip


def test_a_hostile_header_is_text_like_any_other() -> None:
    found = attributes({"OBJECT": "<img src=x onerror=alert(1)>\x1b[2J", "INSTRUME": "<b>\x00cam</b>"})
    assert found["object"] == "<img src=x onerror=alert(1)> [2J"
    assert found["instrument"] == "b_cam_b"


def test_cubes_and_nameless_cameras_are_refused() -> None:
    with pytest.raises(NotUnderstood, match="a cube or a colour image"):
        frame(size=(100, 100, 3))
    with pytest.raises(NotUnderstood, match="names no instrument"):
        frame({"INSTRUME": None})


def test_the_cameras_there_are() -> None:
    assert list(all_cameras()) == ["arcsat", "decam", "nickel", "sbig_stl1001", "simcam"]
    assert recognise(Header({"INSTRUME": Card("Nickel Direct Camera")})) == all_cameras()["nickel"]
    assert recognise(Header({"INSTRUME": Card("Another Camera")})) is None


TOML = """
name = "mycam"
instrume = ["My Camera*"]
longitude = -70.4
time_format = "%d.%m.%Y %H:%M:%S"
[keywords]
date_obs = "WANN"
filter = ["RAD1", "RAD2"]
temperature = "CHIPTMP"
exposure_time = "DAUER"
overscan_x = "UEBER"
nominal_gain = []
[fixed]
chip = "ccd7"
saturation = 50000
[types]
"Kuppel*" = "domeflat"
"Nacht" = "science"
"""


def test_a_camera_described_in_toml() -> None:
    camera = camera_from_toml(TOML)
    assert camera.recognises(Header({"INSTRUME": Card("my camera 2")}))
    cards = {"IMAGETYP": "KUPPEL 1", "DATE-OBS": None, "WANN": "13.05.2024 02:00:00", "FILTER": None, "RAD1": "Open",
             "RAD2": "B", "CHIPTMP": -30.0, "EXPTIME": None, "DAUER": "5", "UEBER": "[1025:1056,1:1024]",
             "GAIN": 2.5}  # fmt: skip
    made = frame(cards, camera=camera)
    found = made.attributes.model_dump(exclude_none=True)
    assert made.kind == "RawDomeFlat"
    expected = {"instrument": "mycam", "chip": "ccd7", "filter": "B", "date_obs": "2024-05-13T02:00:00.000",
                "night": "2024-05-12", "exposure_time": 5, "temperature": -30, "saturation": 50000,
                "overscan_x": "[1025:1056,1:1024]", "data_section": "[1:1024,1:1024]"}  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert "nominal_gain" not in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not TOML"),
        ("", "name is missing"),
        ('name = "a"\ncolour = "red"', "the camera's file has no 'colour'"),
        ('name = "a"\n[keywords]\nphilter = "F"', r"\[keywords\] has no 'philter'"),
        ('name = "a"\n[types]\nfoo = "moon"', "'moon' is none of bias, dark, domeflat, twilight, science"),
        ('name = "a"\n[fixed]\noverscan_x = "right"', r"\[fixed\] overscan_x: 'right' is not a section"),
        ('name = "a"\n[fixed]\nsaturation = "high"', r"\[fixed\]: saturation has a value of the wrong type"),
        ('name = "a"\nlongitude = "west"', "longitude is a number"),
    ],
)
def test_a_wrong_description_says_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(BadCamera, match=message):
        camera_from_toml(text)
