"""Judging: limits of the table, limits given, flags, and values that limits do not suit."""

from __future__ import annotations

import math

import pytest

from recipes.quality import LIMITS, QUALITY_FLAGS, Measured, judge, meanings, told_verdict


@pytest.mark.parametrize(("value", "verdict", "flags"), [(9.9, "good", 0), (-10.1, "bad", 1), (10.0, "good", 0)])
def test_mean_of_a_bias_is_held_to_ten_adu(value, verdict, flags):
    measurements, found = judge("BiasFrame", [Measured("mean", value, unit="adu")], {})
    assert (measurements[0].verdict, found) == (verdict, flags)
    assert (measurements[0].minimum, measurements[0].maximum) == (-10, 10)


def test_given_limits_overrule():
    measured = [Measured("read_noise", 8.0)]
    assert judge("ReadNoise", measured, {})[0][0].verdict == "good"
    assert judge("ReducedScienceFrame", [Measured("sky_level", 8.0)], {})[0][0].verdict == "unlimited"
    assert judge("ReadNoise", measured, {"maximum_read_noise": 7.0})[1] == 2
    assert judge("ReadNoise", measured, {"maximum_read_noise": 9.0, "minimum_read_noise": 8.5})[1] == 2


def test_where_limits_would_be_senseless_there_are_none():
    measurements, flags = judge("BiasFrame", [Measured("mean", 1356.0, limited=False)], {})
    assert (measurements[0].verdict, flags) == ("unlimited", 0)


def test_what_could_not_be_measured_is_left_out():
    assert judge("BiasFrame", [Measured("mean", math.nan)], {}) == ([], 0)


def test_flags_have_meanings():
    assert meanings(1 | 4) == [QUALITY_FLAGS[1], QUALITY_FLAGS[4]]
    used = {limit.flag for limits in LIMITS.values() for limit in limits.values()}
    assert used <= set(QUALITY_FLAGS)


def test_a_verdict_says_which_limit_it_went_by() -> None:
    measured = [Measured("stdev", 6.0), Measured("mean", 0.0)]
    given = {"BiasFrame.maximum_stdev": 5.0, "maximum_stdev": 7.0}
    origins = {"BiasFrame.stdev": {"source": "learned", "since": "2026-11-22T02:00:00+00:00"}}
    (stdev, mean), flags = judge("BiasFrame", measured, given, origins)
    assert (stdev.verdict, stdev.maximum, stdev.limit_source) == ("bad", 5.0, "learned")
    assert stdev.limit_since == "2026-11-22T02:00:00+00:00"
    assert told_verdict(stdev) == "bad: above 5, learned since 2026-11-22 02:00"
    assert (mean.verdict, mean.limit_source, mean.limit_since) == ("good", "published", "")
    assert flags == 2
    (other,), _ = judge("HotPixelMap", [Measured("stdev", 6.0)], given, origins)
    assert (other.maximum, other.limit_source) == (7.0, "set")
