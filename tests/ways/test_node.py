"""A single node and a cluster under one frontend, changed while they work: what ``make try-node`` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.night.installation import observe
from tests.ways.node import try_node

# Calibrations of one chip.
SHORT = ("--chips", "1", "--size", "256x256", "--filters", "r", "--science", "0", "--standards", "0")


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_a_unit_is_changed_on_the_fly_and_no_job_is_lost(tmp_path: Path) -> None:
    table = try_node(tmp_path, observe(tmp_path / "night", *SHORT))
    print(table)
    assert "each committed once, lost 0; nothing was started anew" in table
