"""A control group for a confined job, where the node lets us make one: the kernel then holds its memory and processes.

Found by trying: version 2 below the group that was delegated to us (systemd's ``Delegate=yes``), or the controllers of
version 1. Without any the watchdog alone holds the sums.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processing_units.contract import Limits

log = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
OF_THIS_PROCESS = Path("/proc/self/cgroup")
_MIB = 1024 * 1024
_REMOVE_TRIES = 20
_NEEDED = {"memory", "pids"}


class ControlGroup:
    """The folders of one job's group; none where groups cannot be made."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders

    @classmethod
    @contextmanager
    def made(cls, limits: Limits, root: Path = ROOT, own: Path = OF_THIS_PROCESS) -> Iterator[ControlGroup]:
        """Make a group with the limits of a job; it is removed at the end, when all its processes are dead."""
        name = f"awportal-{os.getpid()}-{secrets.token_hex(4)}"
        group = cls([])
        for parent, settings in _places(limits, root, own):
            folder = parent / name
            try:
                folder.mkdir()
                group.folders.append(folder)
                for setting, value in settings.items():
                    (folder / setting).write_text(value)
            except OSError as error:
                log.debug("no control group in %s: %s", parent, error)
        try:
            yield group
        finally:
            for folder in group.folders:
                _remove(folder)

    def add(self, pid: int) -> None:
        """Put a process into the group; what it starts belongs to it."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                (folder / "cgroup.procs").write_text(str(pid))


def _places(limits: Limits, root: Path, own: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the groups below which ours could be made, with what is written into it."""
    memory, processes = str(limits.memory_mib * _MIB), str(limits.processes)
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for number, controllers, path in lines:
        below = path.lstrip("/")
        if number == "0" and (root / "cgroup.controllers").exists():
            # A group that holds processes cannot hold groups with controllers: ours goes beside our own.
            beside = (root / below).parent
            with contextlib.suppress(OSError):
                if set((beside / "cgroup.subtree_control").read_text().split()) >= _NEEDED and beside != root:
                    yield beside, {"memory.max": memory, "memory.swap.max": "0", "pids.max": processes}
        elif controllers == "pids":
            yield root / "pids" / below, {"pids.max": processes}
        elif controllers == "memory":
            yield root / "memory" / below, {"memory.limit_in_bytes": memory}


def _remove(folder: Path) -> None:
    for _ in range(_REMOVE_TRIES):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # the last process is still being taken apart
            time.sleep(0.05)
        else:
            return
    log.warning("the control group %s could not be removed", folder)
