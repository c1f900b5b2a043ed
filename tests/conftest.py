"""What all tests share: where the real frames are, and that a skip for want of a program is a failure in CI."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Playwright

from tests.programs import IN_CI, chromium, needs_program, postgresql_programs

TREE = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("AWPORTAL_SHARED", TREE.parent / "shared"))

# What a run leaves until its end.
MEMORY_NEEDED = 8 << 30

# What a test takes about, with and without processes of its own; says which files are long.
SLOW_SECONDS = 3.0
QUICK_SECONDS = 0.2

# marker: (is it there?, what a user would install)
NEEDS = {
    "real_frames": ((SHARED / "data").is_dir, f"the real frames are not at {SHARED / 'data'}"),
    "browser": (lambda: chromium() is not None, "there is no Chromium: apt-get install chromium"),
    "postgresql": (
        lambda: postgresql_programs() is not None,
        "PostgreSQL is not installed: apt-get install postgresql",
    ),
}


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C reach what tests start, and keep their files in memory where there is room."""
    # A shell that starts us in the background has SIGINT ignored, and what we start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Databases and stores wait for the disk at every commit, which makes most of a run's time.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_NEEDED
    if config.option.basetemp is None and roomy:
        config.option.basetemp = tempfile.mkdtemp(prefix="awportal-tests-", dir=memory)
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the machine has not got, with the reason; in CI that is a failure."""
    for marker, (is_there, reason) in NEEDS.items():
        if item.get_closest_marker(marker) and not is_there():
            if IN_CI:
                pytest.fail(f"in CI nothing may be missing, but {reason}", pytrace=False)
            pytest.skip(reason)
    for marker in item.iter_markers("program"):
        needs_program(*marker.args)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what is quick first, that a plain mistake is seen early; with many workers the longest files first.

    A long file that comes last would keep one worker at work while the others have nothing left.
    """
    slow = {"processes": 1, "browser": 2, "program": 1}
    weights = {item: max((slow.get(mark.name, 0) for mark in item.iter_markers()), default=0) for item in items}
    if not hasattr(config, "workerinput"):
        items.sort(key=lambda item: weights[item])
        return
    seconds: Counter[Path] = Counter()
    for item in items:
        seconds[item.path] += SLOW_SECONDS if weights[item] else QUICK_SECONDS
    items.sort(key=lambda item: -seconds[item.path])


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Make the test database, and before it goes end the sessions of processes that tests have killed a moment ago.

    PostgreSQL notices the death of a client only some time later, and does not drop a database that is in use.
    """
    yield
    from django.db import connection

    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="session")
def real_frames() -> Path:
    """Directory of the real raw frames."""
    return SHARED / "data"


@pytest.fixture(scope="session")
def playwright(playwright: Playwright) -> Iterator[Playwright]:
    """Let tests ask the database in the thread in which Playwright keeps an event loop until the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield playwright


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
