"""A camera of which no biases are taken: its shortest darks serve, and nothing is counted twice."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.bias import bias
from recipes.ccd.debias import DebiasedChip
from recipes.dark import dark
from recipes.frame import Frame
from recipes.read_noise import read_noise
from recipes.values import GainLinearity
from tests.recipes.synthetic import Camera

RATE = 0.5  # electron/s


@pytest.fixture(scope="module")
def camera():
    return Camera(overscan=0, whole_numbers=False, seed=21)


@pytest.fixture(scope="module")
def darks(camera):
    return [
        camera.expose(RATE * seconds, name=f"dark{number}_{seconds}.fits", kind="RawDark", exposure_time=seconds)
        for seconds in (60.0, 8.0)
        for number in range(8)
    ]


def as_frame(product):
    content = product.content
    return Frame(content.data, variance=content.variance, mask=content.mask, attributes=product.attributes,
                 unit=content.unit, name=product.kind)  # fmt: skip


def test_the_shortest_darks_serve_and_that_is_said(darks):
    outcome = bias(darks)
    product = outcome.products[0]
    assert product.attributes.dark_time == 8.0
    assert product.attributes.number_of_frames == 8
    assert product.made_without == ["raw_bias", "overscan"]
    assert product.notes[0].startswith("8 darks of 8 s in place of biases")
    assert {entry.reason for entry in outcome.left_out} == {"a dark of 60 s; those of 8 s serve as biases"}
    assert len(outcome.left_out) == 8


def test_read_noise_of_darks_is_that_of_the_camera_and_of_their_dark_current(darks, camera):
    product = read_noise(darks).products[0]
    expected = np.sqrt(camera.read_noise**2 + RATE * 8 / camera.gain**2)
    assert product.content.read_noise == pytest.approx(expected, abs=0.03)  # 4 sigma of 7 pairs of 48,000 pixels


def test_a_dark_current_is_counted_once(darks, camera):
    master = as_frame(bias(darks).products[0])
    outcome = dark(darks, master, GainLinearity(camera.gain))
    assert {entry.name for entry in outcome.left_out} == {f"dark{number}_8.0.fits" for number in range(8)}
    rate = as_frame(outcome.products[0])
    assert np.mean(rate.data) == pytest.approx(RATE / camera.gain, abs=0.002)
    seen = camera.expose(RATE * 30 + 200, kind="RawScience", exposure_time=30.0)
    corrected = DebiasedChip(seen, 6, master, rate).whole()
    assert np.mean(corrected) == pytest.approx(100.0, abs=0.3)


def test_darks_of_one_length_are_biases_and_show_no_rate(darks):
    of_one_length = darks[:8]
    master = as_frame(bias(of_one_length).products[0])
    outcome = dark(of_one_length, master)
    assert outcome.products == ()
    assert "it takes at least 3 longer ones to show a rate" in outcome.left_out[0].reason


def test_biases_go_before_darks(darks, camera):
    biases = [camera.expose(0.0, name=f"bias{number}.fits", kind="RawBias", exposure_time=0.0) for number in range(3)]
    outcome = bias([*darks[:2], *biases])
    assert outcome.products[0].attributes.number_of_frames == 3
    assert not hasattr(outcome.products[0].attributes, "dark_time")
    assert [entry.name for entry in outcome.left_out] == ["dark0_60.0.fits", "dark1_60.0.fits"]
