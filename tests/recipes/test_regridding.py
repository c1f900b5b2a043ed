"""Regridding: flux, positions, noise and masks of frames on the common grid, measured against what was put in."""

from __future__ import annotations

import numpy as np
import pytest

from recipes import threads
from recipes.ccd import regridding
from recipes.ccd.grid import Grid
from recipes.ccd.pixel_places import find_places
from recipes.ccd.regridding import regrid
from recipes.ccd.wcs import celestial, sky_positions
from recipes.errors import UsageError
from recipes.masks import COSMIC_RAY, FRINGE_UNTRUSTED, HOT, INTERPOLATED, NO_DATA, SATURATED
from tests.recipes.dithered import (
    CENTRE,
    GRID,
    SCALE,
    Exposure,
    Stars,
    expose,
    linear_cards,
    measured_stars,
    sip_cards,
    tpv_cards,
)

SHAPE = 420, 460
STARS = Stars.on_lattice(7, 55, 1e5)
# A distortion of 2 pixels at the middle of the sides changes the scale by up to 2.6 % there.
SYSTEMS = {
    "shifted": linear_cards(SHAPE, dither=(3.3, -7.71)),
    "turned by 2 degrees": linear_cards(SHAPE, dither=(3.3, -7.7), rotation=2.0),
    "turned by 45 degrees": linear_cards(SHAPE, rotation=45.0),
    "upside down": linear_cards(SHAPE, rotation=179.5),
    "SIP": sip_cards(SHAPE, 2.0, rotation=-1.0),
    "TPV": tpv_cards(SHAPE, 2.0, rotation=1.0),
    "TPV about another point": tpv_cards(SHAPE, 1.0, centre=(CENTRE[0] + 0.01, CENTRE[1] - 0.005)),
}


def stars_on(made, cards, margin=30):
    """Return the places on `made` and on the frame of the stars that lie well within both."""
    grid_x, grid_y = GRID.pixels(STARS.ra, STARS.dec)
    x, y = grid_x - made.x0, grid_y - made.y0
    frame_x, frame_y = STARS.on(cards)
    well = np.ones(len(x), dtype=bool)
    for along, across, shape in ((x, y, made.data.shape), (frame_x, frame_y, SHAPE)):
        well &= (along > margin) & (across > margin) & (along < shape[1] - margin) & (across < shape[0] - margin)
    return x[well], y[well]


@pytest.mark.parametrize("cards", SYSTEMS.values(), ids=SYSTEMS)
def test_stars_keep_their_flux_and_place(cards):
    made = expose(STARS, cards, SHAPE).regrid()
    x, y = stars_on(made, cards)
    flux, found_x, found_y = measured_stars(made.data, x, y)

    assert len(x) >= 16
    assert np.abs(np.mean(flux) / 1e5 - 1) < 1e-4
    assert np.abs(flux / 1e5 - 1).max() < 5e-4
    # A Lanczos-3 kernel moves a star of this width by up to 0.008 pixel either way, by its phase.
    assert np.hypot(found_x - x, found_y - y).max() < 0.0125


@pytest.mark.parametrize("method", ["BILINEAR", "LANCZOS2", "LANCZOS4"])
def test_every_method_keeps_flux(method):
    made = expose(STARS, SYSTEMS["turned by 2 degrees"], SHAPE).regrid(method=method)
    flux, _, _ = measured_stars(made.data, *stars_on(made, SYSTEMS["turned by 2 degrees"]))
    assert np.abs(flux / 1e5 - 1).max() < 1e-4


def test_nearest_takes_the_pixels_as_they_are():
    rng = np.random.default_rng(1)
    data = rng.normal(size=(40, 50)).astype(np.float32)
    cards = linear_cards((40, 50), dither=(0.3, -0.2))
    made = regrid(data, np.ones_like(data), np.zeros(data.shape, np.uint16), cards, GRID, method="NEAREST")
    # The middle of a side of even length lies between pixels: the dither moves the frame by -0.2 and -0.3 from there.
    good = made.mask == 0
    assert good.sum() > 0.9 * data.size
    assert np.isin(np.round(made.data[good], 4), np.round(data, 4)).all()
    assert np.all(made.variance[good] == pytest.approx(1.0, rel=1e-5))


