"""The one heartbeat of a cluster manager: all its jobs with progress and logs' tails; it brings back what to stop."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from processing_units.cluster_manager.backoff import jittered
from processing_units.cluster_manager.frontend_client import Frontend, FrontendAwayError, RefusedError
from processing_units.cluster_manager.job_log import JobLog
from processing_units.contract import Heartbeat, HeartbeatReply, JobBeat

log = logging.getLogger(__name__)

_NOT_WANTED = frozenset({401, 426})  # the key is void, or the protocol another: asking again never helps
LOG_BYTES_A_JOB = 256 * 1024
LOG_BYTES_A_BEAT = 1024 * 1024


@dataclass(frozen=True)
class Identity:
    """Who this cluster manager is."""

    cluster_manager: str
    node: str
    slots: int


class Beating(Protocol):
    """What others ask of an attempt."""

    log: JobLog

    @property
    def key(self) -> tuple[int, int]:
        """(job, attempt)."""

    def progress(self) -> tuple[float, str]:
        """How far it is: fraction and stage."""

    def take_away(self) -> None:
        """It was cancelled, or given to another: kill it and leave nothing."""

    def preempt(self, time_at_most: float | None = None) -> None:
        """The cluster manager is stopped: kill it and say so."""


class ActiveAttempts:
    """The attempts that this cluster manager has at the moment."""

    def __init__(self) -> None:
        self._attempts: dict[tuple[int, int], Beating] = {}
        self._lock = threading.Lock()

    def add(self, attempt: Beating) -> None:
        """From now on the heartbeat lists it."""
        with self._lock:
            self._attempts[attempt.key] = attempt

    def discard(self, attempt: Beating) -> None:
        """It ended."""
        with self._lock:
            self._attempts.pop(attempt.key, None)

    def get(self, key: tuple[int, int]) -> Beating | None:
        """Return the attempt, if it is still there."""
        with self._lock:
            return self._attempts.get(key)

    def all(self) -> list[Beating]:
        """Return all of them, the oldest first."""
        with self._lock:
            return list(self._attempts.values())


class Heartbeats(threading.Thread):
    """Beats every ``every`` seconds, and at once when an attempt has much log to send."""

    def __init__(
        self,
        frontend: Frontend,
        identity: Identity,
        active: ActiveAttempts,
        every: float,
        on_drain: Callable[[], None],
        on_refusal: Callable[[RefusedError], None],
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._frontend = frontend
        self._identity = identity
        self._active = active
        self._every = every
        self._on_drain = on_drain
        self._on_refusal = on_refusal
        self.is_refused = False
        self._one_at_a_time = threading.Lock()
        self._end = threading.Event()
        self._away = False

    @property
    def frontend_is_away(self) -> bool:
        """Whether the last heartbeat was not answered."""
        return self._away

    def run(self) -> None:
        """Beat until the end."""
        while not self._end.wait(jittered(self._every)):
            try:
                self.beat()
            except Exception:  # the edge: without a heartbeat every job of the node would be given away
                log.exception("a heartbeat failed; the next one follows")

    def stop(self) -> None:
        """End the thread."""
        self._end.set()

    def beat(self) -> bool:
        """Send one heartbeat; return whether it was answered."""
        with self._one_at_a_time:
            attempts = self._active.all()
            message = Heartbeat(
                cluster_manager=self._identity.cluster_manager,
                node=self._identity.node,
                slots=self._identity.slots,
                busy=len(attempts),
                load=round(os.getloadavg()[0], 2),
                jobs=_beats(attempts),
            )
            try:
                reply = self._frontend.heartbeat(message)
            except (FrontendAwayError, RefusedError) as error:
                if isinstance(error, RefusedError) and error.status in _NOT_WANTED:
                    self.is_refused = True
                    self._on_refusal(error)
                if not self._away:
                    log.warning("the frontend does not take heartbeats (%s); jobs go on, it is asked again", error)
                self._away = True
                return False
            if self._away:
                log.info("the frontend takes heartbeats again")
            self._away = False
        self._obey(attempts, reply)
        return True

    def _obey(self, attempts: list[Beating], reply: HeartbeatReply) -> None:
        for attempt in attempts:
            arrived = reply.log_offsets.get(attempt.key[0])
            if arrived is not None:
                attempt.log.confirm(arrived)
        for job, number in reply.stop:
            doomed = self._active.get((job, number))
            if doomed is not None:
                doomed.take_away()
        if reply.drain:
            self._on_drain()


def _beats(attempts: list[Beating]) -> list[JobBeat]:
    left = LOG_BYTES_A_BEAT
    beats = []
    for attempt in attempts:
        fraction, stage = attempt.progress()
        offset, text = attempt.log.piece(min(LOG_BYTES_A_JOB, left))
        left -= len(text.encode())
        job, number = attempt.key
        beats.append(JobBeat(job=job, attempt=number, progress=fraction, stage=stage, log_offset=offset, log=text))
    return beats
