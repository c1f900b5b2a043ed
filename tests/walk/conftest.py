"""One portal with a small reduced night, people of every role, and of all that pages show something."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.night.installation import TREE, Installation, observe
from tests.walk.looking import Walker

PICTURES = TREE / "build" / "walk"


@dataclass(frozen=True)
class Filled:
    """A running portal, and what `filling.py` told of it."""

    installation: Installation
    told: dict[str, Any]

    @property
    def url(self) -> str:
        """Its address."""
        return self.installation.url


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """Reduce a night of two science exposures as a user would, then fill in people and what went wrong."""
    night = observe(tmp_path_factory.mktemp("night") / "simulated", "--chips", "2", "--size", "256x256",
                    "--filters", "r", "--science", "2", "--standards", "0")  # fmt: skip
    installation = Installation(tmp_path_factory.mktemp("walk") / "home")
    installation.start()
    try:
        installation.awrecipe("night", str(night))
        filling = subprocess.run(
            [sys.executable, "-m", "tests.walk.filling"],
            env={**installation.environment, **installation.servers}, cwd=TREE,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert filling.returncode == 0, filling.stderr
        yield Filled(installation, json.loads(filling.stdout))
    finally:
        installation.stop()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots are kept, emptied."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    return PICTURES


@pytest.fixture(scope="session")
def walker(browser: Browser, filled: Filled, pictures: Path) -> Iterator[Walker]:
    """A browser page for all roles, so that no two of them show axe the same page."""
    context = browser.new_context()
    yield Walker(context.new_page(), filled.url, pictures)
    context.close()
