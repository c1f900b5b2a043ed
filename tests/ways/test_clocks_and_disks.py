"""Two scenes of ``make clocks-and-disks``: a wrong clock with a late cache, and a full data server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.programs import IN_CI
from tests.ways.clocks_and_disks import full_data_server, node_clock, play
from tests.wrong_clock import HOUR


@pytest.mark.processes
@pytest.mark.program("cc", "gcc")
@pytest.mark.skipif(os.geteuid() != 0 and not IN_CI, reason="mounts small disks: run it as root")
@pytest.mark.timeout(600)
def test_nodes_that_read_through_a_cache_outlast_a_wrong_clock_and_a_full_disk(tmp_path: Path) -> None:
    table = play(tmp_path, [lambda stage: node_clock(stage, HOUR)], [full_data_server])
    print(table)
    assert table.count("one product") == 2
