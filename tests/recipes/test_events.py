"""Trails, cosmic rays, sky and stars' shape on images whose truth is known."""

import numpy as np
import pytest

from recipes.ccd.cosmic_rays import find_cosmic_rays
from recipes.ccd.edges import find_bad_edges
from recipes.ccd.psf import PointSpread, measure_psf
from recipes.ccd.satellite_trail import find_trails
from recipes.ccd.sky import measure_sky

SHAPE = (400, 500)
NO_BAD = np.zeros(SHAPE, bool)


def noise(seed=0):
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def stars(number=60, fwhm=3.0, peak=(20, 3000), seed=1, beta=3.5):
    """Return Moffat stars and their positions."""
    random = np.random.default_rng(seed)
    image = np.zeros(SHAPE)
    width = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    places = random.uniform([20, 20], [SHAPE[0] - 20, SHAPE[1] - 20], (number, 2))
    for y0, x0 in places:
        height = np.exp(random.uniform(*np.log(peak)))
        image += height * (1 + ((x - x0) ** 2 + (y - y0) ** 2) / width**2) ** -beta
    return image.astype(np.float32), places


def line(angle, distance, sigma=1.5):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    away = x * np.cos(angle) + y * np.sin(angle) - distance
    return np.exp(-0.5 * (away / sigma) ** 2), np.abs(away)


def test_no_trail_in_noise_and_stars() -> None:
    for seed in range(6):
        mask, trails = find_trails(noise(seed) + stars(seed=seed)[0], np.ones(SHAPE, np.float32), NO_BAD, threshold=6.0)
        assert trails == []
        assert not mask.any()


@pytest.mark.parametrize("height", [1.5, 5.0, 200.0])
@pytest.mark.parametrize("angle", [0.4, 1.2, 2.5])
def test_a_trail_is_found_and_masked_to_its_edges(height, angle) -> None:
    # Through the middle of the frame; 1.5 sigma a pixel is hardly seen by eye.
    ridge, away = line(angle, 250 * np.cos(angle) + 200 * np.sin(angle))
    signal = (noise() + stars()[0] + height * ridge).astype(np.float32)
    mask, trails = find_trails(signal, np.ones(SHAPE, np.float32), NO_BAD, threshold=6.0)
    assert len(trails) == 1
    assert mask[away < 2.0].mean() > 0.99
    assert not (height * ridge[~mask] > 3.0).any()  # nothing that the eye would see is left
    assert not mask[away > 20].any()


def test_two_trails_are_told_apart() -> None:
    signal = noise() + 10 * line(0.5, 300)[0] + 10 * line(2.0, 80)[0]
    mask, trails = find_trails(signal.astype(np.float32), np.ones(SHAPE, np.float32), NO_BAD, threshold=6.0)
    assert len(trails) == 2
    assert mask[line(0.5, 300)[1] < 2].all()
    assert mask[line(2.0, 80)[1] < 2].all()


def test_lines_of_the_detector_are_no_trails() -> None:
    signal = noise()
    signal[:, 123] += 20
    signal[200:, 300:302] += 5
    signal[77] += 10
    signal[:, 250:] += 3  # two amplifiers of different level
    signal[390:] -= 5
    _, trails = find_trails(signal, np.ones(SHAPE, np.float32), NO_BAD, threshold=6.0)
    assert trails == []


def test_a_large_galaxy_is_no_trail() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    along, across = (x - 250) * 0.8 + (y - 200) * 0.6, -(x - 250) * 0.6 + (y - 200) * 0.8
    signal = noise() + (200 * np.exp(-np.hypot(along / 25, across / 4))).astype(np.float32)
    _, trails = find_trails(signal, np.ones(SHAPE, np.float32), NO_BAD, threshold=6.0)
    assert trails == []


@pytest.mark.parametrize("fwhm", [1.6, 2.2, 3.5, 6.0])
def test_stars_are_no_cosmic_rays_whatever_their_width(fwhm) -> None:
    sky = 900.0
    image = 30 * stars(fwhm=fwhm, peak=(5, 1500))[0] + sky
    data = np.random.default_rng(3).poisson(image).astype(np.float32)
    psf = PointSpread(fwhm, 0.6 * fwhm, 3.5, 10)
    hits = find_cosmic_rays(data, data.copy(), NO_BAD, laplacian_threshold=4.5, contrast=5.0, detection_threshold=5.0,
                            signal=data - np.float32(sky), psf=psf)  # fmt: skip
    assert hits.sum() <= 3


def test_hits_are_found_to_the_very_edge_and_beside_bad_pixels() -> None:
    sky = 900.0
    data = np.random.default_rng(4).poisson(sky, SHAPE).astype(np.float32)
    bad = NO_BAD.copy()
    bad[100, 100] = True
    data[100, 100] = 60_000.0
    hit = [(0, 200), (399, 20), (150, 0), (151, 499), (0, 0), (100, 102), (200, 200), (200, 201), (201, 202)]
    for place in hit:
        data[place] += 1200.0
    hits = find_cosmic_rays(data, data.copy(), bad, laplacian_threshold=4.5, contrast=5.0, detection_threshold=5.0,
                            signal=data - np.float32(sky))  # fmt: skip
    assert all(hits[place] for place in hit)
    assert not hits[100, 100]  # it is known to be bad: that is not a cosmic ray's doing
    # Some 50 neighbours of hits count from 0.3 × 4.5 sigma on, which 7 % of all pixels reach: 3.5 +- 1.8.
    assert hits.sum() <= len(hit) + 9


def test_the_width_of_stars_is_measured() -> None:
    for fwhm in (2.5, 4.0, 7.0):
        signal = noise() + stars(fwhm=fwhm)[0]
        psf = measure_psf(signal, np.ones(SHAPE, np.float32), NO_BAD)
        assert psf is not None
        assert psf.fwhm == pytest.approx(fwhm, rel=0.04)
        # Moffat: half of the light within width * sqrt(2**(1/(beta-1)) - 1)
        width = fwhm / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
        assert psf.half_light_radius == pytest.approx(width * np.sqrt(2 ** (1 / 2.5) - 1), rel=0.08)


def test_no_stars_no_width() -> None:
    assert measure_psf(noise(), np.ones(SHAPE, np.float32), NO_BAD) is None


def test_sky_level_and_noise_under_stars_and_a_slope() -> None:
    slope = np.linspace(0, 20, SHAPE[1], dtype=np.float32)
    data = 300 + slope + 7 * noise() + 30 * stars(peak=(5, 300))[0]
    sky = measure_sky(data, NO_BAD)
    assert sky.level == pytest.approx(310, abs=1.0)
    assert sky.noise == pytest.approx(7, rel=0.05)
    assert np.median(np.abs(sky.level_map - 300 - slope)) < 1.0


def test_edges_that_do_not_see_the_sky_are_found() -> None:
    signal = noise()
    signal[:3] += 4.0
    signal[-1] -= 30.0
    signal[:, -2:] += 2.0
    signal[:, 9] += 50.0  # a bad column near the edge is not the edge
    found = find_bad_edges(signal, np.ones(SHAPE, np.float32), NO_BAD)
    expected = NO_BAD.copy()
    expected[:3] = expected[-1:] = True
    expected[:, -2:] = True
    assert np.array_equal(found, expected)


def test_a_star_at_the_edge_is_left_alone() -> None:
    signal = noise() + stars(number=300)[0]
    signal[:20, 100:120] += 5000.0
    assert not find_bad_edges(signal, np.ones(SHAPE, np.float32), NO_BAD).any()
