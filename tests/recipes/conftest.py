"""Fixtures of the tests of recipes: a night of the simulated observatory, rendered and reduced once."""

from __future__ import annotations

import pytest

from observatory.night import observe
from observatory.plan import Plan
from recipes.bias import bias
from recipes.products import Outcome
from recipes.reduce import reduce
from tests.recipes.observed import Observed, as_frame


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """One chip of 512 × 640 pixels: seven biases and three science exposures, the second with a satellite."""
    folder = tmp_path_factory.mktemp("observed")
    observe(folder, Plan(chips=1, columns=512, rows=640, seed=11, darks=0, dome_flats=0, transfer_times=(),
                         twilight_flats=0, science=3, rotation_error=0.0))  # fmt: skip
    return Observed(folder)


@pytest.fixture(scope="session")
def bias_frame(observed: Observed):
    return as_frame(bias([observed.raw(note) for note in observed.of_type("BIAS")], observed.read_noise).products[0])


@pytest.fixture(scope="session")
def reduced(observed: Observed, bias_frame) -> list[Outcome]:
    """The science exposures, reduced with a measured bias and the true flat, pixel maps, gain and read noise."""
    return [
        reduce(observed.raw(note), bias_frame, observed.flat, observed.hot, observed.cold, observed.gain,
               observed.read_noise)
        for note in observed.of_type("SCIENCE")
    ]  # fmt: skip
