"""What all tests share: where the real frames are, and that a skip for want of a program is a failure in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("AWPORTAL_SHARED", TREE.parent / "shared"))
IN_CI = os.environ.get("CI") == "true"

# marker: (is it there?, what a user would install)
NEEDS = {
    "real_frames": ((SHARED / "data").is_dir, f"the real frames are not at {SHARED / 'data'}"),
    "browser": (lambda: chromium() is not None, "there is no Chromium: apt-get install chromium"),
    "postgresql": (
        lambda: postgresql_programs() is not None,
        "PostgreSQL is not installed: apt-get install postgresql",
    ),
}


def chromium() -> str | None:
    """Return the path of Chromium, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def postgresql_programs() -> Path | None:
    """Return the directory of initdb and pg_ctl, if there is one."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the machine has not got, with the reason; in CI that is a failure."""
    for marker, (is_there, reason) in NEEDS.items():
        if item.get_closest_marker(marker) and not is_there():
            if IN_CI:
                pytest.fail(f"in CI nothing may be missing, but {reason}", pytrace=False)
            pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is quick first, then what starts processes, then browsers: a plain mistake is seen early."""
    order = {"processes": 1, "browser": 2}
    items.sort(
        key=lambda item: max((order[mark.name] for mark in item.iter_markers() if mark.name in order), default=0)
    )


@pytest.fixture(scope="session")
def real_frames() -> Path:
    """Directory of the real raw frames."""
    return SHARED / "data"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, object]) -> dict[str, object]:
    """Use the system's Chromium, which may run as root in CI, and keep it off the network."""
    quiet = [
        "--disable-gpu",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {**browser_type_launch_args, "executable_path": chromium(), "args": [*sandbox, *quiet]}


def needs_program(program: str, package: str) -> str:
    """Return the path of a program that a test calls; skip with the reason where it is missing, fail in CI."""
    path = shutil.which(program)
    if path is None:
        reason = f"there is no {program}: apt-get install {package}"
        if IN_CI:
            pytest.fail(f"in CI nothing may be missing, but {reason}", pytrace=False)
        pytest.skip(reason)
    return path
