"""Start processes, watch them, restart any that dies, stop them all: for one machine, by one ordinary user.

On servers systemd does this (docs/managers.md); here the same four programs run under one command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A process that lives this long has started well: its next death is restarted at once again.
SETTLED_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 30.0
# A backend takes up to 50 s to drain, stop and at last kill its cluster managers; killed before, it would leave them.
STOP_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1
# Looked up now: between fork and exec nothing may be imported or looked up.
_prctl = getattr(ctypes.CDLL(None), "prctl", None)


@dataclass
class Program:
    """One program to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    restarts: int = 0
    not_before: float = 0.0

    def start(self) -> None:
        """Start it in a session of its own, so that a Ctrl-C in the terminal reaches only us, who stop in order."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no lock is taken
            )
        self.started = time.monotonic()

    def is_running(self) -> bool:
        """Tell whether it runs now."""
        return self.process is not None and self.process.poll() is None

    def last_lines(self, count: int = 5) -> str:
        """Return the end of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])


class Supervisor:
    """Keeps programs running, in the order given, until it is stopped."""

    def __init__(self, programs: Sequence[Program], say: Callable[[str], None]) -> None:
        self.programs = list(programs)
        self._say = say
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self, program: Program, is_ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Start one program and wait until it is ready; raise RuntimeError with the end of its log if it is not."""
        program.start()
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not program.is_running() or time.monotonic() > deadline:
                raise RuntimeError(f"{program.name} did not start; the end of {program.log}:\n{program.last_lines()}")
            time.sleep(0.05)

    def watch(self) -> None:
        """Begin to restart what dies."""
        self._watcher.start()

    def stop(self) -> None:
        """Stop all, the last started first, each with time to end its work; then make sure."""
        self._stopping.set()
        with self._lock:
            for program in reversed(self.programs):
                self._stop_one(program)
        self._stopped.set()

    def _stop_one(self, program: Program) -> None:
        if program.process is None or program.process.poll() is not None:
            return
        program.process.send_signal(program.stop_signal)
        try:
            program.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._say(f"{program.name} does not end within {STOP_SECONDS:.0f} s: it is killed")
            os.killpg(program.process.pid, signal.SIGKILL)
            program.process.wait()

    def _watch(self) -> None:
        while not self._stopping.wait(0.5):
            with self._lock:
                for program in self.programs:
                    if not self._stopping.is_set():
                        self._look_after(program)
        # For the kernel this thread is the parent of what it has started anew: with it they would all end at once.
        self._stopped.wait()

    def _look_after(self, program: Program) -> None:
        now = time.monotonic()
        if program.process is None or program.process.poll() is None:
            if program.failures and now - program.started > SETTLED_SECONDS:
                program.failures = 0
            return
        if not program.not_before:
            lived = now - program.started
            program.failures += 1
            wait = 0.0 if lived > SETTLED_SECONDS else min(LONGEST_WAIT_SECONDS, 0.5 * 2**program.failures)
            program.not_before = now + wait
            how = _how_it_ended(program.process.returncode)
            self._say(f"{program.name} {how} after {lived:.0f} s; it starts again in {wait:.0f} s (log: {program.log})")
        if now >= program.not_before:
            try:
                program.start()
            except OSError as error:  # a full disk, no process left: it goes away, and then all must be started still
                program.not_before = now + LONGEST_WAIT_SECONDS
                self._say(f"{program.name} cannot be started: {error}; tried again in {LONGEST_WAIT_SECONDS:.0f} s")
                return
            program.not_before = 0.0
            program.restarts += 1


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"


def _die_with_parent() -> None:
    """Let the kernel end this process when the launcher dies, however that happens (Linux alone)."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
