"""Median-centred clipping, held to a plain reference and to the trap that mean-centred clipping falls into."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.ccd.clipping import clipped_mean, clipped_statistics, sorted_lanes


def plain_clip(values: np.ndarray, sigma: float, threshold: float) -> tuple[float, int]:
    """The rule, one pixel at a time: reject about the median until nothing more is rejected."""
    kept = values[np.isfinite(values)].astype(np.float64)
    while len(kept):
        inside = kept[np.abs(kept - np.median(kept)) <= threshold * sigma]
        if len(inside) in (0, len(kept)):
            break
        kept = inside
    return (float(np.mean(kept)) if len(kept) else float("nan")), len(kept)


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 10, 17, 30])
def test_sorting_network_sorts_any_number_of_frames(frames):
    stack = np.random.default_rng(frames).normal(size=(frames, 7, 11)).astype(np.float32)
    np.testing.assert_array_equal(np.stack(sorted_lanes(stack)), np.sort(stack, axis=0))


@pytest.mark.parametrize("frames", [3, 4, 10, 31])
def test_clipped_mean_agrees_with_the_plain_rule(frames):
    rng = np.random.default_rng(5)
    stack = (1000 + 5 * rng.standard_normal((frames, 40, 30))).astype(np.float32)
    stack[rng.random(stack.shape) < 0.03] += 300
    valid = rng.random(stack.shape) > 0.02
    found = clipped_mean(stack, 5.0, 3.0, valid, iterations=50)
    for index in np.ndindex(40, 30):
        mean, count = plain_clip(np.where(valid[(slice(None), *index)], stack[(slice(None), *index)], np.nan), 5.0, 3.0)
        assert found.count[index] == count
        # float32 holds 1000 to 6e-5
        assert found.mean[index] == pytest.approx(mean, abs=3e-4, nan_ok=True)


def test_ten_frames_leave_no_outlier_of_fifteen_sigma():
    """Mean-centred 3-sigma clipping of ten frames keeps such outliers: each inflates its own sigma."""
    rng = np.random.default_rng(6)
    stack = (5 * rng.standard_normal((10, 300, 300))).astype(np.float32)
    hit = rng.random(stack.shape) < 0.002
    stack[hit] += 75
    found = clipped_mean(stack, 5.0, 3.0)
    # An accepted mean of ten scatters by 5/sqrt(10) = 1.6 adu; an outlier kept would add 7.5.
    assert np.count_nonzero(np.abs(found.mean) > 5 * 1.7) == 0


def test_weights_weigh():
    stack = np.stack([np.full((4, 4), value, np.float32) for value in (1.0, 2.0, 4.0)])
    found = clipped_mean(stack, 1.0, 5.0, weights=[1, 1, 2])
    np.testing.assert_allclose(found.mean, (1 + 2 + 2 * 4) / 4, rtol=1e-6)
    np.testing.assert_allclose(found.weight, 4)


def test_inputs_are_not_changed():
    stack = np.random.default_rng(1).normal(size=(5, 6, 7)).astype(np.float32)
    before = stack.copy()
    clipped_mean(stack, 0.5, 2.0)
    np.testing.assert_array_equal(stack, before)


def test_statistics_without_outliers_are_those_of_the_rest():
    rng = np.random.default_rng(2)
    values = 100 + 3 * rng.standard_normal(40_000)
    with_outliers = np.concatenate([values, np.full(400, 65535.0), [np.nan, np.inf]])
    found = clipped_statistics(with_outliers, 5.0, 10)
    # error of a standard deviation of n values: sigma / sqrt(2 n)
    assert found.stdev == pytest.approx(3.0, abs=5 * 3 / np.sqrt(2 * 40_000))
    assert found.mean == pytest.approx(100.0, abs=5 * 3 / np.sqrt(40_000))


def test_statistics_of_coarse_whole_numbers_are_right():
    """Read noise below the step of the converter: the MAD is 0 or 1, and must not eat into the sample."""
    values = np.round(np.random.default_rng(3).normal(0, 0.6, 100_000))
    found = clipped_statistics(values, 5.0, 10)
    assert found.stdev == pytest.approx(np.sqrt(0.36 + 1 / 12), rel=0.01)


def test_statistics_of_nothing_are_not_a_number():
    found = clipped_statistics(np.array([np.nan]))
    assert found.count == 0
    assert np.isnan(found.mean)


@pytest.mark.parametrize("part", [0.001, 0.3, 0.6])
@pytest.mark.parametrize("odd", [-np.inf, np.inf, np.nan])
def test_infinite_values_are_not_counted_and_do_not_hang(odd, part):
    random = np.random.default_rng(4)
    values = random.normal(5, 2, 100_000).astype(np.float32)
    values[random.random(values.size) < part] = odd
    found = clipped_statistics(values)
    assert found.count == np.count_nonzero(np.isfinite(values))
    # 40,000 values are left at least: a standard error of 0.01.
    assert found.median == pytest.approx(5, abs=0.05)
    assert found.stdev == pytest.approx(2, abs=0.05)
