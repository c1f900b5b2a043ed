"""Clipped statistics of samples: right without outliers, of coarse numbers, and of what is no number."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.ccd.clipping import SampleStatistics, clipped_statistics
from recipes.ccd.kernels.sample import clipped_counts


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


@pytest.mark.parametrize("noise", [0.35, 0.6, 1.0, 1.2, 1.5, 2.0, 2.5])
def test_the_first_cut_does_not_eat_into_numbers_that_come_in_steps(noise):
    """The MAD of whole numbers is whole: 2 where it ought to be 2.5, and a cut at 5 sigma of that is one at 4."""
    values = np.round(np.random.default_rng(5).normal(0, np.hypot(noise, noise), 200_000)).astype(np.int64)
    counts = np.bincount(values - values.min())
    for found in (clipped_statistics(values), SampleStatistics(*clipped_counts(counts, int(values.min()), 5.0, 5))):
        # Of 200,000 Gaussian values 0.1 is farther than 5 sigma: one of them is 6e-5 of the variance.
        assert found.stdev == pytest.approx(np.std(values), rel=2e-4)
        assert found.count >= values.size - 4


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
