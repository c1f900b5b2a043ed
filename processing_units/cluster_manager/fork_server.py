"""The warm fork server beside the cluster manager, and the processes of jobs that it forks.

It is started, and restarted when it dies, by the main thread alone: it asks the kernel to be killed with its parent,
and for the kernel the parent is the thread that started it. Jobs are forked by it, never by the cluster manager, whose
threads and credentials they therefore cannot inherit.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processing_units.cluster_manager.backoff import Backoff
from processing_units.cluster_manager.scratch import take_lock

log = logging.getLogger(__name__)

READY_SECONDS = 120.0
ANSWER_SECONDS = 30.0
KILL_SECONDS = 10.0
_LONGEST_SOCKET_PATH = 100
_STEADY_SECONDS = 60.0
_GIVE_UP_AFTER = 5
_PREFIX = "awworker-"
KEPT_FROM_JOBS = ("AWPORTAL_", "AWWORKER_")


class ForkServerError(Exception):
    """The fork server died, or does not answer."""


@dataclass(frozen=True)
class Ended:
    """How a job's process ended: exit code, or the signal that killed it."""

    exit: int
    signal: int | None
    max_rss_mib: float
    cpu_seconds: float


class JobProcess:
    """A job's process, the leader of a process group of its own."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._ended = False
        self._killed_at: float | None = None
        self._lock = threading.Lock()

    def wait(self) -> Ended:
        """Wait for the end, or, once killed, for at most `KILL_SECONDS` more; raises `ForkServerError`."""
        try:
            while not _readable(self._connection.fileno(), 1.0):
                if self._killed_at is not None and time.monotonic() - self._killed_at > KILL_SECONDS:
                    raise ForkServerError("the fork server does not report the end of a job that was killed")
            answer = _read_answer(self._lines)
            return Ended(
                exit=int(answer.get("exit") or 0),
                signal=None if answer.get("signal") is None else int(answer["signal"]),
                max_rss_mib=float(answer.get("max_rss_mib") or 0.0),
                cpu_seconds=float(answer.get("cpu_seconds") or 0.0),
            )
        finally:
            with self._lock:
                self._ended = True
            # The leader is gone; what it started in its group must not outlive it.
            kill_group(self.pid)
            self._lines.close()
            self._connection.close()

    def kill(self) -> None:
        """Kill the whole process group at once."""
        with self._lock:
            if self._ended:
                return  # the number may belong to another process by now
            if self._killed_at is None:
                self._killed_at = time.monotonic()
            kill_group(self.pid)


def kill_group(group: int) -> None:
    """Kill a process group; none left is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


