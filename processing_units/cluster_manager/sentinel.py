"""A small process that outlives the cluster manager by a moment: it kills the process groups that a kill -9 left over.

The jobs' processes die with the fork server and that dies with the cluster manager, by the kernel's doing; what they
have started themselves would not. The sentinel knows every group and sees the cluster manager's end as the end of its
standard input. Run as a script it imports next to nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


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
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    stand_guard()
