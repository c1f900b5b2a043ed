"""NightSkyFlat against the true response of a simulated chip, and what it refuses, leaves out and fills."""

from __future__ import annotations

import numpy as np
import pytest

from observatory.night import observe
from observatory.plan import Plan
from recipes import threads
from recipes.bias import bias
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import COLD, HOT, INTERPOLATED, NO_DATA
from recipes.master_flat import master_flat
from recipes.night_sky_flat import night_sky_flat
from tests.recipes.observed import Observed, as_frame
from tests.recipes.synthetic import Camera


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Observed:
    """A chip with nine dithered exposures of one field, one of them crossed by a satellite."""
    folder = tmp_path_factory.mktemp("sky")
    observe(folder, Plan(chips=1, columns=384, rows=448, seed=21, biases=5, darks=0, dome_flats=0, transfer_times=(),
                         twilight_flats=0, science=9))  # fmt: skip
    return Observed(folder)


@pytest.fixture(scope="module")
def bias_frame(night: Observed) -> Frame:
    return as_frame(bias([night.raw(note) for note in night.of_type("BIAS")], night.read_noise).products[0])


@pytest.fixture(scope="module")
def science(night: Observed) -> list[Frame]:
    return [night.raw(note) for note in night.of_type("SCIENCE")]


def made(night: Observed, bias_frame: Frame, science: list[Frame], flat: Frame | None, **more: object):
    return night_sky_flat(science, bias_frame, flat, night.hot, night.cold, night.gain, night.read_noise, **more)


@pytest.fixture(scope="module")
def outcome(night, bias_frame, science):
    return made(night, bias_frame, science, night.flat)


def values(outcome):
    return {value.name: value.value for value in outcome.products[0].measured}


def of_mean_one(response, good):
    return response / response[good].mean()


