"""A small night through a real Slurm: what ``make try-slurm`` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.night.installation import observe
from tests.slurm import PROGRAMS
from tests.ways.slurm import try_slurm
from tests.ways.workers import SMALL


@pytest.mark.processes
@pytest.mark.program(*PROGRAMS[0])
@pytest.mark.program(*PROGRAMS[2])
@pytest.mark.timeout(600)
def test_a_night_is_reduced_through_slurm(tmp_path: Path) -> None:
    table = try_slurm(tmp_path, observe(tmp_path / "night", *SMALL))
    print(table)
    assert "was cancelled in the queue (scancel)" in table
    assert "lost 0, double 0" in table
