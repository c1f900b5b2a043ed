"""Dates and exposure times that cannot be give no epoch of nonsense, and no crash."""

from __future__ import annotations

import pytest

from recipes.attributes import FrameAttributes
from recipes.ccd.reference_stars import epoch_of


@pytest.mark.parametrize("seconds", [None, 1e30, -1e30])
def test_an_exposure_of_ages_has_the_epoch_of_its_start(seconds: float | None) -> None:
    # Noon of 1 January 2000 is J2000.0.
    assert epoch_of(FrameAttributes(date_obs="2000-01-01T12:00:00", exposure_time=seconds)) == 2000.0
