"""Cameras nobody has seen yet: odd sizes, CMOS, 12 bits in 16, float data, a night of what there is."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.attributes import FrameAttributes
from recipes.bias import bias
from recipes.cold_pixels import cold_pixels
from recipes.dark import dark
from recipes.dome_flat import dome_flat
from recipes.fits_writing import product_name
from recipes.frame import Frame
from recipes.gain import gain
from recipes.hot_pixels import hot_pixels
from recipes.master_flat import master_flat
from recipes.products import Product
from recipes.read_noise import read_noise
from tests.recipes.test_dark_and_hot_pixels import as_frame


def night(rng, shape, level, gain_, noise, pedestal, stored, seconds=10.0):
    """Return raw biases, darks and flats as `stored` makes the numbers of them."""

    def expose(electrons, time, name):
        raw = pedestal + rng.poisson(electrons, shape) / gain_ + noise * rng.standard_normal(shape)
        return Frame(stored(raw), attributes=FrameAttributes(exposure_time=time), name=name)

    return (
        [expose(0, 0.0, f"b{index}") for index in range(5)],
        [expose(1.0 * seconds, seconds, f"d{index}") for index in range(3)],
        [expose(level * gain_, seconds, f"f{index}") for index in range(4)],
    )


def reduce_night(biases, darks, flats):
    """Return the gain and the products of every recipe, each made from those before it."""
    made = {"ReadNoise": read_noise(biases).products[0].content}
    made["BiasFrame"] = as_frame(bias(biases, made["ReadNoise"]))
    made["DarkFrame"] = as_frame(dark(darks, made["BiasFrame"]))
    made["HotPixelMap"] = as_frame(hot_pixels(made["BiasFrame"], made["DarkFrame"]))
    made["GainLinearity"] = gain(flats, made["BiasFrame"], made["ReadNoise"]).products[0].content
    made["DomeFlatFrame"] = as_frame(dome_flat(flats, made["BiasFrame"], made["HotPixelMap"], made["GainLinearity"]))
    made["ColdPixelMap"] = as_frame(cold_pixels(made["DomeFlatFrame"]))
    made["MasterFlatFrame"] = as_frame(
        master_flat(made["DomeFlatFrame"], None, made["HotPixelMap"], made["ColdPixelMap"])
    )
    return made


@pytest.mark.parametrize(
    ("level", "gain_", "noise", "pedestal", "stored"),
    [
        (20000, 1.5, 6.0, 300.0, np.round),
        (2500, 0.25, 1.6, 60.0, np.round),  # CMOS of 12 bits
        (40000, 0.02, 20.0, 800.0, lambda raw: np.round(raw / 16) * 16),  # the same, 12 bits in 16
        (4e6, 0.3, 9.0, 1e5, np.round),  # sums of many exposures, 32 bits
        (8000, 2.0, 4.0, -5.0, lambda raw: raw.astype(np.float32)),  # float, about zero
        (900, 30.0, 0.4, 100.0, np.round),  # read noise below the step of the converter
    ],
)
def test_a_camera_of_this_sort_is_reduced(level, gain_, noise, pedestal, stored):
    rng = np.random.default_rng(int(level))
    made = reduce_night(*night(rng, (150, 170), level, gain_, noise, pedestal, stored))
    step = 16 if stored(np.array([7.0]))[0] in (0, 16) else (0 if stored(np.array([0.4]))[0] else 1)
    expected = np.sqrt(noise**2 + step**2 / 12)
    # a step as large as the noise adds less or more than step²/12, by where the level falls within it
    assert made["ReadNoise"].read_noise == pytest.approx(expected, rel=0.02 if noise > step else 0.1)
    # 3 pairs of 25,500 pixels: 0.5 %; steps that are not small beside the photon noise add their own
    assert made["GainLinearity"].gain == pytest.approx(gain_, rel=0.03)
    assert np.abs(made["MasterFlatFrame"].data - 1).max() < 10 * np.sqrt(1 / (level * gain_)) + 0.01
    # The limits of 6 % are three sigma of the faintest of these flats (four frames of 625 electrons): 0.27 %.
    for kind in ("HotPixelMap", "ColdPixelMap"):
        assert np.count_nonzero(made[kind].mask) < 0.004 * made[kind].mask.size


@pytest.mark.parametrize("shape", [(5, 7), (17, 9), (1, 64), (40, 1)])
def test_tiny_and_thin_frames_do_not_break(shape):
    made = reduce_night(*night(np.random.default_rng(3), shape, 20000, 1.5, 6.0, 300.0, np.round))
    assert made["MasterFlatFrame"].shape == shape
    assert np.isfinite(made["MasterFlatFrame"].data).all()


def test_names_of_products_are_safe():
    attributes = FrameAttributes(
        instrument="../../etc", chip="a b/c", filter="Hα" * 100, date_obs="2024-05-13T02:03:04.5"
    )
    name = product_name(Product("DomeFlatFrame", Frame(np.ones((2, 2))), attributes))
    assert name.startswith("DomeFlatFrame_etc_a-b-c_H")
    assert "/" not in name
    assert name.endswith("20240513020304")
    assert len(name) < 150
