"""Named points at which a test lets this process die or stop; inert unless its environment says otherwise.

``AWPORTAL_FAULT=commit.promoted:kill`` sends SIGKILL to the process itself, ``POINT:stop`` stops it (SIGSTOP), and
``POINT:kill:3`` lets the point pass twice before. ``AWPORTAL_FAULTS=DIRECTORY`` is for processes that run already: the
first that reaches a point of which there is a file in the directory takes the file away, as ``POINT.PID``, and does
what it says. The environment is read here and not in the settings, because a fault belongs to one process and must
never reach a configuration.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_lock = threading.Lock()
_passed = 0


def reach(point: str) -> None:
    """Die or stop here if somebody wants that of this point."""
    wanted, *how = os.environ.get("AWPORTAL_FAULT", "").split(":")
    if wanted == point and _is_due(how):
        os.kill(os.getpid(), _SIGNALS[how[0] if how else "kill"])
    directory = os.environ.get("AWPORTAL_FAULTS", "")
    if directory:
        _take(Path(directory) / point)


def _is_due(how: list[str]) -> bool:
    global _passed  # noqa: PLW0603 - a count of this process, read by nobody else
    with _lock:
        _passed += 1
        return _passed == int(how[1]) if len(how) > 1 else True


def _take(wanted: Path) -> None:
    """Do what the file says, if it is there and nobody else was faster."""
    taken = wanted.with_name(f"{wanted.name}.{os.getpid()}")
    try:
        how = wanted.read_text().strip()
        wanted.rename(taken)
    except FileNotFoundError:
        return
    os.kill(os.getpid(), _SIGNALS[how])
