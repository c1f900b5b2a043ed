"""Cluster managers as processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import ClassVar

import psutil
from pydantic import Field

from processing_units.backend.kind import DRAINED, BringUpError, Directions, Kind, KindSettings


class LocalSettings(KindSettings):
    """How cluster managers run on this machine."""

    niceness: int = Field(default=0, ge=0, le=19, description="of cluster managers and their jobs: 19 yields to all")


class Local(Kind):
    """Brings cluster managers up beside itself. A handle is ``pid:time of its start``."""

    name: ClassVar[str] = "local"
    Settings: ClassVar[type[KindSettings]] = LocalSettings

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._settings = LocalSettings()

    def configure(self, settings: LocalSettings) -> None:
        """Take settings; they hold for cluster managers brought up from now on."""
        self._settings = settings

    def bring_up(self, directions: Directions) -> str:
        """Start ``awworker`` in a session of its own, so that it outlives us and no Ctrl-C of ours reaches it."""
        command = ["nice", "-n", str(self._settings.niceness)] if self._settings.niceness else []
        command += [sys.executable, "-m", "processing_units.cluster_manager", directions.url]
        command += ["--key-file", str(directions.key_file), "--slots", str(directions.slots)]
        command += ["--cache", str(directions.state / "cache"), "--scratch", str(directions.state / "scratch")]
        try:
            with directions.log_file.open("ab") as stream:
                child = subprocess.Popen(
                    [*command, *directions.arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                )
            handle = f"{child.pid}:{psutil.Process(child.pid).create_time()}"
        except (OSError, psutil.Error) as error:
            raise BringUpError(f"no process could be started: {error}") from error
        self._children[handle] = child
        return handle

    def ended(self, handles: Iterable[str]) -> Mapping[str, str]:
        """Return those that are no more; of our own children also their exit code."""
        gone = {}
        for handle in handles:
            child = self._children.get(handle)
            if child is not None and child.poll() is not None:
                gone[handle] = _how(child.returncode)
                del self._children[handle]
            elif child is None and _process(handle) is None:
                gone[handle] = "ended"
        return gone

    def drain(self, handle: str) -> None:
        """The first SIGTERM drains."""
        self._signal(handle, signal.SIGTERM)

    def stop(self, handle: str) -> None:
        """The second SIGTERM stops at once."""
        self._signal(handle, signal.SIGTERM)

    def kill(self, handle: str) -> None:
        """Kill it; its jobs and their processes go with it."""
        self._signal(handle, signal.SIGKILL)

    @staticmethod
    def _signal(handle: str, number: signal.Signals) -> None:
        process = _process(handle)
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended this moment
                process.send_signal(number)


def _process(handle: str) -> psutil.Process | None:
    """Return the living process of a handle; the time of its start tells it from another with its number."""
    pid, _, created = handle.partition(":")
    try:
        process = psutil.Process(int(pid))
        alive = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - float(created)) < 1.0
    except (psutil.Error, ValueError):
        return None
    return process if alive else None


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    meaning = {os.EX_OK: DRAINED, 3: "was refused by the frontend", 4: "could not start the recipes"}.get(code)
    return meaning or f"ended with exit code {code}"


KIND = Local
