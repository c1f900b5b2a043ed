"""Numbers that no detector gives end as masked pixels and a flag, never as good pixels of infinite weight or none."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.attributes import FrameAttributes
from recipes.bias import bias
from recipes.dark import dark
from recipes.frame import Frame
from recipes.impossible_variance import without_impossible_variances
from recipes.masks import COSMIC_RAY, NO_DATA
from recipes.products import Product
from recipes.quality import COUNT, NOISE, judge
from recipes.reduce import reduce
from recipes.values import GainLinearity, ReadNoise

SHAPE = (40, 50)


def flags_of(product: Product) -> int:
    return judge(product.kind, product.measured, {})[1]


def raw(level: float, noise: float, seconds: float = 60.0, seed: int = 1) -> list[Frame]:
    rng = np.random.default_rng(seed)
    attributes = FrameAttributes(exposure_time=seconds)
    return [Frame(rng.normal(level, noise, SHAPE).astype(np.float32), attributes=attributes, name=f"r{number}.fits")
            for number in range(5)]  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_good_pixels_of_impossible_variance_are_masked_and_counted(value: float) -> None:
    variance, mask = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.uint16)
    variance[3, 4:7] = value
    mask[3, 4] = COSMIC_RAY  # is not trusted already
    frame = Frame(np.ones(SHAPE), variance=variance, mask=mask, unit="electron", name="x", wcs={"CRVAL1": 3.0})
    product, number = without_impossible_variances(Product("ReducedScienceFrame", frame, FrameAttributes()))
    assert number == 2
    assert np.argwhere(product.content.mask == NO_DATA).tolist() == [[3, 5], [3, 6]]
    assert np.isfinite(product.content.variance).all()
    assert product.content.variance.min() >= 0
    assert (product.content.unit, product.content.wcs) == ("electron", {"CRVAL1": 3.0})
    assert product.notes[-1].startswith("2 pixels came out with a variance that cannot be")


def test_what_is_right_is_handed_on_as_it_is() -> None:
    product = Product("BiasFrame", Frame(np.ones(SHAPE), variance=np.zeros(SHAPE)), FrameAttributes())
    assert without_impossible_variances(product) == (product, 0)


def test_noise_that_float32_cannot_square_makes_no_good_pixel() -> None:
    made = bias(raw(0.0, 1e25)).products[0]
    product, number = without_impossible_variances(made)
    assert number == np.count_nonzero(made.content.mask == 0)
    assert (product.content.mask != 0).all()


def test_frames_without_any_noise_are_flagged() -> None:
    zeros = [Frame(np.zeros(SHAPE), attributes=FrameAttributes(exposure_time=60.0), name=f"z{n}.fits")
             for n in range(5)]  # fmt: skip
    assert flags_of(bias(zeros, ReadNoise(4.0)).products[0]) & NOISE
    master = bias(raw(0.0, 4.0), ReadNoise(4.0)).products[0]
    as_input = Frame(master.content.data, variance=master.content.variance, attributes=master.attributes)
    assert flags_of(dark(zeros, as_input).products[0]) & NOISE
    assert (
        flags_of(reduce(zeros[0], as_input, None, None, None, GainLinearity(1.5), ReadNoise(4.0)).products[0]) & NOISE
    )


def test_a_dark_that_is_none_is_flagged_and_a_right_one_is_not() -> None:
    master = bias(raw(100.0, 4.0, seed=2), ReadNoise(4.0)).products[0]
    as_input = Frame(master.content.data, variance=master.content.variance, attributes=master.attributes)
    assert flags_of(dark(raw(130.0, 4.0, seed=3), as_input).products[0]) == 0
    assert flags_of(dark(raw(130.0, 4e20, seed=4), as_input).products[0]) & COUNT


def test_pixels_that_a_program_scaled_to_one_are_flagged() -> None:
    levels, nothing = raw(1000.0, 30.0)[0], Frame(np.zeros(SHAPE), name="bias.fits")
    scaled = Frame(levels.data / 65535, attributes=levels.attributes, name="scaled.fits")
    assert flags_of(reduce(levels, nothing).products[0]) & NOISE == 0
    assert flags_of(reduce(scaled, nothing).products[0]) & NOISE
