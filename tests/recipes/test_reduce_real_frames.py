"""Reduce and SourceList on real frames: what a person sees on them, and what their SOURCE.txt says."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.io import fits

from recipes.attributes import FrameAttributes
from recipes.bias import bias
from recipes.ccd.debias import DebiasedChip
from recipes.fits_header import wcs_cards
from recipes.frame import Frame
from recipes.products import Outcome
from recipes.read_noise import read_noise
from recipes.reduce import reduce
from recipes.source_list import source_list
from recipes.values import GainLinearity
from tests.recipes.observed import as_frame

pytestmark = pytest.mark.real_frames

NICKEL = {"data_section": "[1:1024,1:1024]", "overscan_x": "[1025:1056,1:1024]"}


def raw(path: Path, sections: dict[str, str]) -> Frame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cards of real cameras are not all by the standard
        data, header = fits.getdata(path, header=True)
        cards = {key: header[key] for key in header if key not in ("", "COMMENT", "HISTORY")}
    attributes = FrameAttributes(instrument="real", chip="1", exposure_time=cards.get("EXPTIME"), **sections)
    return Frame(data.astype(np.float32), attributes=attributes, name=path.name, wcs=wcs_cards(cards))


class Camera:
    """A set's calibrations: bias, read noise, and a plain median flat."""

    def __init__(self, folder: Path, flats: str, gain: float, sections: dict[str, str]) -> None:
        self.folder, self.sections, self.gain = folder, sections, GainLinearity(gain)
        biases = [raw(path, sections) for path in sorted((folder / "bias").iterdir())[:5]]
        self.bias = as_frame(bias(biases).products[0])
        self.read_noise = read_noise(biases).products[0].content
        images = []
        for path in sorted((folder / flats).iterdir()):
            image = DebiasedChip(raw(path, sections), 6, self.bias).whole()
            images.append(image / np.median(image[256:768, 256:768]))
        self.flat = Frame(np.median(images, axis=0), name="flat")

    def reduced(self, name: str) -> Outcome:
        frame = raw(self.folder / name, self.sections)
        return reduce(frame, self.bias, self.flat, gain_linearity=self.gain, read_noise=self.read_noise)


@pytest.fixture(scope="module")
def nickel(real_frames: Path) -> Camera:
    return Camera(real_frames / "nickel_lick_v_2024", "skyflat_V", 1.796, NICKEL)


@pytest.fixture(scope="module")
def arcsat(real_frames: Path) -> Camera:
    return Camera(real_frames / "arcsat_xo1_z_2025", "domeflat_z", 1.340, {})


def values(outcome: Outcome) -> dict[str, float]:
    return {entry.name: entry.value for entry in outcome.products[0].measured}


def test_nickel_landolt_field(nickel: Camera) -> None:
    outcome = nickel.reduced("science_V/d1083.fits.gz")
    found = values(outcome)
    assert found["satellite_trails"] == 0  # bad columns and vignetted corners are none
    assert found["masked_saturated"] >= 3072  # column 257 and its neighbours
    assert found["masked_fraction"] < 0.02
    # The sky's scatter is Poisson and read noise: 9.5 electrons.
    assert found["sky_noise"] == pytest.approx(np.sqrt(found["sky_level"] + 9.5**2), rel=0.12)
    assert outcome.products[0].content.wcs["CTYPE1"] == "RA---TAN"
    assert outcome.products[0].content.shape == (1024, 1024)
    product = source_list(as_frame(outcome.products[0])).products[0]
    columns = product.content.columns
    # No string of sources along the saturated column.
    near = np.abs(columns["X_IMAGE"].values - 257) < 3
    assert near.sum() <= 4


def test_nickel_globular_cluster_is_taken_apart(nickel: Camera) -> None:
    outcome = nickel.reduced("science_V/d1059.fits.gz")
    assert values(outcome)["satellite_trails"] == 0
    product = source_list(as_frame(outcome.products[0])).products[0]
    assert len(product.content) > 1000
    blended = (product.content.columns["FLAGS"].values & 2) != 0
    assert blended.mean() > 0.3


def test_arcsat_satellite_is_masked_on_the_frame_it_crosses(arcsat: Camera) -> None:
    outcome = arcsat.reduced("science_z/XO1-b_z_20250602_045514.fits.gz")
    assert values(outcome)["satellite_trails"] == 1
    assert "overscan" in outcome.products[0].made_without
    mask = (outcome.products[0].content.mask & 16) != 0
    # From (476, 1023) to (404, 0) as one sees it: every row is crossed, by some 16 pixels.
    assert mask.any(axis=1).all()
    centre = mask @ np.arange(1024) / mask.sum(axis=1)
    assert centre[0] == pytest.approx(404, abs=8)
    assert centre[-1] == pytest.approx(493, abs=8)


def test_arcsat_stars_fall_on_each_other_on_the_sky(arcsat: Camera) -> None:
    lists = []
    for name in ("041008", "044440"):
        outcome = arcsat.reduced(f"science_z/XO1-b_z_20250602_{name}.fits.gz")
        assert values(outcome)["satellite_trails"] == 0
        columns = source_list(as_frame(outcome.products[0])).products[0].content.columns
        bright = (columns["FLUX_AUTO"].values > 5000) & (columns["FLAGS"].values == 0)
        lists.append(
            SkyCoord(columns["ALPHAWIN_J2000"].values[bright] * u.deg, columns["DELTAWIN_J2000"].values[bright] * u.deg)
        )
    first, _, distance, _ = search_around_sky(lists[0], lists[1], 3 * u.arcsec)
    assert len(first) >= 8
    # Each header has a plate solution of its own, good to 0.3 arcsec.
    assert np.median(distance.arcsec) < 0.6


def test_arcsat_without_coordinates_is_reduced_all_the_same(arcsat: Camera) -> None:
    outcome = arcsat.reduced("science_z/XO1-b_z_20250602_060016.fits.gz")
    assert outcome.products[0].content.wcs == {}
    assert any("no coordinate system" in note for note in outcome.products[0].notes)
    columns = source_list(as_frame(outcome.products[0])).products[0].content.columns
    assert "ALPHA_J2000" not in columns
    assert len(columns["X_IMAGE"].values) > 20
