"""Directories of attempts: one each, never reused, removed at the end; those of dead cluster managers are cleaned up.

``SCRATCH/awworker-<cluster manager>/lock`` is held (flock) as long as the cluster manager lives. Whoever can take the
lock of another's directory knows that its owner is dead, kills what it left running, and removes it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psutil

log = logging.getLogger(__name__)

PROCESS_FILE = "process.json"
_PREFIX = "awworker-"
_REMOVE_TRIES = 5


class Scratch:
    """The scratch directory of one cluster manager."""

    def __init__(self, root: Path, cluster_manager: str) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        clean_up_after_the_dead(root)
        self.path = root / f"{_PREFIX}{cluster_manager}"
        # Locked before it has its name: nobody else ever sees it without its lock.
        unnamed = root / f".{self.path.name}"
        unnamed.mkdir(mode=0o700)
        (unnamed / "lock").touch()
        self._lock = take_lock(unnamed)
        unnamed.rename(self.path)

    def place(self, job: int, attempt: int) -> Path:
        """Choose the directory of an attempt, which is not there yet and never was."""
        return self.path / f"{job}-{attempt}-{secrets.token_hex(4)}"

    def free_bytes(self) -> int:
        """Return the room that is left."""
        return shutil.disk_usage(self.path).free

    def remove(self) -> None:
        """Remove all of it."""
        remove_tree(self.path)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def make_directory(directory: Path) -> None:
    """Make the directory of an attempt."""
    directory.mkdir(mode=0o700, parents=True)  # somebody may have tidied up the scratch directory meanwhile
    for name in ("inputs", "outputs", "tmp"):
        (directory / name).mkdir(mode=0o700)


def note_process(directory: Path, pid: int) -> None:
    """Write down which process group belongs to a directory, for whoever must clean up after us."""
    try:
        created = psutil.Process(pid).create_time()
        (directory / PROCESS_FILE).write_text(json.dumps({"pid": pid, "created": created}))
    except (psutil.Error, OSError):
        log.debug("process %d could not be noted in %s", pid, directory)


def clean_up_after_the_dead(root: Path) -> None:
    """Kill what dead cluster managers left running below ``root``, and remove their directories."""
    for directory in sorted(root.glob(f"{_PREFIX}*")):
        if directory.is_symlink():
            continue
        lock = take_lock(directory)
        if lock is None:
            continue
        for note in [*directory.glob(f"*/{PROCESS_FILE}"), directory / PROCESS_FILE]:
            _kill_noted(note)
        remove_tree(directory)
        lock.close()
        log.info("removed %s, left behind by a cluster manager that died", directory)


def remove_tree(directory: Path) -> None:
    """Remove a directory with all that is in it, also what a job made unreadable or writes this moment."""

    def make_writable(function: Callable[..., Any], path: str, _: tuple[type, BaseException, TracebackType]) -> None:
        try:
            os.chmod(os.path.dirname(path), stat.S_IRWXU)
            if not os.path.islink(path):
                os.chmod(path, stat.S_IRWXU)
            if function in (os.open, os.scandir):  # a folder that could not be read, now it can
                shutil.rmtree(path, onerror=make_writable)
            elif function in (os.unlink, os.rmdir):
                function(path)
        except OSError:
            log.debug("could not remove %s", path)

    for number in range(_REMOVE_TRIES):
        if not directory.exists():
            return
        time.sleep(0.05 * number)
        try:
            shutil.rmtree(directory, onerror=make_writable)
        except RecursionError:  # folders within folders, a thousand deep
            subprocess.run(["rm", "-rf", "--", str(directory)], check=False, stderr=subprocess.DEVNULL)
    if not directory.exists():
        return
    log.warning("could not remove %s; it is tried again at the next start", directory)


def take_lock(directory: Path) -> IO[bytes] | None:
    """Take the lock of a directory; None where its owner lives, or it has none."""
    try:
        stream = (directory / "lock").open("r+b")
    except OSError:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream


def _kill_noted(note: Path) -> None:
    try:
        noted = json.loads(note.read_text())
        process = psutil.Process(int(noted["pid"]))
        if abs(process.create_time() - float(noted["created"])) > 1.0:
            return  # the number belongs to another process by now
        os.killpg(process.pid, signal.SIGKILL)
        log.info("killed process group %d, left behind by a cluster manager that died", process.pid)
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return
