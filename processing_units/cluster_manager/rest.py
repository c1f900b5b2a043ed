"""A node that fails job after job takes none for a while: in a minute it would spoil the whole queue of its unit."""

from __future__ import annotations

import threading
import time

from processing_units.contract import FaultKind

# Faults that may be the node's own: its disk, its network, its fork server.
_OF_THE_NODE = frozenset({FaultKind.STAGE_IN, FaultKind.STAGE_OUT, FaultKind.DISK_FULL, FaultKind.NODE_LOST})
_FORGIVEN = 2
_FIRST_SECONDS = 2.0
_LONGEST_SECONDS = 30.0


class Rest:
    """Counts failures of the node in a row, and says when it is to rest; one job that is well ends the row.

    What fails at once in all slots is one failure: only an attempt that began after the last one counts anew.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._last = 0.0
        self._until = 0.0

    def note(self, began: float, fault: FaultKind | None) -> None:
        """Note the end of an attempt that began at a time of the monotonic clock, and its fault if it had one."""
        with self._lock:
            if fault not in _OF_THE_NODE:
                if fault != FaultKind.PREEMPTED:
                    self._in_a_row, self._until = 0, 0.0
                return
            if began < self._last:
                return
            self._last = time.monotonic()
            self._in_a_row += 1
            beyond = self._in_a_row - _FORGIVEN
            if beyond > 0:
                self._until = self._last + min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** (beyond - 1))

    def reason(self) -> str:
        """Say why no job is to be taken now, or ""."""
        with self._lock:
            if time.monotonic() >= self._until:
                return ""
            return f"no jobs are claimed for a while: the last {self._in_a_row} failed because of this node"
