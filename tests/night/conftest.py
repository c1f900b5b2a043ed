"""A running installation with a small simulated night, shared by the tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.night.installation import Installation, observe


@pytest.fixture(scope="session")
def small_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files of two chips of 256 × 256 pixels."""
    return observe(tmp_path_factory.mktemp("night") / "simulated", "--chips", "2", "--size", "256x256",
                   "--filters", "r", "--science", "5", "--standards", "0")  # fmt: skip


@pytest.fixture(scope="session")
def short_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files of the same chips, with two science exposures: of each kind of product that is downloaded some."""
    return observe(tmp_path_factory.mktemp("night") / "simulated", "--chips", "2", "--size", "256x256",
                   "--filters", "r", "--science", "2", "--standards", "0")  # fmt: skip


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """All processes, running, with nothing in the archive."""
    running = Installation(tmp_path_factory.mktemp("installation") / "home")
    running.start()
    yield running
    running.stop()