@pytest.mark.parametrize(
    ("cards", "shape"),
    [
        (sip_cards((2048, 1024), 25.0, rotation=3.0), (2048, 1024)),
        (tpv_cards((2048, 1024), 25.0, rotation=-3.0), (2048, 1024)),
        (tpv_cards((600, 800), 20.0, centre=(CENTRE[0] + 0.05, CENTRE[1] - 0.05)), (600, 800)),
        (linear_cards((4000, 2000), centre=(CENTRE[0] + 1.0, CENTRE[1] + 1.0), rotation=20.0), (4000, 2000)),
    ],
    ids=["SIP", "TPV", "TPV elsewhere", "TAN a degree away"],
)
def test_interpolated_positions_are_right_to_a_thousandth_of_a_pixel(cards, shape):
    box = GRID.box(cards, shape)
    places = find_places(cards, shape, GRID, box)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, shape[1] - 1, 30_000), rng.uniform(0, shape[0] - 1, 30_000)
    x[:4], y[:4] = [0, 0, shape[1] - 1, shape[1] - 1], [0, shape[0] - 1, 0, shape[0] - 1]
    grid_x, grid_y = GRID.pixels(*sky_positions(celestial(cards), x + 1, y + 1))

    found_x, found_y, _ = places.at(grid_x - box[0], grid_y - box[1])

    assert np.hypot(found_x - x, found_y - y).max() < 1e-3


def test_a_frame_over_the_pole_and_one_over_the_meridian_find_their_places():
    for centre in ((10.0, 89.99), (359.999, -30.0)):
        grid = Grid(centre[0], centre[1], SCALE)
        cards = linear_cards((300, 300), centre=centre, rotation=30.0)
        made = regrid(np.ones((300, 300), np.float32), np.ones((300, 300), np.float32),
                      np.zeros((300, 300), np.uint16), cards, grid)  # fmt: skip
        # What is covered is the frame but for half a pixel at its border.
        assert np.count_nonzero(made.mask == 0) == pytest.approx(299**2, rel=0.002)
        assert made.data[made.mask == 0] == pytest.approx(1.0, abs=1e-4)


def test_a_frame_that_lies_on_the_grid_is_not_changed():
    rng = np.random.default_rng(2)
    data = rng.normal(100, 10, (70, 90)).astype(np.float32)
    variance = rng.uniform(50, 150, (70, 90)).astype(np.float32)
    made = regrid(data, variance, np.zeros((70, 90), np.uint16), GRID.cards(-40, 25), GRID)
    assert (made.x0, made.y0, made.data.shape) == (-40, 25, (70, 90))
    assert made.data == pytest.approx(data, rel=2e-5)
    assert made.variance == pytest.approx(variance, rel=1e-3)
    assert made.noise_correlation == pytest.approx(1.0, abs=1e-4)
    assert not made.mask.any()


@pytest.mark.parametrize("cards", [SYSTEMS["turned by 2 degrees"], SYSTEMS["shifted"], SYSTEMS["SIP"]],
                         ids=["turned", "shifted", "SIP"])  # fmt: skip
@pytest.mark.parametrize("method", ["LANCZOS3", "BILINEAR"])
def test_variance_is_that_of_the_empty_sky(cards, method):
    rng = np.random.default_rng(4)
    data = rng.normal(0, 7, SHAPE).astype(np.float32)
    exposure = Exposure(data, np.full(SHAPE, 49, np.float32), np.zeros(SHAPE, np.uint16), cards)
    made = exposure.regrid(method=method)
    good = made.mask == 0
    pulls = made.data[good] / np.sqrt(made.variance[good])
    # 170,000 pixels, some tens of thousands of them independent.
    assert np.std(pulls) == pytest.approx(1, abs=0.012)
    # The sum over large apertures is as noisy as for independent pixels: variance / noise_correlation.
    side = 24
    rows, columns = (made.data.shape[0] - 60) // side, (made.data.shape[1] - 60) // side
    inner = slice(30, 30 + rows * side), slice(30, 30 + columns * side)
    sums = made.data[inner].reshape(rows, side, columns, side).sum(axis=(1, 3))
    expected = np.sqrt(made.variance[inner].mean() / made.noise_correlation) * side
    # About 225 apertures tell their scatter to 5 %; light that leaks over their borders takes away 2 %.
    assert np.std(sums) == pytest.approx(expected, rel=0.13)