class ForkServer:
    """``python -m recipes.fork_server SOCKET``, kept running."""

    def __init__(self, python: str) -> None:
        self._python = python
        root = Path(_short_directory())
        _remove_what_the_dead_left(root)
        # Locked before it has its name, as a scratch directory is.
        unnamed = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=root))
        (unnamed / "lock").touch()
        self._lock = take_lock(unnamed)
        self.directory = unnamed.rename(root / unnamed.name[1:])
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_path = ""
        self._number = 0
        self._started = 0.0
        self._restart_at = 0.0
        self._deaths = 0
        self._backoff = Backoff(first=0.25, longest=30.0)
        self._ready = threading.Event()

    @property
    def ready(self) -> bool:
        """Whether jobs can be started now."""
        return self._ready.is_set()

    def start(self) -> None:
        """Start the process; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the fork server is started by the main thread, or it would die with another thread")
        self._number += 1
        self._socket_path = str(self.directory / f"{self._number}.socket")
        self._started = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [self._python, "-m", "recipes.fork_server", self._socket_path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=job_free_environment(),
                start_new_session=True,  # a Ctrl-C at the terminal is for the cluster manager to handle
            )
        except OSError as error:
            raise ForkServerError(f"{self._python} cannot be started: {error.strerror}; see --python") from error

    def tend(self, timeout: float) -> None:
        """Watch for at most ``timeout`` seconds: note that it is ready, restart it when it has died.

        Raises
        ------
        ForkServerError
            It died again and again without ever having been ready.
        """
        process = self._process
        if process is None:
            if time.monotonic() < self._restart_at:
                time.sleep(min(timeout, max(0.0, self._restart_at - time.monotonic())))
                return
            self.start()
            return
        if process.stdout is None or not _readable(process.stdout.fileno(), timeout):
            if not self.ready and time.monotonic() - self._started > READY_SECONDS:
                log.error("the fork server was not ready after %.0f s and is started anew", READY_SECONDS)
                process.kill()
            return
        said = os.read(process.stdout.fileno(), 4096)
        if said:
            if b"ready" in said.split():
                self._ready.set()
            return
        self._has_died(process)

    def _has_died(self, process: subprocess.Popen[bytes]) -> None:
        was_ready = self.ready
        self._ready.clear()
        if process.stdout is not None:
            process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.kill()
        process.wait()
        self._process = None
        if was_ready and time.monotonic() - self._started > _STEADY_SECONDS:
            self._backoff.reset()
        self._deaths = 0 if was_ready else self._deaths + 1
        if self._deaths >= _GIVE_UP_AFTER:
            raise ForkServerError(
                f"{self._python} -m recipes.fork_server does not start (exit code {process.returncode}); "
                "its own message is above"
            )
        pause = self._backoff.pause()
        self._restart_at = time.monotonic() + pause
        log.error("the fork server ended (exit code %s); a new one in %.1f s", process.returncode, pause)

    def run(self, job_file: Path, log_file: Path, environment: Mapping[str, str], memory_mib: int) -> JobProcess:
        """Have a job's process forked; any thread may ask."""
        if not self._ready.wait(READY_SECONDS):
            raise ForkServerError(f"no fork server was ready for {READY_SECONDS:.0f} s")
        request = {
            "job_file": str(job_file),
            "log": str(log_file),
            "environment": dict(environment),
            "nice": 0,
            "memory_mib": memory_mib,
        }
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(self._socket_path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb", buffering=0) as unbuffered:  # the end may follow at once: read no further
                pid = int(_read_answer(unbuffered)["pid"])
            connection.settimeout(None)
        except (OSError, KeyError, ValueError) as error:
            connection.close()
            raise ForkServerError(f"the fork server does not answer ({error})") from error
        except ForkServerError:
            connection.close()
            raise
        return JobProcess(connection, pid)

    def stop(self) -> None:
        """Stop the process; its jobs die with it."""
        self._ready.clear()
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for left in self.directory.glob("*"):
            left.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _readable(descriptor: int, seconds: float) -> bool:
    """Wait until there is something to read; not by select(2), which knows no descriptor from 1024 on."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(1000 * seconds))


def _read_answer(lines: Any) -> dict[str, Any]:
    try:
        line = lines.readline()
        answer = json.loads(line) if line else None
    except (OSError, ValueError) as error:
        raise ForkServerError(f"the fork server does not answer ({error})") from error
    if not isinstance(answer, dict):
        raise ForkServerError("the fork server died")
    if "error" in answer:
        raise ForkServerError(f"the fork server refused: {answer['error']}")
    return answer


def _remove_what_the_dead_left(root: Path) -> None:
    """Remove our own directories in which nobody lives: a sentinel that is killed too removes nothing."""
    for directory in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            seen = directory.lstat()
            if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
                continue  # anybody may make things in a temporary folder
            lock = take_lock(directory)
            if lock is not None:
                shutil.rmtree(directory, ignore_errors=True)
                lock.close()


def _short_directory() -> str:
    """Choose where the socket lies: the path of a Unix socket may have 107 bytes."""
    usual = tempfile.gettempdir()
    return usual if len(usual) + 40 < _LONGEST_SOCKET_PATH else "/tmp"  # noqa: S108 - mkdtemp makes it private


def job_free_environment() -> dict[str, str]:
    """Return our environment without what jobs must not see."""
    return {name: value for name, value in os.environ.items() if not name.startswith(KEPT_FROM_JOBS)}
