"""What a confined job uses as a whole, beyond what the kernel limits for each process: processes and bytes written."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from processing_units.cluster_manager.faults import FaultError
from processing_units.contract import FaultKind, Limits

MOST_FILES = 20_000
DEEPEST_FOLDER = 60
LOOK_AT_DISK_SECONDS = 0.1
_MOST_DESCRIPTORS = 20_000
_MIB = 1024 * 1024
_BLOCK = 512


class _TooMuch(Exception):
    """A bound was passed while counting."""


class Containment:
    """Counts what the processes of one job use; ``check`` is asked several times a second by the watchdog.

    Parameters
    ----------
    limits : Limits
        Of the whole job.
    folders : sequence of Path
        All that it can write on a disk.
    not_its_own : str
        The name of a folder right below these that it can only read.
    """

    def __init__(self, limits: Limits, folders: Sequence[Path], not_its_own: str = "inputs") -> None:
        self._limits = limits
        self._folders = folders
        self._not_its_own = not_its_own
        self._files = 0
        self._look_at = 0.0

    def check(self, members: Sequence[int]) -> FaultError | None:
        """Return the first limit that the job has passed, or None."""
        if len(members) > self._limits.processes:
            return FaultError(
                FaultKind.FATAL,
                f"The shipped code started {len(members)} processes at a time; its limit is {self._limits.processes}.",
                hint="Start fewer, and wait for them.",
            )
        if time.monotonic() < self._look_at:
            return None
        try:
            used = self.bytes_written() + deleted_bytes(members)
        except _TooMuch as why:
            return FaultError(FaultKind.FATAL, f"The shipped code {why}.", hint="Write fewer files, in plain folders.")
        finally:
            self._look_at = time.monotonic() + LOOK_AT_DISK_SECONDS
        if used > self._limits.disk_mib * _MIB:
            return FaultError(
                FaultKind.FATAL,
                f"The shipped code wrote {used / _MIB:.0f} MiB; its limit is {self._limits.disk_mib} MiB.",
                hint="Remove what is no longer needed while it runs, or give it fewer inputs.",
            )
        return None

    def bytes_written(self) -> int:
        """Return the bytes that its files take on the disk; raises _TooMuch for too many or hidden ones."""
        self._files = 0
        return sum(self._below(str(folder), None, 0) for folder in self._folders)

    def _below(self, name: str, parent: int | None, depth: int) -> int:
        # By descriptors: a path could grow longer than the kernel takes, and a folder could turn into a link.
        if depth > DEEPEST_FOLDER:
            raise _TooMuch(f"made folders more than {DEEPEST_FOLDER} deep")
        try:
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except PermissionError:
            raise _TooMuch("made a folder that cannot be looked into") from None
        except OSError:
            return 0  # gone meanwhile
        used = 0
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not depth and entry.name == self._not_its_own:
                        continue
                    self._files += 1
                    if self._files > MOST_FILES:
                        raise _TooMuch(f"made more than {MOST_FILES} files")
                    with contextlib.suppress(FileNotFoundError):
                        found = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                        used += found.st_blocks * _BLOCK
                        if stat.S_ISDIR(found.st_mode):
                            used += self._below(entry.name, folder, depth + 1)
        finally:
            os.close(folder)
        return used


def deleted_bytes(members: Sequence[int]) -> int:
    """Return the bytes of files that were deleted and are still open or mapped: no folder shows them."""
    seen: dict[tuple[int, int], int] = {}
    looked = 0
    for pid in members:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                looked += 1
                if looked > _MOST_DESCRIPTORS:
                    raise _TooMuch("holds too many files open")
                with contextlib.suppress(OSError):
                    found = os.stat(f"/proc/{pid}/fd/{name}")
                    if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                        seen[found.st_dev, found.st_ino] = found.st_blocks * _BLOCK
        seen |= _deleted_maps(pid)
    return sum(seen.values())


def _deleted_maps(pid: int) -> dict[tuple[int, int], int]:
    """Return by (device, inode) how much of deleted files a process has mapped."""
    mapped: dict[tuple[int, int], int] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            if line.endswith(" (deleted)"):
                addresses, _, _, device, inode = line.split(maxsplit=5)[:5]
                begin, end = (int(address, 16) for address in addresses.split("-"))
                major, minor = (int(number, 16) for number in device.split(":"))
                key = (os.makedev(major, minor), int(inode))
                mapped[key] = mapped.get(key, 0) + end - begin
    return mapped
