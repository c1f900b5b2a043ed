"""The sky of a frame: level and noise under stars, damage and gradients, beside the truth."""

from __future__ import annotations

import numpy as np
import pytest
import sep

from recipes.ccd.kernels.coadding_sky import _sky_of
from recipes.ccd.sky import NoSkyError, measure_sky

SHAPE = (512, 640)
LEVEL, NOISE, MESH = 400.0, 20.0, 64
NO_BAD = np.zeros(SHAPE, bool)


@pytest.fixture
def image() -> np.ndarray:
    """A sky with a slope of a tenth from side to side, and 300 stars."""
    dice = np.random.default_rng(3)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    made = dice.normal(slope(columns), NOISE)
    for x, y, flux in zip(dice.uniform(0, SHAPE[1], 300), dice.uniform(0, SHAPE[0], 300), 10 ** dice.uniform(2, 5, 300),
                          strict=True):  # fmt: skip
        box = np.s_[max(0, int(y) - 8) : int(y) + 9, max(0, int(x) - 8) : int(x) + 9]
        made[box] += flux / 18 * np.exp(-((columns[box] - x) ** 2 + (rows[box] - y) ** 2) / 5.8)
    return made.astype(np.float32)


def slope(columns: np.ndarray) -> np.ndarray:
    return LEVEL * (1 + 0.1 * columns / SHAPE[1])


def test_level_and_noise_are_those_of_the_truth(image: np.ndarray) -> None:
    sky = measure_sky(image, NO_BAD, MESH)
    error = sky.level_map - slope(np.arange(SHAPE[1]))
    # A cell's level is good to 1.25 sigma over the root of its pixels; stars raise it by a tenth of sigma at most.
    assert np.abs(error).max() < 0.2 * NOISE
    assert abs(error.mean()) < 0.1 * NOISE
    assert sky.noise_map.mean() == pytest.approx(NOISE, rel=0.05)


@pytest.mark.parametrize(("peak", "fwhm"), [(6e4, 6), (2e5, 6), (1e6, 3)])
def test_beside_a_bright_star_in_the_corner_it_is_still_the_sky(peak: float, fwhm: float) -> None:
    rows, columns = np.mgrid[:256, :256]
    data = np.random.default_rng(5).normal(100, 5, (256, 256))
    data += peak * np.exp(-((rows - 30) ** 2 + (columns - 34) ** 2) * 2.77 / fwhm**2)
    sky = measure_sky(data.astype(np.float32), np.zeros(data.shape, bool), MESH)
    assert sky.level_map[30, 34] == pytest.approx(100, abs=1)
    assert sky.noise_map[30, 34] == pytest.approx(5, rel=0.25)


@pytest.mark.parametrize("damage", [1e6, 1e18, 3e38, -3e38, np.nan, np.inf])
def test_damage_in_a_twentieth_of_the_pixels_changes_little(image: np.ndarray, damage: float) -> None:
    before = measure_sky(image, NO_BAD, MESH)
    hurt = np.random.default_rng(4).random(SHAPE) < 0.05
    image[hurt] = damage
    after = measure_sky(image, NO_BAD, MESH)
    # What is left of a twentieth on one side of the median moves it by 0.06 sigma.
    assert np.abs(after.level_map - before.level_map).max() < 0.15 * NOISE
    assert np.abs(after.noise_map - before.noise_map).max() < 0.1 * NOISE


def test_a_frame_without_numbers_is_refused(image: np.ndarray) -> None:
    with pytest.raises(NoSkyError, match=r"^x\.fits: no pixel is a number"):
        measure_sky(np.full_like(image, np.nan), NO_BAD, MESH, name="x.fits")
    with pytest.raises(NoSkyError, match=r"^every pixel is masked"):
        measure_sky(image, ~NO_BAD, MESH)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (65, 64), (65, 65), (129, 66)])
def test_odd_shapes(shape: tuple[int, int]) -> None:
    sky = measure_sky(np.full(shape, 7.0, np.float32), np.zeros(shape, bool), MESH)
    assert sky.level_map.shape == shape
    assert np.allclose(sky.level_map, 7, rtol=1e-6)


@pytest.mark.parametrize(("flux", "off"), [(1e5, 0.02), (1e7, 0.1), (1e8, 0.3)])
def test_the_cells_of_the_coadd_see_the_sky_beside_a_bright_star_as_sextractor_does(flux: float, off: float) -> None:
    rows, columns = np.mgrid[:64, :64]
    light = flux * 1.5 / (np.pi * 1.8**2) * (1 + ((rows - 30) ** 2 + (columns - 40) ** 2) / 1.8**2) ** -2.5
    dice = np.random.default_rng(7)
    for _ in range(5):
        cell = np.minimum(light + dice.normal(100, 10, light.shape), 60_000).astype(np.float32)
        level, noise = _sky_of(cell.ravel())
        theirs = sep.Background(cell, bw=64, bh=64, fw=1, fh=1)
        assert abs(level - theirs.globalback) < off * theirs.globalrms
        assert noise == pytest.approx(theirs.globalrms, rel=off)
