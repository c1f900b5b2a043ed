"""Gain against a camera of known gain: one level, many levels, twilight, amplifiers, saturation."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.attributes import Amplifier, FrameAttributes
from recipes.bias import bias
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.gain import gain
from recipes.values import ReadNoise
from tests.recipes.synthetic import Camera
from tests.recipes.test_dark_and_hot_pixels import as_frame


def values(outcome):
    return {value.name: value.value for value in outcome.products[0].measured}


@pytest.fixture(scope="module")
def camera():
    return Camera(gain=1.7, read_noise=6.0, seed=21)


@pytest.fixture(scope="module")
def master_bias(camera):
    return as_frame(bias(camera.biases(10), ReadNoise(6.0)))


def test_gain_of_flats_of_one_level(camera, master_bias):
    outcome = gain(camera.flats([20000] * 5), master_bias, ReadNoise(6.0))
    content = outcome.products[0].content
    # 4 pairs of 48,000 pixels: sqrt(2/192000) = 0.32 %, half as much again since pairs share frames
    assert content.gain == pytest.approx(1.7, rel=0.015)
    assert abs(content.gain - 1.7) < 4 * content.gain_error
    assert content.nonlinearity is None
    assert outcome.products[0].made_without == ["linearity"]


def test_transfer_curve_gives_gain_read_noise_and_linearity(camera, master_bias):
    levels = [level for level in (500, 1000, 2000, 5000, 10000, 20000, 40000) for _ in range(2)]
    outcome = gain(camera.flats(levels), master_bias, ReadNoise(1.0))
    content = outcome.products[0].content
    assert content.gain == pytest.approx(1.7, rel=0.02)
    assert abs(content.gain - 1.7) < 4 * content.gain_error
    # the intercept is that of the lowest levels, where photons make 9 times the read noise's variance
    assert values(outcome)["read_noise"] == pytest.approx(6.0, rel=0.25)
    assert content.nonlinearity < 0.005
    assert len(content.transfer_curve) == 7
    columns = {name: column.values for name, column in content.transfer_curve.columns.items()}
    # the variance of n pixels is good to sqrt(2 / n), and there are 48,000
    np.testing.assert_allclose(columns["FIT"], columns["VARIANCE"], rtol=5 * np.sqrt(2 / 48000))
    np.testing.assert_allclose(columns["EXCESS"], columns["VARIANCE"] - columns["FIT"])


def test_nonlinearity_is_seen(camera, master_bias):
    frames = []
    for level in (1000, 5000, 10000, 20000, 40000):
        bent = level * (1 - 0.05 * level / 40000)
        frames += camera.flats([bent, bent], exposure_time=level / 1000)
    found = gain(frames, master_bias, ReadNoise(6.0)).products[0].content.nonlinearity
    # the worst departure from the best proportional law of a 5 % bend
    assert 0.02 < found < 0.06


def test_full_well_is_where_the_noise_falls_and_does_not_spoil_the_gain(camera, master_bias):
    """Above 30,000 adu charge spreads: the level grows on, its noise does not."""
    frames = camera.flats([level for level in (2000, 5000, 10000, 20000, 30000) for _ in range(2)])
    rng = np.random.default_rng(8)
    for index in range(2):
        raw = np.array(frames[0].data)
        raw[:, :240] = 40000 * camera.response + 1000 + rng.normal(0, 40, (200, 240))
        attributes = frames[0].attributes.model_copy(update={"exposure_time": 40.0})
        frames.append(Frame(raw, attributes=attributes, name=f"full{index}.fits", kind="RawDomeFlat"))
    content = gain(frames, master_bias, ReadNoise(6.0)).products[0].content
    assert content.full_well == pytest.approx(30000 * camera.response.mean(), rel=0.01)
    assert content.gain == pytest.approx(1.7, rel=0.02)


def test_twilight_pairs_of_one_level_serve_although_their_times_differ(camera, master_bias):
    sky = 1 + 0.1 * np.linspace(0, 1, 240)[np.newaxis, :]
    frames = [
        camera.expose(level * 1.7 * camera.response * tilt, name=f"sky{index}.fits", kind="RawTwilightFlat",
                      exposure_time=time, filter="V")
        for index, (level, tilt, time) in enumerate([(15000, 1, 4.0), (30000, sky, 6.0), (30200, sky[:, ::-1], 9.0)])
    ]  # fmt: skip
    outcome = gain(frames, master_bias, ReadNoise(6.0))
    assert outcome.products[0].content.gain == pytest.approx(1.7, rel=0.025)
    assert [entry.name for entry in outcome.left_out] == ["sky0.fits"]
    assert "2% of its level" in outcome.left_out[0].reason


def test_a_twilight_whose_flats_all_differ_is_scaled(camera, master_bias):
    frames = [
        camera.expose(level * 1.7 * camera.response, name=f"sky{index}.fits", kind="RawTwilightFlat",
                      exposure_time=4.0, filter="V")
        for index, level in enumerate([34000, 25000, 18000, 13000])
    ]  # fmt: skip
    outcome = gain(frames, master_bias, ReadNoise(6.0))
    product = outcome.products[0]
    assert product.content.gain == pytest.approx(1.7, rel=0.02)  # three pairs of 48,000 pixels: 0.4 %
    assert not outcome.left_out
    assert any(note.startswith("No two twilight flats have one level") for note in product.notes)


def test_dome_flats_of_other_exposure_times_are_no_pair(camera, master_bias):
    frames = camera.flats([20000, 20000], exposure_time=20.0)[:1] + camera.flats([20000], exposure_time=30.0)
    with pytest.raises(UsageError, match="4% of its exposure time"):
        gain(frames, master_bias, ReadNoise(6.0))


def test_overscan_serves_where_there_is_no_bias(camera):
    assert gain(camera.flats([20000] * 3)).products[0].content.gain == pytest.approx(1.7, rel=0.02)


def test_level_that_cannot_be_known_is_refused():
    camera = Camera(overscan=0)
    with pytest.raises(UsageError, match="neither a bias nor an overscan"):
        gain(camera.flats([20000] * 2))


def test_saturated_flats_give_no_gain():
    flat = np.full((200, 240), 65535.0)
    frames = [Frame(flat, name=f"f{index}.fits", attributes=FrameAttributes(exposure_time=5)) for index in range(2)]
    with pytest.raises(UsageError, match="no two of the 2 flats make a pair") as caught:
        gain(frames, Frame(np.zeros((200, 240)), name="bias"), ReadNoise(6.0))
    assert "below saturation" in caught.value.hint


def test_each_amplifier_has_its_own_gain():
    rng = np.random.default_rng(31)
    gains = np.where(np.arange(400) < 200, 1.2, 2.4)
    amplifiers = [
        Amplifier(name="L", data_section="[1:200,1:200]"),
        Amplifier(name="R", data_section="[201:400,1:200]"),
    ]
    attributes = FrameAttributes(amplifiers=amplifiers, exposure_time=5.0)
    frames = [
        Frame(rng.poisson(30000, (200, 400)) / gains, attributes=attributes, name=f"f{index}") for index in range(4)
    ]
    content = gain(frames, Frame(np.zeros((200, 400)), name="bias")).products[0].content
    # 3 pairs of 40,000 pixels: 0.41 %
    assert content.of("L") == pytest.approx(1.2, rel=0.02)
    assert content.of("R") == pytest.approx(2.4, rel=0.02)
    assert content.gain == pytest.approx(1.8, rel=0.02)