def test_larger_pixels_collect_the_flux_and_the_noise_of_those_they_cover():
    wide = Grid(*CENTRE, 2.2 * SCALE)
    cards = linear_cards(SHAPE, rotation=5.0)
    stars = expose(STARS, cards, SHAPE).regrid(wide)
    x, y = wide.pixels(STARS.ra, STARS.dec)
    well = (np.abs(x) < 75) & (np.abs(y) < 65)
    flux, _, _ = measured_stars(stars.data, x[well] - stars.x0, y[well] - stars.y0, radius=10)
    assert np.abs(np.mean(flux) / 1e5 - 1) < 2e-4
    assert np.abs(flux / 1e5 - 1).max() < 2e-3

    rng = np.random.default_rng(5)
    noise = Exposure(rng.normal(0, 7, SHAPE).astype(np.float32), np.full(SHAPE, 49, np.float32),
                     np.zeros(SHAPE, np.uint16), cards).regrid(wide)  # fmt: skip
    good = noise.mask == 0
    assert np.std(noise.data[good] / np.sqrt(noise.variance[good])) == pytest.approx(1, abs=0.03)


def test_a_masked_pixel_is_bridged_and_its_cause_handed_on():
    cards = linear_cards(SHAPE, dither=(0.4, 0.3), rotation=1.0)
    exposure = expose(STARS, cards, SHAPE, sky=100.0)
    clean = exposure.regrid()
    hits = exposure.data.copy()
    rows, columns = np.array([50, 120, 201, 300]), np.array([60, 200, 333, 90])
    hits[rows, columns] += 50_000
    hits[rows + 1, columns] = np.nan
    mask = np.zeros(SHAPE, np.uint16)
    mask[rows, columns] = COSMIC_RAY
    mask[200:220, 100] = HOT

    made = regrid(hits, exposure.variance, mask, cards, GRID)

    flagged = made.mask != 0
    assert (made.mask[flagged & (clean.mask == 0)] & INTERPOLATED).all()
    seen = {bit: np.count_nonzero((made.mask & bit) & ~(clean.mask & NO_DATA)) for bit in (COSMIC_RAY, HOT)}
    assert 4 * 3 <= seen[COSMIC_RAY] <= 4 * 9
    assert 20 * 1 <= seen[HOT] <= 22 * 3
    # Nothing of 50,000 is left anywhere: where it is not flagged the sky is as it was.
    same = ~flagged & (clean.mask == 0)
    assert np.abs(made.data[same] - clean.data[same]).max() < 0.05 * 1e5 / (3.5**2)
    assert np.count_nonzero(np.abs(made.data[same] - clean.data[same]) > 1.0) < 40


def test_no_ringing_around_a_saturated_star_and_its_bleed():
    cards = linear_cards(SHAPE, dither=(0.4, 0.3), rotation=1.0)
    bright = Stars(*GRID.sky(np.array([0.3]), np.array([-0.2])), np.array([4e6]))
    exposure = expose(bright, cards, SHAPE, sky=300.0)
    x, y = (round(float(axis[0])) for axis in bright.on(cards))
    data, mask = exposure.data.copy(), np.zeros(SHAPE, np.uint16)
    data[y - 60 : y + 61, x - 1 : x + 2] = 50_000  # what runs over fills the column
    mask[data > 49_000] = SATURATED
    data = np.minimum(data, 50_000).astype(np.float32)

    made = regrid(data, exposure.variance, mask, cards, GRID)

    truth = exposure.regrid()
    good = made.mask == 0
    assert made.data[good].min() > 299.0  # a lobe of the kernel is 10 % of what it meets
    far = good & (truth.data < 320)
    assert np.abs(made.data[far] - truth.data[far]).max() < 2.0
    # The star still looks like one, and is marked.
    assert made.data.max() == pytest.approx(50_000, rel=0.01)
    core = (made.mask & SATURATED) != 0
    assert made.data[core & (made.mask & NO_DATA == 0)].min() > 300
    near = good & (truth.data > 1000)
    assert np.median(np.abs(made.data[near] / truth.data[near] - 1)) < 0.04


def test_what_is_less_trusted_is_used_and_marked():
    cards = linear_cards((60, 60), dither=(0.3, 0.3))
    data = np.full((60, 60), 10, np.float32)
    mask = np.zeros((60, 60), np.uint16)
    mask[20:40, 20:40] = FRINGE_UNTRUSTED
    made = regrid(data, np.ones_like(data), mask, cards, GRID)
    inside = made.mask & NO_DATA == 0
    assert made.data[inside] == pytest.approx(10, rel=1e-4)
    assert set(np.unique(made.mask[inside])) == {0, FRINGE_UNTRUSTED}


