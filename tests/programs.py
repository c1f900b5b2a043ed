"""Programs that tests call, and what happens where one is missing: a skip with the reason, in CI a failure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

IN_CI = os.environ.get("CI") == "true"


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


def needs_program(program: str, package: str) -> str:
    """Return the path of a program that a test calls; skip with the reason where it is missing, fail in CI."""
    path = shutil.which(program)
    if path is None:
        reason = f"there is no {program}: apt-get install {package}"
        if IN_CI:
            pytest.fail(f"in CI nothing may be missing, but {reason}", pytrace=False)
        pytest.skip(reason)
    return path
