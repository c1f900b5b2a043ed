"""DomeFlat, TwilightFlat, ColdPixels and MasterFlat against a chip of known response."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.cold_pixels import cold_pixels
from recipes.dome_flat import dome_flat
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import COLD, HOT, SATURATED
from recipes.master_flat import master_flat
from recipes.twilight_flat import twilight_flat
from recipes.values import GainLinearity
from tests.recipes.synthetic import Camera, width
from tests.recipes.test_dark_and_hot_pixels import as_frame

CENTRE = (slice(50, 150), slice(60, 180))


@pytest.fixture(scope="module")
def camera():
    return Camera(whole_numbers=False, gain=2.0, read_noise=5.0, seed=41)


@pytest.fixture(scope="module")
def true_bias(camera):
    from recipes.attributes import FrameAttributes

    attributes = FrameAttributes(overscan_correction=6, read_noise=5.0)
    return Frame(camera.structure, attributes=attributes, name="BiasFrame")


def values(outcome):
    return {value.name: value.value for value in outcome.products[0].measured}


def test_flat_is_the_response_and_pulls_have_width_one(camera, true_bias):
    outcome = dome_flat(camera.flats([20000] * 5), true_bias, None, GainLinearity(2.0))
    content = outcome.products[0].content
    truth = camera.response / camera.response[CENTRE].mean()
    assert width((content.data - truth) / np.sqrt(content.variance)) == pytest.approx(1, abs=0.05)
    assert values(outcome)["central_mean"] == pytest.approx(1, abs=1e-4)
    assert outcome.products[0].made_without == []


def test_stars_in_twilight_flats_are_rejected_and_counted(camera, true_bias):
    rng = np.random.default_rng(1)
    frames, places = [], rng.permutation(200 * 240).reshape(-1, 100)
    for number, frame in enumerate(camera.flats([12000, 20000, 30000, 28000], kind="RawTwilightFlat")):
        raw = np.array(frame.data)
        raw[np.unravel_index(places[number], (200, 240))] += 3000
        frames.append(Frame(raw, attributes=frame.attributes, name=frame.name))
    outcome = twilight_flat(frames, true_bias, None, GainLinearity(2.0))
    content = outcome.products[0].content
    truth = camera.response / camera.response[CENTRE].mean()
    pulls = (content.data - truth) / np.sqrt(content.variance)
    assert width(pulls) == pytest.approx(1, abs=0.05)
    assert np.abs(pulls).max() < 7
    assert values(outcome)["outliers"] == pytest.approx(400, abs=10)


def test_faint_bright_and_dark_frames_are_left_out_by_name(camera, true_bias):
    frames = [camera.flats([level], saturation=60000.0)[0] for level in (20000, 100, 58000, 20000, 20000)]
    for index, frame in enumerate(frames):
        frame.name = f"flat{index}.fits"
    outcome = dome_flat(frames, true_bias, None, GainLinearity(2.0))
    assert {entry.name: entry.reason.split(" adu is ")[1] for entry in outcome.left_out} == {
        "flat1.fits": "below 500",
        "flat2.fits": "above 54000",
    }
    with pytest.raises(UsageError, match=r"none of the 1 flats can be used: flat1\.fits") as caught:
        dome_flat(frames[1:2], true_bias)
    assert "minimum_level" in caught.value.hint


def test_without_gain_bias_or_maps_it_says_so(camera):
    product = dome_flat(camera.flats([20000] * 3)).products[0]
    assert "any known gain" in product.made_without
    truth = camera.response / camera.response[CENTRE].mean()
    # the bias structure of 2 adu remains: 1e-4 of the level
    assert np.median(np.abs(product.content.data / truth - 1)) < 0.01


def test_one_flat_alone_serves(camera, true_bias):
    product = dome_flat(camera.flats([20000]), true_bias, None, GainLinearity(2.0)).products[0]
    assert any("rejection" in entry for entry in product.made_without)
    assert product.content.data[CENTRE].mean() == pytest.approx(1, abs=1e-3)


def test_dark_of_another_temperature_is_left_out(camera, true_bias):
    from recipes.attributes import FrameAttributes

    dark = Frame(np.zeros((200, 240)), attributes=FrameAttributes(temperature=-20.0), name="cold dark")
    frames = camera.flats([20000] * 3, temperature=-10.0)
    outcome = dome_flat(frames, true_bias, None, GainLinearity(2.0), None, dark)
    assert [entry.name for entry in outcome.left_out] == ["cold dark"]


def test_flats_of_two_filters_are_refused(camera, true_bias):
    with pytest.raises(UsageError, match="filter 'B'"):
        dome_flat(camera.flats([20000]) + camera.flats([20000], filter="B"), true_bias)


def test_saturated_column_and_pixel_maps_are_in_the_mask(camera, true_bias):
    frames = []
    for frame in camera.flats([20000] * 3, saturation=60000.0):
        raw = np.array(frame.data)
        raw[:, 33] = 65535
        frames.append(Frame(raw, attributes=frame.attributes, name=frame.name))
    hot = np.zeros((200, 240), np.uint16)
    hot[100, 100] = HOT
    content = dome_flat(frames, true_bias, Frame(None, mask=hot), GainLinearity(2.0)).products[0].content
    assert np.all(content.mask[:, 33] & SATURATED)
    assert content.mask[100, 100] == HOT
    assert np.isfinite(content.data).all()


def test_difference_from_the_flat_before_is_measured(camera, true_bias):
    first = as_frame(dome_flat(camera.flats([20000] * 3), true_bias, None, GainLinearity(2.0)))
    tilted = Frame(first.data * np.linspace(0.9, 1.1, 240, dtype=np.float32), name="before")
    outcome = dome_flat(camera.flats([20000] * 3), true_bias, None, GainLinearity(2.0), None, None, tilted)
    # the outermost of eight sub-windows along x has its median at 1/16 of the width: 0.9125
    assert values(outcome)["subwindow_difference"] == pytest.approx(1 / 0.9125 - 1, abs=0.01)


def test_cold_and_bright_pixels_are_found_and_dust_is_not():
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:200, :240]
    flat = 1 + 0.01 * rng.standard_normal((200, 240)) - 0.3 * ((x - 120) / 240) ** 2
    flat *= 1 - 0.04 * np.exp(-((y - 60) ** 2 + (x - 60) ** 2) / (2 * 15.0**2))
    truth = np.zeros((200, 240), bool)
    truth[rng.integers(0, 200, 60), rng.integers(0, 240, 60)] = True
    truth[:, 150] = True
    odd = np.where(rng.random((200, 240)) < 0.5, 0.8, 1.2)
    found = cold_pixels(Frame(np.where(truth, flat * odd, flat))).products[0].content.mask
    assert np.all(found[truth] == COLD)
    # 6 sigma on both sides of a Gaussian: 2e-9, so only where the background is steep
    assert np.count_nonzero(found) - np.count_nonzero(truth) <= 5


def test_master_has_small_scales_of_the_dome_and_large_ones_of_the_twilight():
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:200, :240]
    pixels = 1 + 0.02 * rng.standard_normal((200, 240))
    lamp, sky = 1 + 0.2 * x / 240, 1 - 0.1 * y / 200
    dome = Frame(pixels * lamp, variance=np.full((200, 240), 1e-6), name="dome")
    twilight = Frame(pixels * sky * (1 + 0.01 * rng.standard_normal((200, 240))), name="sky")
    product = master_flat(dome, twilight).products[0]
    truth = pixels * sky
    ratio = product.content.data / (truth / truth.mean())
    # what the twilight's noise of 1 % leaves after averaging over some hundred pixels, and the low-pass at the edges
    assert np.std(ratio) < 0.004
    assert product.attributes.combine_type == 1
    assert values(master_flat(dome, twilight))["mean"] == pytest.approx(1, abs=1e-5)


def test_master_of_one_flat_is_that_flat_and_says_what_lacks():
    flat = Frame(np.random.default_rng(9).normal(1, 0.01, (60, 70)), variance=np.full((60, 70), 1e-4), name="sky")
    product = master_flat(None, flat).products[0]
    np.testing.assert_allclose(product.content.data, flat.data / flat.data.mean(), rtol=1e-5)
    assert product.made_without == ["dome_flat"]
    assert product.attributes.combine_type == 3
    assert master_flat(flat, None, combine_type=3).products[0].attributes.combine_type == 2


def test_bad_pixels_of_the_master_are_replaced_and_masked():
    data = np.ones((60, 70))
    data[10, 10], data[30:34, 30:34] = 0.0, 50.0
    cold = np.zeros((60, 70), np.uint16)
    cold[data != 1] = COLD
    content = master_flat(Frame(data, name="dome"), None, None, Frame(None, mask=cold)).products[0].content
    np.testing.assert_allclose(content.data, 1)
    np.testing.assert_array_equal(content.mask, cold)


def test_flats_of_two_filters_make_no_master():
    from recipes.attributes import FrameAttributes

    one, other = (Frame(np.ones((9, 9)), attributes=FrameAttributes(filter=name), name=name) for name in "VB")
    with pytest.raises(UsageError, match="V is of filter 'V', B of 'B'"):
        master_flat(one, other)
    with pytest.raises(UsageError, match="needs a DomeFlatFrame or a TwilightFlatFrame"):
        master_flat()
