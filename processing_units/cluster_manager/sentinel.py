"""A small process that outlives the cluster manager by a moment: after a kill -9 it leaves no process and no file.

The jobs' processes die with the fork server and that dies with the cluster manager, by the kernel's doing; what they
have started themselves would not. The sentinel knows every group and directory, and sees the cluster manager's end as
the end of its standard input. Run as a script it imports next to nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_LAST_BREATH_SECONDS = 0.1


class Sentinel:
    """The cluster manager's side."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )

    def guard(self, group: int) -> None:
        """Kill this group should we die."""
        self._say(f"+{group}\n")

    def release(self, group: int) -> None:
        """It ended."""
        self._say(f"-{group}\n")

    def keep_clean(self, directory: Path) -> None:
        """Remove this directory should we die."""
        self._say(f"{directory.absolute()}\n")

    def stop(self) -> None:
        """End the sentinel."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)

    def _say(self, line: str) -> None:
        # One short write to a pipe is atomic, from whatever thread; without a sentinel the next start cleans up.
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.write(line.encode())


def stand_guard() -> None:
    """Listen on standard input until it ends, then kill what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    groups: set[int] = set()
    directories: list[str] = []
    for line in sys.stdin:
        if line.startswith("/"):
            directories.append(line.rstrip("\n"))
        elif line.startswith("+"):
            groups.add(int(line))
        else:
            groups.discard(-int(line))
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    for directory in directories:
        if os.path.isdir(directory):
            time.sleep(_LAST_BREATH_SECONDS)  # who was killed may still be writing
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    stand_guard()
