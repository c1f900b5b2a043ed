"""Zeropoint on two Landolt fields of a real night, held to what was measured by hand (their SOURCE.txt)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

from recipes.attributes import FrameAttributes
from recipes.ccd.stars import find_stars
from recipes.ccd.tangent_plane import project
from recipes.ccd.wcs import celestial, sky_positions
from recipes.frame import Frame
from recipes.tables import Column, Table
from recipes.zeropoint import zeropoint
from tests.recipes.observed import as_frame
from tests.recipes.test_reduce_real_frames import NICKEL, Camera

pytestmark = pytest.mark.real_frames

GAIN = 1.796
# Frame, airmass of its header, zeropoint of adu/s in a circle of 20 pixels without extinction, by hand.
FIELDS = {"PG1323-085": ("d1047", 1.594, 22.736), "PG1530+057": ("d1083", 1.218, 22.762)}


@pytest.fixture(scope="module")
def landolt(real_frames: Path) -> Table:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "h:m:s" is no unit
        data = fits.getdata(real_frames / "catalogues" / "Landolt09.fit")
    places = SkyCoord(data["RAJ2000"], data["DEJ2000"], unit=(u.hourangle, u.deg))
    columns = {
        "RA": Column(places.ra.deg, "deg"),
        "DEC": Column(places.dec.deg, "deg"),
        "PMRA": Column(np.asarray(data["pmRA"], float), "mas/yr"),
        "PMDEC": Column(np.asarray(data["pmDE"], float), "mas/yr"),
        "MAG_V": Column(np.asarray(data["Vmag"], float), "mag"),
        "MAG_B": Column(np.asarray(data["Vmag"] + data["B-V"], float), "mag"),
    }
    about = FrameAttributes(catalogue="Landolt 2009", epoch=2000.0, system="Vega", bands=["V", "B"])
    return Table(columns, "CATALOGUE", about)


@pytest.fixture(scope="module")
def nickel(real_frames: Path) -> Camera:
    return Camera(real_frames / "nickel_lick_v_2024", "skyflat_V", GAIN, NICKEL)


def calibrated(nickel: Camera, landolt: Table, field: str) -> Frame:
    """Return the reduced frame with its coordinates moved so that the standards fall on stars."""
    name, airmass, _ = FIELDS[field]
    reduced = as_frame(nickel.reduced(f"science_V/{name}.fits.gz").products[0])
    attributes = reduced.attributes.model_copy(update={"filter": "V", "airmass": airmass,
                                                       "date_obs": "2024-05-13T06:00:00"})  # fmt: skip
    wcs = dict(reduced.wcs)
    ra0, dec0 = wcs["CRVAL1"], wcs["CRVAL2"]
    found = find_stars(reduced)
    bright = found.where(np.arange(len(found)) < 60)
    here = np.column_stack(project(*sky_positions(celestial(wcs), bright.x, bright.y), ra0, dec0)) * 3600
    near = [landolt.columns[key].values for key in ("RA", "DEC")]
    there = np.column_stack(project(*near, ra0, dec0)) * 3600
    there = there[np.hypot(*there.T) < 250]
    # The offset on which most pairs of a standard and a star agree.
    offsets = (here[None, :, :] - there[:, None, :]).reshape(-1, 2)
    offsets = offsets[np.hypot(*offsets.T) < 60]
    votes = (np.hypot(*(offsets[:, None] - offsets[None]).transpose(2, 0, 1)) < 1.5).sum(axis=1)
    agreed = offsets[np.hypot(*(offsets - offsets[votes.argmax()]).T) < 1.5].mean(axis=0)
    wcs["CRVAL1"] = ra0 - agreed[0] / 3600 / np.cos(np.deg2rad(dec0))
    wcs["CRVAL2"] = dec0 - agreed[1] / 3600
    return Frame(reduced.data, variance=reduced.variance, mask=reduced.mask, attributes=attributes, unit=reduced.unit,
                 name=name, kind="CalibratedScienceFrame", wcs=wcs)  # fmt: skip


@pytest.fixture(scope="module")
def frames(nickel: Camera, landolt: Table) -> dict[str, Frame]:
    return {field: calibrated(nickel, landolt, field) for field in FIELDS}


@pytest.mark.parametrize("field", FIELDS)
def test_a_landolt_field_gives_the_zeropoint_measured_by_hand(field: str, frames, landolt: Table) -> None:
    outcome = zeropoint(frames[field], landolt, flux_type="APER", aperture="20 pixel", extinction="0")
    made = outcome.products[0].content
    assert (made.band, made.system, made.flux_unit) == ("V", "Vega", "electron")
    assert made.star_count >= 2
    assert made.zeropoint - 2.5 * np.log10(GAIN) == pytest.approx(FIELDS[field][2], abs=0.08)
    # Two to four stars that scatter by 0.02 to 0.1 mag.
    assert 0.01 < made.zeropoint_error < 0.08


def test_above_the_atmosphere_the_fields_agree(frames, landolt: Table) -> None:
    first, second = (
        zeropoint(frames[field], landolt, flux_type="APER", aperture="20 pixel").products[0].content for field in FIELDS
    )
    assert first.extinction == second.extinction == pytest.approx(0.15)
    both = np.hypot(first.zeropoint_error, second.zeropoint_error)
    assert first.zeropoint == pytest.approx(second.zeropoint, abs=2 * both)
