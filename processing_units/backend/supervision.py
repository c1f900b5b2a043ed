"""What all kinds of backend share: keep the wanted number of cluster managers up, and take them down in order.

A kind knows four things: how to bring a cluster manager up, how to see which have ended, how to ask one to drain, and
how to end one. Its handles are plain text (a process, a job number of a queue) and are kept in a file, so that a
backend which is restarted goes on with the cluster managers that are there.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

log = logging.getLogger(__name__)

SETTLED_SECONDS = 60.0
SHORTEST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STOP_SECONDS = 15.0
SHORTEST_WAIT_SECONDS = 0.5  # two signals in one moment may arrive as one
LARGEST_LOG_BYTES = 10 * 1024 * 1024


class BringUpError(Exception):
    """A cluster manager could not be brought up; tried again later."""


@dataclass(frozen=True)
class Directions:
    """All that a kind needs to know to bring one cluster manager up."""

    number: int
    unit: str
    url: str
    key_file: Path
    log_file: Path
    state: Path
    arguments: tuple[str, ...] = ()


class Kind(ABC):
    """One way to bring cluster managers up; a kind is one file in ``kinds/``."""

    name: ClassVar[str]
    look_seconds: ClassVar[float] = 0.5

    @abstractmethod
    def bring_up(self, directions: Directions) -> str:
        """Start a cluster manager and return its handle; raise `BringUpError` with a clear reason."""

    @abstractmethod
    def ended(self, handles: Iterable[str]) -> Mapping[str, str]:
        """Return those of the handles whose cluster manager is no more, and how each ended."""

    @abstractmethod
    def drain(self, handle: str) -> None:
        """Ask a cluster manager to finish its jobs, take no more, and leave."""

    @abstractmethod
    def stop(self, handle: str) -> None:
        """Ask a cluster manager to leave at once; its jobs are run again elsewhere."""

    @abstractmethod
    def kill(self, handle: str) -> None:
        """End a cluster manager that does not listen."""


@dataclass
class Place:
    """The place of one of the wanted cluster managers: what is in it now, and when to try again."""

    number: int
    handle: str = ""
    since: float = 0.0
    pause: float = field(default=SHORTEST_PAUSE_SECONDS)
    not_before: float = 0.0


class Backend:
    """Supervises the cluster managers of one unit.

    Parameters
    ----------
    kind : Kind
        How they are brought up.
    directions : Directions
        The same for all, but for number and log file.
    wanted : int
        How many.
    drain_seconds : float
        How long jobs may go on when the backend is asked to end.
    """

    def __init__(self, kind: Kind, directions: Directions, wanted: int, drain_seconds: float) -> None:
        self._kind = kind
        self._directions = directions
        self._drain_seconds = drain_seconds
        self._places = [Place(number) for number in range(1, wanted + 1)]
        self._surplus: list[str] = []
        self._file = directions.state / f"{directions.unit}.cluster-managers.json"
        self._asked_to_end = 0

    def ask_to_end(self) -> None:
        """Drain and end; asked a second time, stop at once."""
        self._asked_to_end += 1  # and no more: this runs in a signal handler

    def run(self) -> None:
        """Keep the cluster managers up until asked to end."""
        self._directions.state.mkdir(parents=True, exist_ok=True)
        self._directions.log_file.parent.mkdir(parents=True, exist_ok=True)
        with (self._directions.state / f"{self._directions.unit}.lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise FileExistsError(
                    f"another backend of unit {self._directions.unit} runs with the state in {self._directions.state}"
                ) from error
            self._adopt()
            while not self._asked_to_end:
                self._look()
                time.sleep(self._kind.look_seconds)
            self._take_down()

    def _adopt(self) -> None:
        """Go on with the cluster managers of a backend that died."""
        try:
            handles = [str(handle) for handle in json.loads(self._file.read_text())]
        except (OSError, ValueError, TypeError):
            return
        gone = self._kind.ended(handles)
        left = [handle for handle in handles if handle not in gone]
        for place in self._places[: len(left)]:
            place.handle, place.since = left.pop(0), time.monotonic()
            log.info("cluster manager %d (%s) is still up", place.number, place.handle)
        for handle in left:
            log.info("one cluster manager too many (%s): it drains", handle)
            self._kind.drain(handle)
        self._surplus = left

    def _look(self) -> None:
        """Note what has ended, bring up what is wanted."""
        gone = self._kind.ended([place.handle for place in self._places if place.handle])
        now = time.monotonic()
        for place in self._places:
            if place.handle in gone:
                if now - place.since > SETTLED_SECONDS:
                    place.pause = SHORTEST_PAUSE_SECONDS
                place.not_before = now + place.pause
                log.warning(
                    "cluster manager %d (%s) %s; a new one in %.0f s, see %s",
                    *(place.number, place.handle, gone[place.handle], place.pause, self._log_of(place.number)),
                )
                place.pause = min(LONGEST_PAUSE_SECONDS, place.pause * 2)
                place.handle = ""
            if not place.handle and now >= place.not_before:
                self._bring_up(place)
        if gone:
            self._note()

    def _bring_up(self, place: Place) -> None:
        values = asdict(self._directions) | {"number": place.number, "log_file": self._log_of(place.number)}
        try:
            _rotate(values["log_file"])
            place.handle = self._kind.bring_up(Directions(**values))
        except (BringUpError, OSError) as error:
            place.not_before = time.monotonic() + place.pause
            log.error("cluster manager %d: %s; tried again in %.0f s", place.number, error, place.pause)
            place.pause = min(LONGEST_PAUSE_SECONDS, place.pause * 2)
            return
        place.since = time.monotonic()
        log.info("cluster manager %d is brought up (%s)", place.number, place.handle)
        self._note()

    def _take_down(self) -> None:
        """Drain all; what is still there after a while is stopped, then killed."""
        kind = self._kind
        for ask, seconds in (kind.drain, self._drain_seconds), (kind.stop, STOP_SECONDS), (kind.kill, STOP_SECONDS):
            left = self._left()
            if not left:
                break
            log.info("%s: %s", ask.__name__, ", ".join(left))
            for handle in left:
                ask(handle)
            self._wait_for_end(seconds, may_hurry=ask == kind.drain)
        self._note()

    def _wait_for_end(self, seconds: float, *, may_hurry: bool) -> None:
        until = time.monotonic() + max(seconds, SHORTEST_WAIT_SECONDS)
        while time.monotonic() < until and self._left():
            if may_hurry and self._asked_to_end > 1:
                return
            time.sleep(min(0.1, self._kind.look_seconds))

    def _left(self) -> list[str]:
        handles = [place.handle for place in self._places if place.handle] + self._surplus
        gone = self._kind.ended(handles)
        for place in self._places:
            if place.handle in gone:
                place.handle = ""
        self._surplus = [handle for handle in self._surplus if handle not in gone]
        return [handle for handle in handles if handle not in gone]

    def _note(self) -> None:
        handles = [place.handle for place in self._places if place.handle] + self._surplus
        partial = self._file.with_suffix(".part")
        partial.write_text(json.dumps(handles))
        partial.replace(self._file)

    def _log_of(self, number: int) -> Path:
        log_file = self._directions.log_file
        return log_file.with_name(f"{log_file.stem}-{number}{log_file.suffix}")


def _rotate(path: Path) -> None:
    if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
        os.replace(path, path.with_name(path.name + ".1"))
