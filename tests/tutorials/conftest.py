"""A portal with a night reduced as `make demo` does, and a folder that looks as a reader's checkout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.night.installation import SCRIPTS, TREE, Installation, observe
from tests.tutorials.follow import Shell

# The whole night of `make demo` (make tutorials), or a small one of the same kind.
WHOLE = bool(os.environ.get("WHOLE_NIGHT"))
SMALL_NIGHT = ("--chips", "1", "--size", "256x256", "--science", "2", "--standards", "0", "--dome-flats", "3",
               "--twilight-flats", "4", "--biases", "4")  # fmt: skip
READER_SECONDS = 1200.0


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """All processes, running, with nothing in the archive."""
    running = Installation(tmp_path_factory.mktemp("portal") / "var")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def reader(portal: Installation, tmp_path: Path) -> Iterator[Shell]:
    """A shell in a folder that has what a checkout has: `.venv` and `var`."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / ".venv").symlink_to(SCRIPTS.parent)
    (checkout / "var").symlink_to(portal.home)
    (checkout / "manage.py").symlink_to(TREE / "manage.py")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWPORTAL_", "DJANGO_", "PYTEST_"))
    }
    shell = Shell(checkout, {**environment, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}, READER_SECONDS)
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def observed(portal: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The portal with the night that `make demo` observes, reduced as it does."""
    night = observe(tmp_path_factory.mktemp("night") / "simulated", *(() if WHOLE else SMALL_NIGHT))
    portal.awrecipe("night", str(night))
    return portal
