"""Stacks of raw frames: the rule in plain numpy, files read as stored, amplifiers, threads, and pulls of width 1."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes import threads
from recipes.attributes import FrameAttributes
from recipes.bias import bias
from recipes.ccd.kernels.lanes import sort_lanes
from recipes.ccd.raw import RawChip
from recipes.ccd.sorting_network import sorting_network
from recipes.ccd.stacking import StackResult, StackRules, clipped_stack
from recipes.dark import dark
from recipes.dome_flat import dome_flat
from recipes.fits_reading import open_fits, read_raw_frame
from recipes.frame import Frame
from recipes.masks import NO_DATA, SATURATED
from recipes.products import Outcome
from recipes.twilight_flat import twilight_flat
from recipes.values import GainLinearity, ReadNoise
from tests.recipes.synthetic import width, write_fits

HEIGHT, HALF, OVERSCAN = 240, 130, 40
NOISES, GAINS = {"A": 4.0, "B": 7.0}, {"A": 1.6, "B": 2.3}
PEDESTALS = {"A": 1000.0, "B": 1400.0}


class TwoAmplifiers:
    """A chip read by two amplifiers, left and right, with the overscan of both between them, or none."""

    def __init__(self, seed: int, overscan: int = OVERSCAN) -> None:
        self.rng = np.random.default_rng(seed)
        self.overscan = overscan
        y, x = np.mgrid[:HEIGHT, : 2 * HALF]
        self.structure = 3.0 * np.sin(y / 30.0)
        self.response = 1 + 0.01 * self.rng.standard_normal((HEIGHT, 2 * HALF)) - 0.1 * ((x - HALF) / HALF) ** 2
        self.gain = self.of_both(GAINS)
        names = ("A", "B")
        starts = {"A": 0, "B": HALF + 2 * overscan}
        amplifiers = []
        for number, name in enumerate(names):
            entry = {"name": name, "data_section": f"[{starts[name] + 1}:{starts[name] + HALF},1:{HEIGHT}]"}
            if overscan:
                first = HALF + number * overscan
                entry["overscan_x"] = f"[{first + 1}:{first + overscan},1:{HEIGHT}]"
            amplifiers.append(entry)
        self.attributes = {"instrument": "twocam", "chip": "1", "amplifiers": amplifiers}

    @staticmethod
    def of_both(values: dict[str, float]) -> np.ndarray:
        """An image of each amplifier's value."""
        return np.hstack([np.full((HEIGHT, HALF), values[name]) for name in ("A", "B")])

    def raw(self, electrons: np.ndarray | float = 0.0) -> np.ndarray:
        """A raw array of that many expected electrons a pixel."""
        image = self.rng.poisson(np.broadcast_to(electrons, self.structure.shape)) / self.gain + self.structure
        parts = []
        for name, light in zip(("A", "B"), np.hsplit(image, 2), strict=True):
            read = np.hstack([light, np.zeros((HEIGHT, self.overscan))]) if name == "A" else np.hstack(
                [np.zeros((HEIGHT, self.overscan)), light])  # fmt: skip
            parts.append(read + PEDESTALS[name] + NOISES[name] * self.rng.standard_normal(read.shape))
        return np.hstack(parts)

    def frames(self, number: int, electrons: np.ndarray | float = 0.0, **more: object) -> list[Frame]:
        """Raw frames of that many electrons."""
        return [
            Frame(self.raw(electrons), attributes=FrameAttributes(**(self.attributes | more)), name=f"f{index}")
            for index in range(number)
        ]


READ_NOISE = ReadNoise(5.5, amplifiers=NOISES)
GAIN = GainLinearity(1.9, amplifiers=GAINS)


def pulls(outcome: Outcome, truth: np.ndarray) -> np.ndarray:
    content = outcome.products[0].content
    return (content.data - truth) / np.sqrt(content.variance)


def plain(stack: np.ndarray, limit: float) -> np.ndarray:
    """The rule of recipes: reject about the median, taken anew until nothing more is rejected."""
    kept = np.ones(stack.shape, bool)
    for _ in range(5):
        median = np.nanmedian(np.where(kept, stack, np.nan), axis=0)
        inside = kept & (np.abs(stack - median) <= limit)
        inside = np.where(inside.any(axis=0), inside, kept)
        if np.array_equal(inside, kept):
            break
        kept = inside
    return np.asarray(np.nanmean(np.where(kept, stack, np.nan), axis=0))


