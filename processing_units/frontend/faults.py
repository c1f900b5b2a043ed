"""Named points at which a test lets this process die: ``AWPORTAL_FAULT=commit.promoted:kill`` (inert otherwise).

``POINT:kill`` sends SIGKILL to the process itself, ``POINT:stop`` stops it (SIGSTOP), and ``POINT:kill:3`` lets the
point pass twice before. The environment is read here and not in the settings, because a fault belongs to one
process and must never reach a configuration.
"""

from __future__ import annotations

import os
import signal
import threading

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_lock = threading.Lock()
_passed = 0


def reach(point: str) -> None:
    """Die or stop here if this is the point that the environment names."""
    wanted, *how = os.environ.get("AWPORTAL_FAULT", "").split(":")
    if wanted != point:
        return
    global _passed  # noqa: PLW0603 - a count of this process, read by nobody else
    with _lock:
        _passed += 1
        is_due = _passed == int(how[1]) if len(how) > 1 else True
    if is_due:
        os.kill(os.getpid(), _SIGNALS[how[0] if how else "kill"])
