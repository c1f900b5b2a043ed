"""Machines that share no folder and may not call out: the short form of ``make try-noshare``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.night.installation import observe
from tests.ways.hosts import needs_hosts
from tests.ways.noshare import try_noshare
from tests.ways.workers import SMALL

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def hosts() -> None:
    """Skip where no hosts can be made."""
    needs_hosts(("nft", "nftables"))


@pytest.mark.timeout(600)
def test_a_night_is_reduced_on_machines_that_may_not_call_out(tmp_path: Path) -> None:
    table = try_noshare(tmp_path, observe(tmp_path / "night", *SMALL))
    print(table)
    assert "MEND" not in table
    assert "each committed once" in table