@pytest.mark.parametrize("frames", [3, 4, 10, 31])
def test_mean_is_that_of_the_plain_rule(frames):
    rng = np.random.default_rng(frames)
    # 700 columns: more than one lane, and not a whole number of them
    stack = np.round(1000 + 5 * rng.standard_normal((frames, 9, 700)))
    stack[rng.random(stack.shape) < 0.02] += 400
    chips = [RawChip(Frame(data, name=f"f{index}"), 0) for index, data in enumerate(stack)]
    result = clipped_stack(chips, StackRules(3.0, {"": 5.0}, {"": 0.0}), "stacking", 0, 1)
    # float32 holds 1000 to 6e-5
    np.testing.assert_allclose(result.data, plain(stack, 15.0), rtol=0, atol=2e-4)


@pytest.mark.parametrize("frames", [2, 3, 5, 10, 17, 30])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_sorting_network_sorts_any_number_of_frames(frames, dtype):
    lanes = np.random.default_rng(frames).normal(0, 1000, size=(frames, 77)).astype(dtype)
    expected = np.sort(lanes, axis=0)
    sort_lanes(lanes, np.array(sorting_network(frames)), 77)
    np.testing.assert_array_equal(lanes, expected)


def stack_of_files(
    folder: Path, stack: np.ndarray, rules: StackRules, saturation: float | None = None, **attributes: Any
) -> StackResult:
    """Stack frames that were written as 16-bit numbers."""
    with ExitStack() as files:
        chips = []
        for index, data in enumerate(stack):
            path = write_fits(folder / f"{index}.fits", data.astype(np.uint16))
            frame = read_raw_frame(
                files.enter_context(open_fits(path, path.name)), FrameAttributes(saturation=saturation, **attributes)
            )
            assert frame.stored_zero is not None
            chips.append(RawChip(frame, 6))
        return clipped_stack(chips, rules, "stacking", 0, 1)


def stack_of_arrays(
    stack: np.ndarray, rules: StackRules, saturation: float | None = None, **attributes: Any
) -> StackResult:
    """Stack the same frames from memory, where they are float32."""
    frames = [Frame(data, attributes=FrameAttributes(saturation=saturation, **attributes)) for data in stack]
    return clipped_stack([RawChip(frame, 6) for frame in frames], rules, "stacking", 0, 1)


def assert_same(one: StackResult, other: StackResult) -> None:
    np.testing.assert_array_equal(one.data, other.data)
    np.testing.assert_array_equal(one.variance, other.variance)
    np.testing.assert_array_equal(one.mask, other.mask)
    assert one.rejected == other.rejected


# Of all frames one level, levels in halves, and levels farther from each other than sixteen bits reach.
@pytest.mark.parametrize("offsets", [0.0, 0.5, 40_000.0])
@pytest.mark.parametrize("frames", [3, 10, 31])
def test_whole_numbers_give_what_the_plain_rule_gives(tmp_path, frames, offsets):
    rng = np.random.default_rng(frames)
    levels = offsets * (np.arange(frames) % 2 if offsets > 1000 else rng.integers(-9, 9, frames))
    stack = 5 * rng.standard_normal((frames, 9, 1300)) + 1000
    stack[rng.random(stack.shape) < 0.02] += 60
    stack += levels[:, np.newaxis, np.newaxis]
    odd = rng.random(stack.shape[1:]) < 0.02
    stack[:, odd] = rng.integers(0, 65536, (frames, np.count_nonzero(odd)))  # all of sixteen bits, in any frame
    stack[:, 4] += 20_000  # a bright row, and dark columns beside it
    stack[:, :, 600:640] = 3
    stack = np.clip(np.round(stack), 0, 65535)
    rules = StackRules(3.0, {"": 5.0}, {"": 0.0}, offsets=list(levels))
    found = stack_of_files(tmp_path, stack, rules, saturation=65000.0)
    expected = plain(stack - levels[:, np.newaxis, np.newaxis], 15.0)
    # float32 holds a number to 6e-8 of itself; two are added, and one is large where nothing is near the median.
    np.testing.assert_allclose(found.data, expected, rtol=1.2e-7, atol=1e-5)
    assert_same(found, stack_of_arrays(stack, rules, saturation=65000.0))
    often = np.count_nonzero(stack >= 65000, axis=0) >= (frames + 1) // 2
    np.testing.assert_array_equal((found.mask & SATURATED) != 0, often)