def cells(image, side=32):
    """Return the means of cells: what large scales are left when the noise has averaged out."""
    height, width = (length // side for length in image.shape)
    return image[: height * side, : width * side].reshape(height, side, width, side).mean(axis=(1, 3))


def test_it_is_the_response_to_the_sky_and_pulls_have_width_one(night, outcome):
    content = outcome.products[0].content
    good = content.mask == 0
    truth = of_mean_one(night.flat.data, good)
    pulls = ((content.data - truth) / np.sqrt(content.variance))[good]
    assert np.std(pulls) == pytest.approx(1, abs=0.05)
    # The wings of what is masked add less than a thirtieth of the noise of a pixel.
    assert abs(np.mean(pulls)) < 0.03
    assert values(outcome)["mean"] == pytest.approx(1, abs=1e-5)
    ratio = cells(np.where(good, content.data / truth, 1))
    expected = values(outcome)["relative_error"] / 32
    # Sources are masked in up to all frames but one there: the noise is that of fewer frames than usual.
    assert np.std(ratio) < 2 * expected


def test_a_wrong_flat_to_find_sources_with_changes_little(night, bias_frame, science, outcome):
    _, x = np.mgrid[: night.flat.shape[0], : night.flat.shape[1]]
    wrong = night.calibration(night.flat.data * (0.95 + 0.1 * x / x.max()), "wrong", "r")
    right, other = outcome.products[0].content, made(night, bias_frame, science, wrong).products[0].content
    good = (right.mask == 0) & (other.mask == 0)
    ratio = np.where(good, other.data / right.data / np.median(other.data[good] / right.data[good]), 1)
    # Of a gradient of 10 % nothing comes through; other pixels are masked, whose noise stays: 1.5 % over 32 × 32.
    assert np.std(cells(ratio)) < 1e-3


def test_holes_are_counted_and_filled_with_the_response_around(night, outcome):
    content = outcome.products[0].content
    holes = content.mask == INTERPOLATED
    assert np.count_nonzero(holes) == values(outcome)["holes"] > 0
    truth = of_mean_one(night.flat.data, content.mask == 0)
    np.testing.assert_allclose(content.data[holes], truth[holes], rtol=0.01)
    assert np.all(content.variance[holes] > np.median(content.variance))


def test_bad_pixels_keep_their_cause_and_get_a_value(night, outcome):
    content = outcome.products[0].content
    assert np.all(content.mask[night.where("HOT")] & HOT)
    assert np.all(content.mask[night.where("COLD")] & COLD)
    assert np.isfinite(content.data).all()
    assert (content.data > 0).all()


def test_without_gain_flat_and_maps_it_serves_and_says_what_it_assumed(night, bias_frame, science):
    product = night_sky_flat(science, bias_frame).products[0]
    assert any("Gain unknown" in note for note in product.notes)
    good = (product.content.mask == 0) & ~night.where("HOT") & ~night.where("COLD")
    truth = of_mean_one(night.flat.data, good)
    assert np.median(np.abs(product.content.data / truth - 1)[good]) < 0.02


def test_frames_of_one_place_are_refused(night, bias_frame, science):
    with pytest.raises(UsageError, match="look at 1 different place on the sky"):
        made(night, bias_frame, [science[0]] * 5, night.flat)
    with pytest.raises(UsageError, match="look at 2 different places"):
        made(night, bias_frame, [science[0], science[0], science[0], science[5], science[5]], night.flat)


def test_dark_and_crowded_frames_are_left_out_by_name(night, bias_frame, science):
    dark = Frame(
        np.full_like(science[0].data, np.median(bias_frame.data)), attributes=science[0].attributes, name="dark"
    )
    raw = np.array(science[0].data)
    random = np.random.default_rng(3)
    y, x = random.integers(0, raw.shape[0], 9000), random.integers(0, raw.shape[1] - 40, 9000)
    raw[y, x] += 20000
    crowded = Frame(raw, attributes=science[0].attributes, name="crowded")
    outcome = made(night, bias_frame, [dark, crowded, *science[:6]], night.flat)
    reasons = {entry.name: entry.reason for entry in outcome.left_out}
    assert set(reasons) == {"dark", "crowded"}
    assert "below 30" in reasons["dark"]
    assert "sources cover" in reasons["crowded"]
    with pytest.raises(UsageError, match="4 of the 5 frames show enough sky"):
        made(night, bias_frame, [dark, *science[:4]], night.flat)


def test_too_few_frames_and_an_unknown_level_are_refused(night, bias_frame, science):
    with pytest.raises(UsageError, match="at least 5 frames, got 4"):
        made(night, bias_frame, science[:4], night.flat)
    frames = Camera(overscan=0).biases(5, filter="r")
    with pytest.raises(UsageError, match="its level cannot be known"):
        night_sky_flat(frames)


def test_the_same_bytes_with_two_threads(night, bias_frame, science, outcome):
    threads.allow(2)
    try:
        again = made(night, bias_frame, science, night.flat)
    finally:
        threads.allow(1)
    np.testing.assert_array_equal(again.products[0].content.data, outcome.products[0].content.data)
    np.testing.assert_array_equal(again.products[0].content.variance, outcome.products[0].content.variance)


def test_master_flat_takes_the_large_scales_of_the_sky_alone(night, outcome):
    y, x = np.mgrid[: night.flat.shape[0], : night.flat.shape[1]]
    lamp = night.flat.data * (0.95 + 0.1 * x / x.max()) * (1.02 - 0.04 * (y / y.max()) ** 2)
    dome = night.calibration(lamp, "DomeFlatFrame", "r", variance=np.full(lamp.shape, 1e-6, np.float32))
    sky = as_frame(outcome.products[0])
    plain, corrected = master_flat(dome), master_flat(dome, night_sky_flat=sky)
    good = corrected.products[0].content.mask == 0
    truth = of_mean_one(night.flat.data, good)
    left = [np.std(cells(np.where(good, made.products[0].content.data / truth, 1))) for made in (plain, corrected)]
    assert left[0] > 0.02
    assert left[1] < 0.0015
    # Pixel by pixel nothing but the smooth factor has come in: no noise of the sky.
    ratio = corrected.products[0].content.data / plain.products[0].content.data
    assert np.std(np.diff(ratio, axis=1)) < 2e-4
    assert corrected.products[0].attributes.night_sky_flat == sky.name
    assert any("large scales of NightSkyFlatFrame" in note for note in corrected.products[0].notes)
    assert values(corrected)["mean"] == pytest.approx(1, abs=1e-5)


def test_a_night_sky_flat_that_agrees_is_left_out_of_the_master(night):
    noise = np.random.default_rng(5).normal(1, 0.02, night.flat.shape)
    dome = night.calibration(night.flat.data, "dome", "r")
    sky = night.calibration(night.flat.data * noise, "sky", "r", variance=(0.02 * night.flat.data) ** 2)
    outcome = master_flat(dome, night_sky_flat=sky)
    assert [entry.name for entry in outcome.left_out] == ["sky"]
    # Without a variance the noise is taken from the pixels.
    sky = night.calibration(night.flat.data * noise, "sky", "r")
    assert [entry.name for entry in master_flat(dome, night_sky_flat=sky).left_out] == ["sky"]
    other = night.calibration(night.flat.data, "sky", "B")
    with pytest.raises(UsageError, match="filter"):
        master_flat(dome, night_sky_flat=other)


def test_pixels_that_no_frame_has_are_no_data(night, bias_frame, science):
    flat = np.array(night.flat.data)
    flat[:40, :40] = 0.0
    content = made(night, bias_frame, science, night.calibration(flat, "vignetted", "r")).products[0].content
    assert np.all(content.mask[:40, :40] & NO_DATA)
