"""The sky of a frame: level and noise under stars, damage and gradients, beside the truth and beside sep."""

from __future__ import annotations

import numpy as np
import pytest
import sep

from recipes import threads
from recipes.ccd.sky import measure_sky
from recipes.errors import UsageError

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


def test_it_agrees_with_sep(image: np.ndarray) -> None:
    ours = measure_sky(image, NO_BAD, MESH)
    theirs = sep.Background(image, bw=MESH, bh=MESH, fw=3, fh=3)
    inner = np.s_[MESH:-MESH, MESH:-MESH]
    assert np.abs(ours.level_map - theirs.back())[inner].max() < 0.05 * NOISE
    assert np.abs(ours.noise_map - theirs.rms())[inner].max() < 0.05 * NOISE


@pytest.mark.parametrize("damage", [1e6, 1e18, 3e38, -3e38, np.nan, np.inf, "many sizes"])
def test_damage_in_a_twentieth_of_the_pixels_changes_little(image: np.ndarray, damage: float | str) -> None:
    before = measure_sky(image, NO_BAD, MESH)
    hurt = np.random.default_rng(4).random(SHAPE) < 0.05
    sizes = 10.0 ** np.linspace(4, 38, hurt.sum()) if damage == "many sizes" else damage
    image[hurt] = sizes
    after = measure_sky(image, NO_BAD, MESH)
    # What is left of a twentieth on one side of the median moves it by 0.06 sigma.
    assert np.abs(after.level_map - before.level_map).max() < 0.15 * NOISE
    assert np.abs(after.noise_map - before.noise_map).max() < 0.1 * NOISE


def test_it_does_not_depend_on_threads(image: np.ndarray) -> None:
    found = []
    try:
        for number in (1, 2):
            threads.allow(number)
            found.append(measure_sky(image, NO_BAD, MESH))
    finally:
        threads.allow(1)
    assert np.array_equal(found[0].level_map, found[1].level_map)
    assert np.array_equal(found[0].noise_map, found[1].noise_map)


def test_a_frame_without_numbers_is_refused(image: np.ndarray) -> None:
    with pytest.raises(UsageError, match="no pixel of the frame is a number"):
        measure_sky(np.full_like(image, np.nan), NO_BAD, MESH)
    with pytest.raises(UsageError, match="every pixel of the frame is masked"):
        measure_sky(image, ~NO_BAD, MESH)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (65, 64)])
def test_odd_shapes(shape: tuple[int, int]) -> None:
    sky = measure_sky(np.full(shape, 7.0, np.float32), np.zeros(shape, bool), MESH)
    assert sky.level_map.shape == shape
    assert np.all(sky.level_map == 7)