def test_whole_numbers_less_the_overscan_of_each_row_give_what_float_gives(tmp_path):
    rng = np.random.default_rng(8)
    # An overscan of 6 columns has medians in halves.
    stack = np.round(1000 + 5 * rng.standard_normal((7, 40, 806)) + rng.integers(0, 50, (7, 40, 1)))
    stack[rng.random(stack.shape) < 0.01] += 40_000
    rules = StackRules(3.0, {"": 5.0}, {"": 0.0})
    sections = {"data_section": "[1:800,1:40]", "overscan_x": "[801:806,1:40]"}
    found = stack_of_files(tmp_path, stack, rules, **sections)
    assert_same(found, stack_of_arrays(stack, rules, **sections))
    levels = np.median(stack[:, :, 800:], axis=2, keepdims=True)
    assert np.any(levels % 1)
    np.testing.assert_allclose(found.data, plain(stack[:, :, :800] - levels, 15.0), rtol=0, atol=2e-5)


def test_ten_frames_leave_no_outlier_of_fifteen_sigma(tmp_path):
    """Mean-centred 3-sigma clipping of ten frames keeps such outliers: each inflates its own sigma."""
    rng = np.random.default_rng(6)
    stack = 1000 + 5 * rng.standard_normal((10, 300, 300))
    hit = rng.random(stack.shape) < 0.002
    stack[hit] += 75
    rules = StackRules(3.0, {"": 5.0}, {"": 0.0})
    for found in (stack_of_arrays(stack, rules), stack_of_files(tmp_path, np.round(stack), rules)):
        # An accepted mean of ten scatters by 5/sqrt(10) = 1.6 adu; an outlier kept would add 7.5.
        assert np.count_nonzero(np.abs(found.data - 1000) > 5 * 1.7) == 0


def test_weighted_mean_is_that_of_the_plain_rule():
    rng = np.random.default_rng(3)
    norms = np.array([100.0, 200.0, 400.0, 150.0, 250.0])
    stack = rng.poisson(2.0 * norms[:, np.newaxis, np.newaxis], (5, 8, 300)) + 3 * rng.standard_normal((5, 8, 300))
    stack[2, 3, 17] += 5000
    chips = [RawChip(Frame(data, name=f"f{index}"), 0) for index, data in enumerate(stack)]
    result = clipped_stack(chips, StackRules(6.0, {"": 3.0}, {"": 1.0}, norms=norms), "stacking", 0, 1)
    values = stack / norms[:, np.newaxis, np.newaxis]
    expected = np.average(values, axis=0, weights=norms)
    good = np.arange(5) != 2
    expected[3, 17] = np.average(values[good, 3, 17], weights=norms[good])
    np.testing.assert_allclose(result.data, expected, rtol=2e-6)
    assert result.rejected == 1
    total = norms.sum()
    np.testing.assert_allclose(result.variance[0], (expected[0] * total + 5 * 9) / total**2, rtol=1e-5)


@pytest.mark.parametrize("number", [1, 2])
def test_stored_numbers_of_files_give_what_arrays_give(tmp_path, number):
    camera = TwoAmplifiers(1)
    raws = [np.round(camera.raw()).astype(np.uint16) for _ in range(5)]
    attributes = FrameAttributes(**camera.attributes, saturation=60000.0)
    for raw in raws:
        raw[7, 250] = 65000
    in_memory = bias([Frame(raw, attributes=attributes) for raw in raws], READ_NOISE).products[0].content
    threads.allow(number)
    try:
        with ExitStack() as files:
            opened = []
            for index, raw in enumerate(raws):
                path = write_fits(tmp_path / (f"{index}.fits.gz" if index == 1 else f"{index}.fits"), raw)
                opened.append(read_raw_frame(files.enter_context(open_fits(path, path.name)), attributes))
            assert all(frame.stored_zero == 32768 for frame in opened)
            stored = bias(opened, READ_NOISE).products[0].content
    finally:
        threads.allow(1)
    np.testing.assert_array_equal(stored.data, in_memory.data)
    np.testing.assert_array_equal(stored.variance, in_memory.variance)
    np.testing.assert_array_equal(stored.mask, in_memory.mask)
    assert np.count_nonzero(stored.mask & SATURATED) == 1


