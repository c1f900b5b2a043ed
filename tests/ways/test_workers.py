"""Workers that come and go while a small night is reduced: the short form of ``make try-workers``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.night.installation import observe
from tests.ways.workers import SMALL, try_workers


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_a_night_is_reduced_by_workers_that_come_and_go(tmp_path: Path) -> None:
    table = try_workers(tmp_path, observe(tmp_path / "night", *SMALL), seed=2, install=False)
    print(table)
    assert table.count("killed in mid-job") == 1
    assert table.count("drained") == 3
    assert "each committed once" in table
