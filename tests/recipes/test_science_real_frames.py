"""Science on real frames: M13 on its SDSS catalogue, two Landolt fields, and XO-1 frames without coordinates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table as AstropyTable
from scipy.spatial import cKDTree

from recipes.attributes import FrameAttributes
from recipes.ccd.stars import find_stars
from recipes.ccd.tangent_plane import project
from recipes.ccd.wcs import celestial, sky_positions
from recipes.frame import Frame
from recipes.products import Outcome
from recipes.quality import ASTROMETRY, judge
from recipes.science import RECIPE, science
from recipes.tables import Column, Table
from tests.recipes.observed import as_frame
from tests.recipes.test_reduce_real_frames import NICKEL, Camera

pytestmark = pytest.mark.real_frames


def numbers(outcome: Outcome) -> dict[str, float]:
    return {entry.name: entry.value for entry in outcome.products[0].measured}


def reduced(camera: Camera, name: str, filter_: str) -> Frame:
    header = fits.getheader(camera.folder / name)
    frame = as_frame(camera.reduced(name).products[0])
    frame.attributes.filter, frame.name = filter_, name
    frame.attributes.date_obs = header.get("DATE-OBS") or header.get("DATE-BEG")
    frame.attributes.object = str(header.get("OBJECT", ""))
    return frame


@pytest.fixture(scope="module")
def nickel(real_frames: Path) -> Camera:
    return Camera(real_frames / "nickel_lick_v_2024", "skyflat_V", 1.796, NICKEL)


@pytest.fixture(scope="module")
def m13(real_frames: Path) -> Table:
    table = AstropyTable.read(real_frames / "catalogues" / "M13_SDSS_ugriz_An2008.csv")
    magnitudes = {f"MAG_{band}": np.where(table[band] > 90, np.nan, table[band]) for band in "ugriz"}
    columns = {"RA": table["ra"], "DEC": table["dec"], **magnitudes}
    return Table({key: Column(np.asarray(values, float)) for key, values in columns.items()}, "CATALOGUE",
                 FrameAttributes(catalogue="M13, An 2008", epoch=2000.0))  # fmt: skip


@pytest.fixture(scope="module")
def landolt(real_frames: Path) -> Table:
    table = fits.getdata(real_frames / "catalogues" / "Landolt09.fit", 1)
    places = SkyCoord(list(table["RAJ2000"]), list(table["DEJ2000"]), unit=("hourangle", "deg"))
    columns = {"RA": places.ra.deg, "DEC": places.dec.deg, "PMRA": table["pmRA"], "PMDEC": table["pmDE"],
               "MAG_V": table["Vmag"], "MAG_B": table["Vmag"] + table["B-V"]}  # fmt: skip
    return Table({key: Column(np.asarray(values, float)) for key, values in columns.items()}, "CATALOGUE",
                 FrameAttributes(catalogue="Landolt 2009", epoch=2000.0))  # fmt: skip


def test_m13_lies_where_its_catalogue_has_it(nickel: Camera, m13: Table) -> None:
    frame = reduced(nickel, "science_V/d1059.fits.gz", "V")
    outcome = science(frame, m13)
    found = numbers(outcome)
    assert found["reference_stars"] > 100
    assert 8 < found["pointing_offset"] < 30  # SOURCE.txt: 20 to 70 pixels of 0.37 arcsec
    assert abs(found["rotation"]) < 0.3
    assert outcome.products[0].content.confidence == "good"
    assert judge("AstrometricParameters", outcome.products[0].measured, {})[1] == 0
    # Held to all bright stars of the catalogue that stand alone, not to those that the fit kept.
    stars = find_stars(frame)
    stars = stars.where(stars.clean & (stars.flux > np.median(stars.flux)))
    coordinates = celestial(outcome.products[1].content.wcs)
    magnitude = m13.columns["MAG_g"].values
    everywhere = np.stack([m13.columns["RA"].values * np.cos(np.deg2rad(36.46)), m13.columns["DEC"].values], axis=-1)
    near = cKDTree(everywhere).query_ball_point(everywhere, 3 / 3600)
    bright = np.array([
        magnitude[row] < 19 and np.sum(magnitude[others] < magnitude[row] + 2) == 1 for row, others in enumerate(near)
    ])  # fmt: skip
    centre = sky_positions(coordinates, np.array([512.5]), np.array([512.5]))
    here, there = (
        np.stack(project(ra, dec, float(centre[0][0]), float(centre[1][0])), axis=-1) * 3600
        for ra, dec in (sky_positions(coordinates, stars.x, stars.y),
                        (m13.columns["RA"].values[bright], m13.columns["DEC"].values[bright]))
    )  # fmt: skip
    apart, nearest = cKDTree(here).query(there)
    pairs = apart < 1.5
    away = here[nearest[pairs]] - there[pairs]
    assert pairs.sum() > 80
    assert np.abs(np.median(away, axis=0)).max() < 0.03
    assert np.sqrt(np.mean(away**2, axis=0)).max() < 0.3
    assert np.mean(np.hypot(*away.T) < 0.3) > 0.9


@pytest.mark.parametrize(("name", "stars"), [("d1047", 4), ("d1083", 3)])
def test_landolt_fields_get_an_offset_of_low_confidence(nickel: Camera, landolt: Table, name: str, stars: int) -> None:
    outcome = science(reduced(nickel, f"science_V/{name}.fits.gz", "V"), landolt)
    found = numbers(outcome)
    assert (found["reference_stars"], found["distortion_degree"]) == (stars, 0)
    assert 8 < found["pointing_offset"] < 30
    # M13 shows what the headers of that night leave: 0.1 degree and 0.2 per cent, 0.5 arcsec at 200 arcsec.
    assert max(found["rms_ra"], found["rms_dec"]) < 0.5
    assert found["chance_log10"] < -4
    assert outcome.products[0].content.confidence == "low"
    assert judge("AstrometricParameters", outcome.products[0].measured, {})[1] & ASTROMETRY


def test_a_field_that_no_catalogue_covers_keeps_its_header(nickel: Camera, landolt: Table) -> None:
    frame = reduced(nickel, "science_V/d1048.fits.gz", "V")
    outcome = science(frame, landolt)
    assert outcome.products[0].content.confidence == "header"
    assert outcome.products[1].content.wcs["CRVAL1"] == pytest.approx(frame.wcs["CRVAL1"], abs=1e-9)


def test_frames_without_coordinates_are_solved_by_the_others_of_the_run(real_frames: Path) -> None:
    camera = Camera(real_frames / "arcsat_xo1_z_2025", "domeflat_z", 1.340, {})
    names = [f"science_z/XO1-b_z_20250602_{time}.fits.gz" for time in ("041008", "052404", "053800", "060016")]
    frames = [reduced(camera, name, "z") for name in names]
    attributes = [frame.attributes.model_dump() for frame in frames]
    assert [frame.attributes.has_wcs for frame in frames] == [True, True, False, False]
    chosen = RECIPE.choose_in_run(attributes)
    assert len(set(chosen)) == 1
    assert chosen[0] in (0, 1)
    settled = RECIPE.settle(RECIPE.parse_parameters({}), attributes)
    outcomes = [science(frame, None, None, frames[chosen[0]], **settled) for frame in frames]
    assert {outcome.products[0].content.confidence for outcome in outcomes} == {"relative"}
    assert len({outcome.products[2].attributes.grid for outcome in outcomes}) == 1
    for outcome in outcomes[2:]:
        found = numbers(outcome)
        assert found["reference_stars"] >= 12
        assert found["overlap_rms"] < 0.15  # a fifth of a pixel
        assert found["chance_log10"] < -6
    # The field drifts by up to 35 pixels over the night: all of them lie together on the sky.
    centres = [(o.products[1].attributes.centre_ra, o.products[1].attributes.centre_dec) for o in outcomes]
    assert np.ptp([dec for _, dec in centres]) * 3600 < 40
    assert np.ptp([ra for ra, _ in centres]) * 3600 < 40