@pytest.mark.parametrize(("overscan", "method"), [(OVERSCAN, 6), (OVERSCAN, 2), (OVERSCAN, 0), (0, 0)])
def test_bias_of_two_amplifiers_has_pulls_of_width_one(overscan, method):
    camera = TwoAmplifiers(10 + method, overscan)
    product = bias(camera.frames(7), READ_NOISE, overscan_correction=method)
    truth = camera.structure + (camera.of_both(PEDESTALS) if method == 0 else 0)
    # Rows share the overscan's noise, 4 % of the variance: as good as 240 independent rows of it
    found = pulls(product, truth)
    assert np.mean(found) == pytest.approx(0, abs=0.05)
    for half in np.hsplit(found, 2):
        assert width(half) == pytest.approx(1, abs=0.05)
    noises = product.products[0].attributes.read_noise_of_amplifiers
    assert noises == NOISES


def master_bias(camera: TwoAmplifiers, method: int) -> Frame:
    product = bias(camera.frames(12, exposure_time=0.0), READ_NOISE, overscan_correction=method).products[0]
    content = product.content
    return Frame(content.data, variance=content.variance, mask=content.mask, attributes=product.attributes, name="bias")


@pytest.mark.parametrize(("overscan", "method"), [(OVERSCAN, 6), (0, 0)])
def test_dark_of_two_amplifiers_has_pulls_of_width_one(overscan, method):
    camera = TwoAmplifiers(20 + method, overscan)
    master = master_bias(camera, method)
    rate = 0.5 * camera.response  # electron/s
    frames = [
        frame for seconds in (100.0, 100.0, 200.0, 300.0)
        for frame in camera.frames(1, rate * seconds, exposure_time=seconds, temperature=-20.0)
    ]  # fmt: skip
    found = pulls(dark(frames, master, GAIN, overscan_correction=method), rate / camera.gain)
    assert np.mean(found) == pytest.approx(0, abs=0.05)
    for half in np.hsplit(found, 2):
        assert width(half) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("recipe", [dome_flat, twilight_flat])
@pytest.mark.parametrize(("overscan", "method"), [(OVERSCAN, 6), (0, 0)])
def test_flat_of_two_amplifiers_has_pulls_of_width_one(recipe, overscan, method):
    camera = TwoAmplifiers(30 + method, overscan)
    master = master_bias(camera, method)
    frames = [
        frame for level in (600.0, 900.0, 1500.0, 2500.0, 4000.0)
        for frame in camera.frames(1, level * camera.response * camera.gain, exposure_time=level / 100, filter="V")
    ]  # fmt: skip
    outcome = recipe(frames, master, gain_linearity=GAIN, overscan_correction=method)
    middle = camera.response[HEIGHT // 4 : -(HEIGHT // 4), HALF // 2 : -(HALF // 2)]
    found = pulls(outcome, camera.response / middle.mean())
    assert np.mean(found) == pytest.approx(0, abs=0.05)
    for half in np.hsplit(found, 2):
        assert width(half) == pytest.approx(1, abs=0.05)


def test_what_the_bias_does_not_know_is_no_data():
    camera = TwoAmplifiers(40)
    master = master_bias(camera, 6)
    mask = np.zeros(master.shape, np.uint16)
    mask[5, 6] = NO_DATA
    holed = Frame(master.data, variance=master.variance, mask=mask, attributes=master.attributes, name="bias")
    content = dark(camera.frames(3, 50.0, exposure_time=10.0), holed, GAIN).products[0].content
    assert np.argwhere(content.mask).tolist() == [[5, 6]]
    assert content.mask[5, 6] == NO_DATA
