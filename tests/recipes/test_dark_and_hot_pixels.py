"""Dark and HotPixels against a chip with known dark current and known hot pixels."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.bias import bias
from recipes.dark import dark
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.hot_pixels import hot_pixels
from recipes.masks import HOT
from recipes.values import GainLinearity, ReadNoise
from tests.recipes.synthetic import Camera, width


@pytest.fixture(scope="module")
def camera():
    return Camera(whole_numbers=False, seed=11)


@pytest.fixture(scope="module")
def master_bias(camera):
    return as_frame(bias(camera.biases(25), ReadNoise(5.0)))


def as_frame(outcome, number=0):
    """The product as the next recipe gets it."""
    product = outcome.products[number]
    content = product.content
    data = content.data if content.has_data else None
    return Frame(data, variance=content.variance, mask=content.mask, attributes=product.attributes, unit=content.unit,
                 name=product.kind)  # fmt: skip


def darks(camera, seconds, rate=4.0, temperature=-10.0):
    return [
        camera.expose(rate * time, name=f"dark{index}.fits", exposure_time=time, temperature=temperature)
        for index, time in enumerate(seconds)
    ]


def test_rate_is_right_and_pulls_have_width_one(camera, master_bias):
    outcome = dark(darks(camera, [10, 60, 60, 300]), master_bias, GainLinearity(2.0))
    content = outcome.products[0].content
    pulls = (content.data - 2.0) / np.sqrt(content.variance)
    assert np.mean(pulls) == pytest.approx(0, abs=0.05)
    assert width(pulls) == pytest.approx(1, abs=0.05)
    assert content.unit == "adu/s"
    assert outcome.products[0].attributes.temperature == -10


def test_cosmic_rays_in_darks_are_rejected(camera, master_bias):
    frames = darks(camera, [60, 60, 60])
    raw = np.array(frames[1].data)
    raw[50, 60] += 5000
    frames[1] = Frame(raw, attributes=frames[1].attributes)
    content = dark(frames, master_bias, GainLinearity(2.0)).products[0].content
    assert content.data[50, 60] == pytest.approx(2.0, abs=1.0)


def test_darks_of_another_temperature_are_left_out_by_name(camera, master_bias):
    frames = [
        *darks(camera, [60, 60, 60]),
        camera.expose(name="warm.fits", exposure_time=60, temperature=-3.0),
        camera.expose(name="unknown.fits", temperature=-10.0),
    ]
    outcome = dark(frames, master_bias)
    assert [entry.name for entry in outcome.left_out] == ["warm.fits", "unknown.fits"]
    assert "-3 °C" in outcome.left_out[0].reason
    with pytest.raises(UsageError, match="only 2 of 4"):
        dark(frames[1:], master_bias)


def test_dark_of_another_overscan_method_is_refused(camera, master_bias):
    with pytest.raises(UsageError, match="overscan_correction 6") as caught:
        dark(darks(camera, [60, 60, 60]), master_bias, overscan_correction=2)
    assert "overscan_correction = 6" in caught.value.hint


def test_hot_pixels_of_bias_and_dark_are_found(camera, master_bias):
    rng = np.random.default_rng(3)
    in_bias, in_dark = np.zeros((2, 200, 240), bool)
    in_bias[rng.integers(0, 200, 30), rng.integers(0, 240, 30)] = True
    in_bias[40:, 77] = True
    in_dark[rng.integers(0, 200, 30), rng.integers(0, 240, 30)] = True
    data = master_bias.data + np.where(in_bias, 40, 0)
    dark_frame = as_frame(dark(darks(camera, [60, 60, 60]), master_bias, GainLinearity(2.0)))
    with_hot = Frame(dark_frame.data + np.where(in_dark, 3, 0), name="dark", unit="adu/s")
    outcome = hot_pixels(Frame(data, name="bias"), with_hot)
    found = outcome.products[0].content.mask
    assert np.all(found[in_bias | in_dark] == HOT)
    # beyond 5 sigma on both sides a Gaussian has 6e-7: 0.03 of 48,000 pixels, twice
    assert np.count_nonzero(found) - np.count_nonzero(in_bias | in_dark) <= 2


def test_steps_and_slopes_of_the_bias_are_not_hot(master_bias):
    y, x = np.mgrid[:200, :240]
    data = master_bias.data + np.where(x > 228, -40.0, 0) + 0.1 * y
    assert hot_pixels(Frame(data)).products[0].measured[0].value <= 2


def test_difference_from_the_map_before_is_counted(master_bias):
    data = np.array(master_bias.data)
    data[5, 5] += 100
    data[9, 9] += 100
    before = np.zeros((200, 240), np.uint16)
    before[5, 5] = HOT
    product = hot_pixels(Frame(data), None, Frame(None, mask=before)).products[0]
    found = {value.name: value.value for value in product.measured}
    assert found["count_difference"] == 1
    assert found["changed"] == 1
