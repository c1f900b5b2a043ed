"""Zeropoint beside the plain way: photutils' apertures at the catalogue's places, astropy's clip, a weighted mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import sigma_clip
from astropy.wcs import WCS
from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture, aperture_photometry
from scipy.spatial import cKDTree

from recipes.frame import Frame
from recipes.tables import Table
from recipes.zeropoint import zeropoint
from tests.peers.report import record
from tests.recipes.photometry_night import PhotometryNight

YEARS = 2026.2 - 2016.0  # from the catalogue's epoch to the night
DIAMETER = 20  # pixels
# The same circles on other skies (mode of a mesh, median of a ring: faint sources lie in between), other stars chosen.
BAR = 0.01  # mag


def the_plain_way(frame: Frame, wcs: WCS, catalogue: Table) -> float:
    """Return the zeropoint as one would write it down in twenty lines."""
    stars = {name: column.values for name, column in catalogue.columns.items()}
    ra = stars["RA"] + stars["PMRA"] * YEARS / 3.6e6 / np.cos(np.deg2rad(stars["DEC"]))
    dec = stars["DEC"] + stars["PMDEC"] * YEARS / 3.6e6
    places = np.column_stack(wcs.all_world2pix(ra, dec, 0))
    inside = ((places > 25) & (places < np.array(frame.shape[::-1]) - 25)).all(axis=1)
    alone = cKDTree(places).query(places, k=2)[0][:, 1] > DIAMETER
    chosen = inside & alone & (stars["MAG_r"] < 18)
    data = np.asarray(frame.data, float)
    sky = ApertureStats(data, CircularAnnulus(places[chosen], 25, 35)).median
    circles = CircularAperture(places[chosen], DIAMETER / 2)
    flux = aperture_photometry(data, circles)["aperture_sum"].value - sky * circles.area
    attributes = frame.attributes
    colour = (stars["MAG_g"] - stars["MAG_r"])[chosen]
    values = stars["MAG_r"][chosen] + 2.5 * np.log10(flux / attributes.exposure_time)
    values += attributes.photometry.colour_term * colour + attributes.photometry.extinction * attributes.airmass
    error = np.hypot(stars["MAGERR_r"][chosen], 1.0857 * np.sqrt(flux + 2 * sky * circles.area) / flux)
    kept = ~sigma_clip(values, 3).mask
    return float(np.average(values[kept], weights=1 / (error[kept] ** 2 + 0.01**2)))


@pytest.mark.parametrize("seed", [3, 8])
def test_the_plain_way_finds_the_same(tmp_path: Path, seed: int) -> None:
    night = PhotometryNight.observed(tmp_path, seed=seed, chips=1, columns=640, rows=640, science=1)
    note = night.science()[0]
    frame = night.calibrated(note)
    ours = zeropoint(frame, night.catalogue, flux_type="APER", aperture=f"{DIAMETER} pixel").products[0].content
    theirs = the_plain_way(frame, WCS(fits.Header(frame.wcs)), night.catalogue)
    record("Zeropoint", "photutils", f"zeropoint of field {seed} [mag]", ours.zeropoint, theirs, f"± {BAR}",
           met=abs(ours.zeropoint - theirs) < BAR)  # fmt: skip
    assert ours.zeropoint == pytest.approx(theirs, abs=BAR)
