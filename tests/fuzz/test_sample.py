"""A sample of the damaged frames that ``make fuzz`` puts through every recipe."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

from recipes.catalogue import all_recipes
from tests.fuzz.bounded import run_bounded
from tests.fuzz.library import Library

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = 160


def test_a_sample_ends_in_errors_that_tell_or_products_that_tell():
    # A process of its own: each case is forked, and pytest's process has threads and other libraries.
    ended = subprocess.run([sys.executable, "-m", "tests.fuzz", "--cases", str(CASES)], cwd=ROOT, capture_output=True,
                           text=True, timeout=280, check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{CASES} cases" in ended.stdout
    # Both kinds of ends come up, so neither does everything fail nor is nothing damaged.
    ends = dict(entry.rsplit(" ", 1) for entry in ended.stdout.splitlines()[0].split("; ")[1].split(", "))
    assert int(ends["made"]) > 0.2 * CASES
    assert int(ends["refused"]) > 0.2 * CASES


def test_a_case_that_does_not_end_is_reported(tmp_path):
    library = Library.__new__(Library)
    library.entries = {}
    with patch("tests.fuzz.bounded.make_case", lambda *_: time.sleep(60)):
        ending = run_bounded(5, library, tmp_path / "case", most_seconds=0.5)
    assert ending.recipe == list(all_recipes())[5]
    assert (ending.end, ending.wrong) == ("hang", "not ended after 0 s")
    assert ending.seconds < 20
