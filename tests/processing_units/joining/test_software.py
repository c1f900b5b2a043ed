"""What a machine keeps of old software: what nobody has used for a month goes, what somebody uses stays."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from processing_units.joining.software import UNUSED_DAYS, Software


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's software: two old environments, one of them in use, and one that was used yesterday."""
    for name, days in (("environment-old", UNUSED_DAYS + 1), ("code-held", UNUSED_DAYS + 1), ("code-new", 1)):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").write_text("x")
        lock = tmp_path / "locks" / name
        lock.parent.mkdir(exist_ok=True)
        lock.touch()
        used = time.time() - days * 86400
        os.utime(lock, (used, used))
    return tmp_path


def made(software: Software, root: Path, name: str) -> None:
    """Install something as `environment` and `code` do."""
    software._made(name, (root / name).exists, lambda building, _: building.mkdir())


def folders(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} - {"locks"}


def test_what_nobody_used_for_a_month_goes_when_something_new_is_installed(root: Path) -> None:
    said: list[str] = []
    with (root / "locks" / "code-held").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # as a running cluster manager does
        made(Software(root, said.append), root, "code-newest")
    assert folders(root) == {"code-held", "code-new", "code-newest"}
    assert said == [f"removing environment-old, unused for {UNUSED_DAYS} days"]


def test_nothing_goes_where_nothing_is_installed(root: Path) -> None:
    made(Software(root, pytest.fail), root, "code-new")
    assert folders(root) == {"environment-old", "code-held", "code-new"}


def test_what_is_used_again_stays_and_is_young_again(root: Path) -> None:
    software = Software(root, lambda _: None)
    made(software, root, "environment-old")
    made(software, root, "code-newest")
    assert "environment-old" in folders(root)
    assert time.time() - (root / "locks" / "environment-old").stat().st_mtime < UNUSED_DAYS * 86400
    assert "code-held" not in folders(root)
