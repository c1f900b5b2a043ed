"""ReadNoise against a camera of known noise."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.attributes import Amplifier, FrameAttributes
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.read_noise import read_noise
from recipes.values import ReadNoise
from tests.recipes.synthetic import Camera, width

ROUNDING = 1 / 12  # variance that rounding to whole adu adds


def measured(outcome, name):
    return next(value.value for value in outcome.products[0].measured if value.name == name)


def test_read_noise_is_the_camera_s():
    frames = Camera(read_noise=5.0).biases(6)
    content = read_noise(frames).products[0].content
    assert content.read_noise == pytest.approx(np.sqrt(25 + ROUNDING), abs=4 * content.read_noise_error)
    # 5 pairs of 54,400 pixels: the error is at least sigma / sqrt(2 n)
    assert 0.005 < content.read_noise_error < 0.05


def test_error_is_right():
    """Pulls of forty measurements: their width is known to 1/sqrt(80) = 0.11."""
    pulls = []
    for seed in range(40):
        camera = Camera(height=60, width=60, overscan=0, seed=seed, whole_numbers=False)
        content = read_noise(camera.biases(2)).products[0].content
        pulls.append((content.read_noise - 5.0) / content.read_noise_error)
    # with two frames the error is known from the pixels alone, and holds an allowance for correlated pairs (1.5)
    assert width(np.array(pulls)) == pytest.approx(1 / np.sqrt(1.5), abs=3 * 0.11)


def test_hot_columns_and_level_drift_do_not_matter():
    camera = Camera()
    frames = []
    for index, frame in enumerate(camera.biases(4)):
        raw = frame.data + 20 * index
        raw[:, 57] = 65535
        frames.append(Frame(raw, attributes=frame.attributes, name=frame.name))
    assert read_noise(frames).products[0].content.read_noise == pytest.approx(5.0, rel=0.02)


def test_each_amplifier_has_its_own():
    rng = np.random.default_rng(4)
    sigma = np.where(np.arange(200) < 100, 3.0, 8.0)
    amplifiers = [
        Amplifier(name="L", data_section="[1:100,1:150]"),
        Amplifier(name="R", data_section="[101:200,1:150]"),
    ]
    attributes = FrameAttributes(amplifiers=amplifiers)
    frames = [Frame(1000 + sigma * rng.standard_normal((150, 200)), attributes=attributes) for _ in range(4)]
    content = read_noise(frames).products[0].content
    # 3 pairs of 15,000 pixels: 0.3 %
    assert content.of("L") == pytest.approx(3.0, rel=0.015)
    assert content.of("R") == pytest.approx(8.0, rel=0.015)
    assert content.read_noise == pytest.approx(5.5, rel=0.015)


def test_difference_from_the_one_before_is_measured():
    outcome = read_noise(Camera().biases(3), ReadNoise(4.0))
    assert measured(outcome, "read_noise_difference") == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("shape", [(1, 500), (37, 53), (500, 1)])
def test_odd_sizes_serve(shape):
    rng = np.random.default_rng(1)
    frames = [Frame(rng.normal(100, 2, shape)) for _ in range(2)]
    assert read_noise(frames).products[0].content.read_noise == pytest.approx(2, rel=0.2)


def test_the_same_frame_twice_is_refused():
    frame = Camera().biases(1)[0]
    with pytest.raises(UsageError, match=r"bias0\.fits .* no noise") as caught:
        read_noise([frame, frame])
    assert "same frame" in caught.value.hint


def test_frames_of_two_chips_are_refused():
    camera = Camera()
    with pytest.raises(UsageError, match="chip '2'"):
        read_noise([camera.biases(1)[0], camera.expose(name="other.fits", chip="2")])


def test_frames_of_other_amplifiers_are_refused_by_name():

    first, second = Camera().biases(2)
    amplifiers = [Amplifier(name="a", data_section="[1:20,1:200]"), Amplifier(name="b", data_section="[21:240,1:200]")]
    second.attributes = second.attributes.model_copy(update={"amplifiers": amplifiers})
    with pytest.raises(UsageError, match=r"bias1\.fits has amplifiers"):
        read_noise([first, second])
