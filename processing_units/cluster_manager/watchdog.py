"""One thread that holds every job to its limits: wall time, summed memory, size of its log.

A job of the standard code is its process group. One of shipped code is all that lives in its process namespace, and is
held to more (see ``containment``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from processing_units.cluster_manager.faults import FaultError
from processing_units.contract import FaultKind, Limits

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
LOOK_AT_SHIPPED_CODE_SECONDS = 0.05
LARGEST_LOG_MIB = 256
_MIB = 1024 * 1024


def oom_kills() -> int:
    """Count the kernel's kills for want of memory so far, in our control group or, where it has none, on the host."""
    for path, name in (*_control_group_events(), (Path("/proc/vmstat"), "oom_kill")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in path.read_text().splitlines():
                if line.split()[0] == name:
                    return int(line.split()[1])
    return 0


def _control_group_events() -> list[tuple[Path, str]]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return [(Path("/sys/fs/cgroup") / line[3:].lstrip("/") / "memory.events", "oom_kill")]
    return []


@dataclass
class Watched:
    """A process group under watch, and what was seen of it.

    ``namespace`` is the inode of a process namespace that counts in the group's place, ``also`` what is asked of its
    members besides.
    """

    group: int
    limits: Limits
    log_file: Path
    on_breach: Callable[[FaultError], None]
    namespace: int = 0
    also: Callable[[list[int]], FaultError | None] | None = None
    began: float = field(default_factory=time.monotonic)
    peak_mib: float = 0.0
    oom_kills: int = field(default_factory=oom_kills)


class Watchdog(threading.Thread):
    """Looks at all groups five times a second; one pass over the process table serves them all."""

    def __init__(self) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._watched: dict[int, Watched] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._end = False

    def watch(self, watched: Watched) -> None:
        """Begin to watch a group."""
        with self._lock:
            self._watched[watched.group] = watched
        self._wake.set()

    def forget(self, watched: Watched) -> None:
        """Cease to watch a group."""
        with self._lock:
            self._watched.pop(watched.group, None)

    def stop(self) -> None:
        """End the thread."""
        self._end = True
        self._wake.set()

    def run(self) -> None:
        """Look, sleep, look; sleep soundly while there is nothing to watch."""
        # Root's processes are not counted by the kernel. Thousands of a fork bomb must not keep us from the processor.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        while not self._end:
            with self._lock:
                watched = dict(self._watched)
                if not watched:
                    self._wake.clear()
            if not watched:
                self._wake.wait()
                continue
            try:
                self._look(watched)
            except Exception:  # the edge: a watchdog that dies would let every job run wild
                log.exception("the watchdog stumbled and goes on")
            confined = any(watch.namespace for watch in watched.values())
            time.sleep(LOOK_AT_SHIPPED_CODE_SECONDS if confined else LOOK_SECONDS)

    def _look(self, watched: dict[int, Watched]) -> None:
        members = group_members(frozenset(group for group, watch in watched.items() if not watch.namespace))
        members |= namespace_members({watch.namespace: group for group, watch in watched.items() if watch.namespace})
        for group, watch in watched.items():
            breach = watch.also(members[group]) if watch.also else None  # first: to ask 3,000 of a bomb takes long
            if breach is None:
                breach = _breach(watch, self._memory(watch, members[group]))
            if breach is not None:
                self.forget(watch)
                watch.on_breach(breach)

    @staticmethod
    def _memory(watch: Watched, members: list[int]) -> int:
        """Return the bytes that a job's processes use together."""
        rss = sum(_rss(pid) for pid in members)
        if rss > watch.limits.memory_mib * _MIB:
            rss = sum(_proportional(pid) for pid in members)  # count pages shared after fork once
        watch.peak_mib = max(watch.peak_mib, rss / _MIB)
        return rss


def group_members(groups: frozenset[int]) -> dict[int, list[int]]:
    """List the living processes of each group."""
    members: dict[int, list[int]] = defaultdict(list)
    if not groups:
        return members
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            group = os.getpgid(pid)
            if group in groups:
                members[group].append(pid)
    return members


def namespace_members(namespaces: dict[int, int]) -> dict[int, list[int]]:
    """List the living processes of each namespace, under the group that it stands for."""
    members: dict[int, list[int]] = {group: [] for group in namespaces.values()}
    if namespaces:
        for pid in psutil.pids():
            with contextlib.suppress(OSError):
                group = namespaces.get(os.stat(f"/proc/{pid}/ns/pid").st_ino)
                if group is not None:
                    members[group].append(pid)
    return members


def _breach(watch: Watched, rss: int) -> FaultError | None:
    limits = watch.limits
    if rss > limits.memory_mib * _MIB:
        return FaultError(
            FaultKind.OUT_OF_MEMORY,
            f"The job used {rss / _MIB:.0f} MiB of memory; its limit is {limits.memory_mib} MiB.",
            hint="Give it fewer or smaller inputs, or choose a unit with a larger memory limit.",
        )
    if time.monotonic() - watch.began > limits.wall_seconds:
        return FaultError(
            FaultKind.OUT_OF_TIME,
            f"The job ran longer than its limit of {limits.wall_seconds} s.",
            hint="Give it fewer inputs, or choose a unit with a longer time limit.",
        )
    with contextlib.suppress(OSError):
        if watch.log_file.stat().st_size > LARGEST_LOG_MIB * _MIB:
            return FaultError(
                FaultKind.FATAL,
                f"The job wrote more than {LARGEST_LOG_MIB} MiB of log and was stopped.",
                hint="Its log shows what it repeats.",
            )
    return None


def _rss(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(pid: int) -> int:
    try:
        memory = psutil.Process(pid).memory_full_info()
        return int(getattr(memory, "pss", memory.uss))
    except (psutil.Error, OSError):
        return _rss(pid)