def test_outside_there_is_no_data_and_no_variance():
    made = expose(STARS, SYSTEMS["turned by 45 degrees"], SHAPE, sky=50.0).regrid()
    outside = (made.mask & NO_DATA) != 0
    assert 0.4 < outside.mean() < 0.6
    assert not made.data[outside].any()
    assert not made.variance[outside].any()
    assert made.data[~outside].min() > 40


def test_pixels_without_a_variance_are_no_data():
    cards = linear_cards((60, 60), dither=(0.3, 0.3))
    data, variance = np.ones((60, 60), np.float32), np.ones((60, 60), np.float32)
    variance[30:, :], variance[:10, :10] = 0, np.inf
    made = regrid(data, variance, np.zeros((60, 60), np.uint16), cards, GRID)
    assert np.count_nonzero(made.mask == 0) == pytest.approx(29 * 59 - 100, rel=0.05)
    assert np.isfinite(made.variance).all()


def test_the_pieces_leave_no_trace_and_threads_neither(monkeypatch):
    rng = np.random.default_rng(7)
    cards = sip_cards(SHAPE, 3.0, rotation=12.0)
    exposure = expose(STARS, cards, SHAPE, sky=100.0, noise=5.0)
    mask = np.where(rng.random(SHAPE) < 0.01, HOT, 0).astype(np.uint16)
    mask[100:130, 100:160] = SATURATED
    whole = regrid(exposure.data, exposure.variance, mask, cards, GRID)
    monkeypatch.setattr(regridding, "TILE", 128)
    threads.allow(2)
    try:
        pieces = regrid(exposure.data, exposure.variance, mask, cards, GRID)
    finally:
        threads.allow(1)
    assert np.array_equal(whole.mask, pieces.mask)
    assert pieces.data == pytest.approx(whole.data, rel=1e-5, abs=1e-3)
    monkeypatch.undo()
    threads.allow(2)
    try:
        again = regrid(exposure.data, exposure.variance, mask, cards, GRID)
    finally:
        threads.allow(1)
    assert whole.data.tobytes() == again.data.tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (7, 7)])
def test_tiny_frames_are_no_crash(shape):
    made = regrid(np.ones(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.uint16),
                  linear_cards(shape, dither=(0.2, 0.1)), GRID)  # fmt: skip
    assert np.isfinite(made.data).all()
    assert made.data.shape[0] <= shape[0] + 2


def test_what_cannot_be_placed_is_refused():
    one, none = np.ones((30, 30), np.float32), np.zeros((30, 30), np.uint16)
    with pytest.raises(UsageError, match="has no coordinate system"):
        regrid(one, one, none, {}, GRID)
    with pytest.raises(UsageError, match=r"^far\.fits lies more than 80° from the centre of the grid"):
        regrid(one, one, none, linear_cards((30, 30), centre=(330.0, 0.0)), GRID, name="far.fits")
    with pytest.raises(UsageError, match="cannot be scaled"):
        regrid(one, one, none, linear_cards((30, 30)), GRID, scale=0.0)
    coarse = Grid(*CENTRE, 20 * SCALE)
    with pytest.raises(UsageError, match=r"pixels are 20 times those of fine\.fits"):
        regrid(one, one, none, linear_cards((30, 30)), coarse, name="fine.fits")
    folded = sip_cards((400, 400), -300.0)
    ones = np.ones((400, 400), np.float32)
    with pytest.raises(UsageError, match="cannot be inverted"):
        regrid(ones, ones, np.zeros((400, 400), np.uint16), folded, GRID)


def test_a_grid_is_known_by_its_name():
    grid = Grid(359.99999999, -12.345678949, 0.2133333333, "ZEA")
    assert Grid.parse(grid.name) == grid
    assert grid.origin(grid.cards(-17, 4)) == (-17, 4)
    assert grid.box(grid.cards(-17, 4), (20, 30)) == (-17, 4, 30, 20)
    for name in ("", "TAN 1 2", "TAN a b c", "MOL 1 2 3", "TAN 1 95 0.2", "TAN 1 2 0"):
        with pytest.raises(UsageError):
            Grid.parse(name)
    with pytest.raises(UsageError, match="not that of the grid"):
        grid.origin(linear_cards((20, 20), dither=(0.5, 0)))
