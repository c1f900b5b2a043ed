"""Hosts of a LAN by ssh: the short form of ``make try-lan``, and hosts that are not as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.night.installation import observe
from tests.ways.hosts import needs_hosts
from tests.ways.lan import try_lan
from tests.ways.workers import SMALL

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def hosts() -> None:
    """Skip where no hosts can be made."""
    needs_hosts()


@pytest.mark.timeout(600)
def test_a_night_is_reduced_on_hosts_with_nothing_but_sshd(tmp_path: Path) -> None:
    table = try_lan(tmp_path, observe(tmp_path / "night", *SMALL))
    print(table)
    assert "MEND" not in table
    assert "each committed once" in table
