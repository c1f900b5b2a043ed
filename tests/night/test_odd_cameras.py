"""Nights of cameras that nobody has told us of: every attribute that their headers tell, and whole nights' figures.

The truth is that of ``odd_cameras.py``. Read noise and gain hold within 3 %, as they must for real nights.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive.headers import NotFits, read_units
from archive.ingest import told
from archive.translation.translate import NotUnderstood, RawFrame, translate
from tests.night.installation import Installation
from tests.night.odd_cameras import NIGHTS, OddNight
from tests.night.odd_detector import Exposure

KINDS = {"bias": "RawBias", "dark": "RawDark", "flat": "RawDomeFlat", "twilight": "RawTwilightFlat",
         "science": "RawScience"}  # fmt: skip
M42 = (83.8221, -5.3911)
# Of a science frame of each: what its header tells a person.
EXPECTED: dict[str, dict[str, Any]] = {
    "maxim": {"instrument": "Apogee_Alta_U47", "filter": "V", "readout_mode": "1_MHz", "nominal_gain": 1.35,
              "pixel_scale": 0.7243, "night": "2021-03-14", "place": M42},
    "nina": {"instrument": "ZWO_ASI1600MM_Pro", "filter": "V", "readout_mode": "gain139", "nominal_gain": 0.31,
             "airmass": 1.55, "place": M42},
    "sharpcap": {"instrument": "QHY268M", "filter": None, "readout_mode": "gain56", "nominal_gain": None},
    "old_sbig": {"instrument": "SBIG_ST-8", "filter": "V", "nominal_gain": 2.3, "pixel_scale": 0.52204},
    "eso": {"instrument": "FORS2", "filter": "V_HIGH", "chip": "CCID20-14-5-3", "readout_mode": "200Kps_2ports_low",
            "nominal_gain": 1.25, "nominal_read_noise": 3.4, "airmass": 1.115, "pixel_scale": 0.2484,
            "data_section": "[17:216,1:180]", "prescan_x": "[1:16,1:180]", "overscan_x": "[217:236,1:180]",
            "place": M42},
    "lco": {"instrument": "fa15", "filter": "rp", "saturation": 64000, "nominal_gain": 1.2, "nominal_read_noise": 4.0,
            "data_section": "[1:120,1:100]", "overscan_x": "[121:140,1:100]", "night": "2021-03-14", "place": M42},
    "int_wfc": {"instrument": "WFC", "filter": "V", "readout_mode": "SLOW", "temperature": -116.15, "nominal_gain": 1.2,
                "data_section": "[26:145,1:100]", "overscan_x": "[149:168,1:100]", "place": M42},
    "noao_mosaic": {"instrument": "Mosaic1.1", "filter": "V Harris k1003", "saturation": 62000,
                    "data_section": "[1:200,1:180]", "overscan_x": "[201:224,1:180]", "place": M42},
    "shared_ccd": {"instrument": "TwoAmp", "chip": "3-A", "overscan_x": "[201:224,1:180]"},
    "suprime": {"instrument": "SuprimeCam", "filter": "W-C-RC", "chip": "2", "night": "2021-03-13",  # 10 h in Hawaii
                "temperature": -108.27, "place": M42,
                "amplifiers": [("1", "[9:108,1:180]", "[109:132,1:180]"), ("2", "[157:256,1:180]", "[133:156,1:180]"),
                               ("3", "[273:372,1:180]", "[373:396,1:180]"),
                               ("4", "[421:520,1:180]", "[397:420,1:180]")]},
    "keck": {"instrument": "LRIS", "filter": "V", "temperature": -119.95, "place": M42,
             "amplifiers": [("1", "[41:240,1:180]", "[441:464,1:180]"), ("2", "[241:440,1:180]", "[465:488,1:180]")]},
    "quad": {"instrument": "cfccd", "filter": "dia v", "night": "2021-03-14", "place": M42,
             "amplifiers": [("11", "[7:206,1:180]", "[207:230,1:180]"), ("12", "[255:454,1:180]", "[231:254,1:180]")]},
    "floating": {"instrument": "labcam_3", "filter": "V", "nominal_gain": 1.35, "airmass": 1.23, "place": M42},
    "scaled": {"instrument": "Spectral_600", "filter": "V", "object": "NGC_2070", "night": "2021-03-14", "place": M42},
    "nameless": {"instrument": "homemade", "filter": "V"},
    "mixed": {"instrument": "CCD_4", "data_section": "[1:200,1:180]", "overscan_x": "[201:224,1:180]"},
    "outside": {"instrument": "CCD_5", "data_section": "[1:200,1:180]", "overscan_x": None},
}  # fmt: skip


def one_of_each(night: OddNight) -> list[Exposure]:
    """Return the first exposure of each kind, with which the dialect is shown."""
    first: dict[str, Exposure] = {}
    for plan in night.plans[:1]:
        for exposure in plan.exposures():
            first.setdefault(exposure.kind, exposure)
    return list(first.values())


def understood(path: Path, name: str, night: OddNight) -> list[RawFrame]:
    """Return a file's frames as an ingest with the night's arguments reads them."""
    given = dict(zip(night.arguments[::2], night.arguments[1::2], strict=True))
    instrument = told(given.get("--instrument")).camera
    pattern, _, kind = given.get("--type", "").rpartition("=")
    is_meant = bool(pattern) and name.startswith(pattern.rstrip("*"))
    return translate(read_units(path), name, instrument, told(None, kind).kind if is_meant else "", not is_meant)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_dialect_is_read_attribute_by_attribute(name: str, tmp_path: Path) -> None:
    night = NIGHTS[name]
    for exposure in one_of_each(night):
        file_name, hdus = night.write(exposure, night.outputs)
        hdus.writeto(tmp_path / "frame.fits", overwrite=True)
        frames = understood(tmp_path / "frame.fits", file_name, night)
        assert {frame.kind for frame in frames} == {KINDS[exposure.kind]}
        first = frames[0].attributes
        assert first.exposure_time == exposure.seconds
        assert first.date_obs == exposure.start.replace(tzinfo=None).isoformat(timespec="milliseconds")
        if exposure.kind != "science":
            continue
        found = first.model_dump()
        found["place"] = (found["ra"], found["dec"])
        found["amplifiers"] = [(a["name"], a["data_section"], a["overscan_x"]) for a in found["amplifiers"]]
        expected = dict(EXPECTED[name])
        place = expected.pop("place", None)
        assert {key: found[key] for key in expected} == expected
        assert place is None or found["place"] == pytest.approx(place, abs=1e-4)
        if len(frames) > 1 or "chip" in expected:
            assert len({frame.attributes.chip for frame in frames}) == len(night.outputs if len(frames) > 1 else "1")


def test_what_is_no_raw_frame_is_refused_with_the_reason(tmp_path: Path) -> None:
    night = NIGHTS["broken"]
    reasons = {}
    for path in sorted(night.make(tmp_path).iterdir()):
        try:
            translate(read_units(path), path.name, None)
        except (NotFits, NotUnderstood) as refused:
            reasons[path.name] = refused.reason
    assert reasons.pop("cut.fits").startswith("its header claims 80640 bytes of data, the file has ")
    assert reasons == {
        "empty.fits": "it is empty",
        "notes.fits": "the file is not a FITS file",
        "notes.txt": "the file: the FITS header is cut off",
        "preview.fits": "it is a JPEG picture, whatever its name says",
        "reduced0.fits": "it is not raw: ZEROCOR = 'Mar 15 12:00 Zero level correc' says that it is calibrated",
        "reduced1.fits": "it is not raw: CCDPROC = 'Mar 15 12:01 CCD processing do' says that it is calibrated",
        "reduced2.fits": "it is not raw: CALSTAT = 'BDF' says that it is calibrated",
        "reduced3.fits": "it is not raw: its pixels are in 'electron', as no camera writes them",
    }


USUAL = {"ReadNoise": 1, "BiasFrame": 1, "HotPixelMap": 1, "GainLinearity": 1, "ColdPixelMap": 1, "MasterFlatFrame": 1,
         "ReducedScienceFrame": 2, "WeightFrame": 2, "SourceList": 2}  # fmt: skip
WHOLE = {
    "nina": USUAL | {"DarkFrame": 1, "DomeFlatFrame": 1},  # no biases: the darks of the flats stand in
    "suprime": USUAL | {"DomeFlatFrame": 1},  # four amplifiers, every second read from the right
    "steep_twilight": USUAL | {"TwilightFlatFrame": 2},  # no two flats of one level; the second with its cold pixels
    "sizes": Counter(USUAL) + Counter(USUAL) + Counter({"DomeFlatFrame": 2})
    - Counter({"ReducedScienceFrame": 1, "WeightFrame": 1, "SourceList": 1}),  # binned, and no keyword says so
}  # fmt: skip


@pytest.mark.processes
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WHOLE)
def test_a_night_of_an_odd_camera_is_reduced(name: str, installation: Installation, tmp_path: Path) -> None:
    night = NIGHTS[name]
    report = json.loads(installation.awrecipe("night", str(night.make(tmp_path / name)), "--json", *night.arguments))
    made = report["products"]
    assert report["failed"] == []
    assert Counter(product["kind"] for product in made) == WHOLE[name]
    true_noise = np.mean([output.true_read_noise for output in night.outputs])
    true_gain = np.mean([output.gain for output in night.outputs])
    for product in made:
        if product["kind"] == "ReadNoise":
            assert product["attributes"]["read_noise"] == pytest.approx(true_noise, rel=0.03)
        if product["kind"] == "GainLinearity":
            assert product["attributes"]["gain"] == pytest.approx(true_gain, rel=0.03)
