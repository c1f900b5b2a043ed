"""Bias against a camera of known bias structure, and its variance against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.bias import bias
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import NO_DATA, SATURATED
from recipes.values import ReadNoise
from tests.recipes.synthetic import Camera, width


def values(outcome):
    return {value.name: value.value for value in outcome.products[0].measured}


def test_master_is_the_structure_and_pulls_have_width_one():
    camera = Camera(whole_numbers=False)
    product = bias(camera.biases(8), ReadNoise(5.0)).products[0]
    pulls = (product.content.data - camera.structure) / np.sqrt(product.content.variance)
    # 48,000 pixels, but rows share their overscan's noise, 5 % of the variance: 200 independent rows
    assert np.mean(pulls) == pytest.approx(0, abs=0.05)
    assert width(pulls) == pytest.approx(1, abs=0.05)
    assert product.attributes.overscan_correction == 6


@pytest.mark.parametrize("method", [0, 2, 6])
def test_pulls_have_width_one_with_other_methods(method):
    camera = Camera(whole_numbers=False, seed=method + 3)
    product = bias(camera.biases(6), ReadNoise(5.0), overscan_correction=method).products[0]
    truth = camera.structure + (camera.pedestal if method == 0 else 0)
    assert width((product.content.data - truth) / np.sqrt(product.content.variance)) == pytest.approx(1, abs=0.05)


def test_drifting_level_is_followed_by_the_overscan():
    camera = Camera()
    frames = [camera.expose(drift=-2.0 * index, name=f"b{index}") for index in range(6)]
    found = values(bias(frames, ReadNoise(5.0)))
    assert found["mean"] == pytest.approx(camera.structure.mean(), abs=0.1)
    # 3 sigma about the median of six values: a few in a thousand of good values
    assert found["rejected_fraction"] < 0.01


def test_drifting_level_without_overscan_is_levelled_and_said():
    camera = Camera(overscan=0)
    frames = [camera.expose(drift=30.0 * index, name=f"b{index}") for index in range(4)]
    outcome = bias(frames, ReadNoise(5.0))
    product = outcome.products[0]
    assert values(outcome)["rejected_fraction"] < 0.01
    assert values(outcome)["mean"] == pytest.approx(1045 + camera.structure.mean(), abs=0.2)
    assert any("brought to their mean" in note for note in product.notes)
    assert product.made_without == ["overscan"]
    assert not next(value for value in product.measured if value.name == "mean").limited


def test_cosmic_rays_are_rejected_and_saturated_columns_marked():
    camera = Camera(whole_numbers=False)
    frames, rng = [], np.random.default_rng(9)
    for frame in camera.biases(5):
        raw = np.array(frame.data)
        raw[:, 99] = 65535
        raw[rng.integers(0, 200, 50), rng.integers(0, 90, 50)] += 500
        frames.append(Frame(raw, attributes=frame.attributes.model_copy(update={"saturation": 60000.0})))
    content = bias(frames, ReadNoise(5.0)).products[0].content
    assert np.all(content.mask[:, 99] & SATURATED)
    clean = content.data[:, :99] - camera.structure[:, :99]
    assert np.abs(clean).max() < 6 * 5 / np.sqrt(2)


def test_missing_pixels_of_one_frame_take_nothing_away():
    camera = Camera(whole_numbers=False, overscan=0)
    raws = [np.array(frame.data) for frame in camera.biases(4)]
    raws[1][10, 10] = np.nan
    for raw in raws:
        raw[20, 20] = np.nan
    content = bias([Frame(raw) for raw in raws], ReadNoise(5.0)).products[0].content
    assert content.mask[10, 10] == 0
    assert content.variance[10, 10] == pytest.approx(25 / 3)
    assert content.mask[20, 20] == NO_DATA
    assert np.isfinite(content.data).all()


def test_read_noise_is_found_where_none_is_given():
    product = bias(Camera().biases(4)).products[0]
    assert product.attributes.read_noise == pytest.approx(5.0, rel=0.02)


def test_strips_are_the_whole(monkeypatch):
    frames = Camera().biases(5)
    whole = bias(frames, ReadNoise(5.0)).products[0].content
    monkeypatch.setattr("recipes.ccd.stacking._STRIP_BYTES", 5 * 272 * 4 * 7)
    strips = bias(frames, ReadNoise(5.0)).products[0].content
    np.testing.assert_array_equal(whole.data, strips.data)
    np.testing.assert_array_equal(whole.variance, strips.variance)


def test_difference_from_the_one_before_is_measured():
    camera = Camera()
    first = bias(camera.biases(4), ReadNoise(5.0)).products[0]
    before = Frame(first.content.data, attributes=first.attributes)
    assert abs(values(bias(camera.biases(4), ReadNoise(5.0), before))["stdev_difference"]) < 0.1


def test_two_frames_and_read_noise_of_another_chip_are_refused():
    camera = Camera()
    with pytest.raises(UsageError, match="at least 3 frames, got 2"):
        bias(camera.biases(2), ReadNoise(5.0))
    other = ReadNoise(5.0, name="rn", attributes=camera.expose(chip="7").attributes)
    with pytest.raises(UsageError, match="chip '7'"):
        bias(camera.biases(3), other)
