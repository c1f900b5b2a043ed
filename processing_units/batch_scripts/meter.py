"""What a script has used of the time and memory that it may have."""

from __future__ import annotations

import os
import resource
import time
from typing import Any

MIB = 1 << 20


class Meter:
    """Says when a script has had its share of time or memory, while it can still be stopped at a line."""

    def __init__(self, cpu_seconds: float, wall_seconds: float, memory_mib: int) -> None:
        self.breach = ""
        self._cpu, self._wall = cpu_seconds, wall_seconds
        self._memory = memory_mib
        self._begin, self._began = _cpu_seconds(), time.monotonic()
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._page = resource.getpagesize()

    @property
    def used(self) -> float:
        """CPU seconds since the script began."""
        return _cpu_seconds() - self._begin

    def is_over(self) -> bool:
        """Whether the script is to be stopped; `breach` says why."""
        elapsed = time.monotonic() - self._began
        if self.used > self._cpu or elapsed > self._wall:
            self.breach = f"it has not ended after {elapsed:.1f} s: does a loop never end?"
        elif int(os.pread(self._statm, 100, 0).split()[0]) * self._page > self._memory * MIB:
            self.breach = "it fills its 256 MB of memory: does a list or text grow without end?"
        return bool(self.breach)


def _cpu_seconds() -> float:
    used: Any = resource.getrusage(resource.RUSAGE_SELF)
    return float(used.ru_utime + used.ru_stime)
