"""A small night, rendered once."""

import json
from pathlib import Path

import pytest

from observatory.night import observe
from observatory.plan import Plan

SMALL = Plan(chips=2, columns=160, rows=200, biases=4, darks=1, dome_flats=2, transfer_times=(2.0,), twilight_flats=2,
             science=2, filters=("i",))  # fmt: skip


@pytest.fixture(scope="session")
def plan() -> Plan:
    return SMALL


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    observe(folder, SMALL)
    return folder


@pytest.fixture(scope="session")
def notes(night: Path) -> dict:
    return json.loads((night / "truth" / "night.json").read_text())
