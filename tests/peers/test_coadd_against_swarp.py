"""Coadd against SWarp: the same frames on one grid, simulated with dithers, rotations and distortions, and real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from recipes.ccd.grid import Grid
from recipes.ccd.wcs import celestial
from recipes.coadd import coadd
from recipes.fits_header import wcs_cards
from recipes.masks import USER
from tests.peers.report import record
from tests.recipes.dithered import (
    GRID,
    Exposure,
    Stars,
    as_regridded_frame,
    expose,
    linear_cards,
    measured_stars,
    sip_cards,
    star_image,
    tpv_cards,
)
from tests.recipes.swarp import run_swarp, write_for_swarp

pytestmark = [pytest.mark.peer, pytest.mark.program("SWarp", "swarp")]
SHAPE = 600, 640
FLUX = 3e5
STARS = Stars.on_lattice(9, 60, FLUX)
SYSTEMS = {
    "TAN": lambda **more: linear_cards(SHAPE, **more),
    "SIP": lambda **more: sip_cards(SHAPE, 0.5, **more),
    "TPV": lambda **more: tpv_cards(SHAPE, 0.5, **more),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_flux_places_noise_and_weight_are_swarps(system, tmp_path):
    # Turned by up to 3°: within each frame all phases occur, and what a kernel does with one (0.008 px) is gone.
    rng = np.random.default_rng(5)
    noises = 1 + 0.1 * np.arange(8)
    exposures = [
        expose(STARS, SYSTEMS[system](dither=tuple(rng.uniform(-15, 15, 2)), rotation=rng.uniform(-3, 3)), SHAPE,
               noise=noise, seed=index)
        for index, noise in enumerate(noises)
    ]  # fmt: skip
    outcome = coadd([as_regridded_frame(one.regrid(), f"frame{index}") for index, one in enumerate(exposures)],
                    background=False)  # fmt: skip
    image, weight = (product.content for product in outcome.products)
    x0, y0 = GRID.origin(image.wcs)
    theirs, their_weight = run_swarp(tmp_path, write_for_swarp(tmp_path, exposures), GRID,
                                     (x0, y0, image.shape[1], image.shape[0]))  # fmt: skip

    x, y = GRID.pixels(STARS.ra, STARS.dec)
    x, y = x - x0, y - y0
    well = (x > 45) & (y > 45) & (x < image.shape[1] - 45) & (y < image.shape[0] - 45)
    ours, swarps = (measured_stars(plane, x[well], y[well]) for plane in (image.data, theirs))
    flux = abs(float(np.median(ours[0] / swarps[0] - 1)))
    shift = float(np.hypot(*(np.median(ours[axis] - swarps[axis]) for axis in (1, 2))))
    record("Coadd", "SWarp", f"{system}: flux of stars, departure [%]", 100 * flux, None, "0.05", met=flux < 5e-4)
    record("Coadd", "SWarp", f"{system}: places of stars, departure [px]", shift, None, "0.005", met=shift < 5e-3)

    empty = star_image(image.shape, x, y, STARS.flux, 3.5) < 0.01
    empty &= image.mask == 0
    empty[:60], empty[-60:], empty[:, :60], empty[:, -60:] = False, False, False, False
    ideal = 1 / np.sum(1 / noises**2)
    noise, their_noise = float(image.data[empty].std()), float(theirs[empty].std())
    expected = float(np.sqrt(ideal * outcome.products[0].attributes.noise_correlation))
    pull = float(np.std(image.data[empty] * np.sqrt(weight.data[empty])))
    their_pull = float(np.std(theirs[empty] * np.sqrt(their_weight[empty])))
    record("Coadd", "SWarp", f"{system}: noise of the sky over the ideal", noise / expected, their_noise / expected,
           "1 ± 0.02", met=abs(noise / expected - 1) < 0.02)  # fmt: skip
    record("Coadd", "SWarp", f"{system}: noise of the sky over the weight's", pull, their_pull, "1 ± 0.02",
           met=abs(pull - 1) < 0.02)  # fmt: skip
    assert flux < 5e-4
    assert abs(float(np.mean(ours[0])) / FLUX - 1) < 5e-4
    assert shift < 0.005
    assert noise == pytest.approx(expected, rel=0.02)
    assert noise < 1.01 * their_noise
    assert pull == pytest.approx(1, abs=0.02)
    # SWarp's weight is that of independent pixels: ours, and the correlation beside it.
    correlation = outcome.products[0].attributes.noise_correlation
    ratio = np.median(weight.data[empty] * correlation / their_weight[empty])
    assert ratio == pytest.approx(1, rel=0.03)


def decam(folder: Path, band: str) -> list[Exposure]:
    """Return the reduced cut-outs of a band: pixels, inverse variance and data quality of the Community Pipeline."""
    exposures = []
    for path in sorted(folder.rglob(f"*_ooi_{band}_*.fits")):
        with fits.open(path) as images:
            data = images[1].data.astype(np.float32)
            cards = wcs_cards(dict(images[0].header) | dict(images[1].header))
        weight, quality = (
            fits.getdata(path.with_name(path.name.replace("_ooi_", word)), 1) for word in ("_oow_", "_ood_")
        )
        good = (quality == 0) & (weight > 0) & np.isfinite(data)
        variance = np.where(good, 1 / np.where(good, weight, 1), 0).astype(np.float32)
        exposures.append(Exposure(data, variance, np.where(good, 0, USER).astype(np.uint16), cards))
    return exposures


@pytest.mark.real_frames
@pytest.mark.parametrize("band", ["g", "r", "z"])
def test_real_frames_with_tpv_agree(real_frames, band, tmp_path):
    """They are 50 pixels wide, of several nights and zeropoints: each is taken on its own level, less its median."""
    exposures = [
        Exposure((one.data - np.median(one.data[one.mask == 0])).astype(np.float32), one.variance, one.mask, one.cards)
        for one in decam(real_frames / "decam_cutouts_reduced", band)
    ]
    assert len(exposures) >= 2
    middle = celestial(exposures[0].cards).all_pix2world(20.0, 25.0, 0)
    grid = Grid(float(middle[0]), float(middle[1]), 0.263)
    made = [one.regrid(grid) for one in exposures]
    outcome = coadd([as_regridded_frame(one, f"{band}{index}", grid=grid.name) for index, one in enumerate(made)],
                    background=False)  # fmt: skip
    image = outcome.products[0].content
    x0, y0 = grid.origin(image.wcs)
    theirs, their_weight = run_swarp(tmp_path, write_for_swarp(tmp_path, exposures), grid,
                                     (x0, y0, image.shape[1], image.shape[0]))  # fmt: skip

    # Away from what is masked in any, and from the border, where each has its own way.
    both = (image.mask == 0) & (their_weight > 0)
    inner = np.zeros_like(both)
    inner[6:-6, 6:-6] = both[6:-6, 6:-6]
    noise = np.sqrt(image.variance[inner])
    difference = (image.data[inner] - theirs[inner]) / noise
    typical = float(np.median(np.abs(difference)))
    record("Coadd", "SWarp", f"DECam {band}: difference in noises", typical, None, "0.1", met=typical < 0.1)
    assert inner.sum() > 500
    assert typical < 0.1
    assert np.abs(np.median(difference)) < 0.05
    assert np.corrcoef(image.data[inner], theirs[inner])[0, 1] > 0.99
