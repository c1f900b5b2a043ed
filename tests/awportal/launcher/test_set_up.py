"""Ctrl-C while the environment is made leaves nothing that would be taken for whole, and no traceback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SET_UP = Path(__file__).parents[3] / "awportal" / "launcher" / "set_up.py"


def test_an_interrupted_set_up_is_one_line(tmp_path: Path) -> None:
    copy = tmp_path / "awportal" / "launcher" / "set_up.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(SET_UP, copy)
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_text("")
    process = subprocess.Popen(
        [sys.executable, str(copy)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as in a terminal, where Ctrl-C reaches the children too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / ".venv").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == "set-up: interrupted; the same command goes on where it was\n"
    assert not (tmp_path / ".venv" / "bin" / "pip").exists()
