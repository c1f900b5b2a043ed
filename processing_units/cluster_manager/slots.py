"""Slots: each runs one job after another, woken by hints, or by the poll that needs no broker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from processing_units.cluster_manager.backoff import Backoff, jittered
from processing_units.cluster_manager.frontend_client import Frontend, FrontendAwayError, RefusedError
from processing_units.cluster_manager.heartbeat import Identity
from processing_units.cluster_manager.walltime import Walltime
from processing_units.contract import CANARY, Claim, JobSpec

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
LONGEST_POLL_SECONDS = 10.0


class Slots:
    """The slots of a node. A slot that is awake claims jobs until there are none, or until the node drains.

    Parameters
    ----------
    frontend, identity
        Whom to ask, and as whom.
    run : callable
        Runs one attempt from its spec to its end, in the calling thread.
    obstacle : callable
        Says why no job can be taken now (no room, no fork server), or "".
    cached : callable
        Names files that the node holds.
    time_left : Walltime
        How long jobs may take, where a queueing system will end us.
    """

    def __init__(
        self,
        frontend: Frontend,
        identity: Identity,
        run: Callable[[JobSpec], None],
        obstacle: Callable[[], str],
        cached: Callable[[], list[str]],
        time_left: Walltime | None = None,
    ) -> None:
        self._frontend = frontend
        self._identity = identity
        self._run = run
        self._obstacle = obstacle
        self._cached = cached
        self._time_left = time_left
        self._free = list(range(identity.slots, 0, -1))
        self._change = threading.Condition()
        self._draining = False
        self._last_trouble = ""
        self.last_busy = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether no slot has or claims a job."""
        with self._change:
            return len(self._free) == self._identity.slots

    def drain(self) -> None:
        """Take no more jobs."""
        with self._change:
            self._draining = True
            self._change.notify_all()

    def work_on_hint(self) -> None:
        """Work in this thread until there is nothing to do; waits for a slot if the poll has taken them all."""
        slot = self._take(wait=True)
        if slot is None:
            return
        try:
            spec, _ = self._claim(slot)
            self._work(slot, spec)
        finally:
            self._give_back(slot)

    def poll(self) -> None:
        """Ask for work now and then while slots are free, hints or no hints, until the node drains."""
        backoff = Backoff(POLL_SECONDS / 4, LONGEST_POLL_SECONDS)
        while True:
            answered = self._wake_slots_safely()
            if answered:
                backoff.reset()
            with self._change:
                self._change.wait_for(lambda: self._draining, jittered(POLL_SECONDS) if answered else backoff.pause())
                if self._draining:
                    return

    def _wake_slots_safely(self) -> bool:
        try:
            return self._wake_slots()
        except Exception:  # the edge: without the poll a node whose broker is away would do nothing, and nobody know
            log.exception("asking for work failed; it is asked again")
            return False

    def _wake_slots(self) -> bool:
        """Give every free slot a job, as long as there are any; return whether the frontend answered."""
        while (slot := self._take(wait=False)) is not None:
            spec = None
            try:
                spec, answered = self._claim(slot)
            finally:
                if spec is None:
                    self._give_back(slot)
            if spec is None:
                return answered
            threading.Thread(
                target=self._work_and_give_back, args=(slot, spec), name=f"slot {slot}", daemon=True
            ).start()
        return True

    def _work_and_give_back(self, slot: int, spec: JobSpec) -> None:
        try:
            self._work(slot, spec)
        finally:
            self._give_back(slot)

    def _work(self, slot: int, spec: JobSpec | None) -> None:
        while spec is not None:
            self._run(spec)
            if spec.recipe != CANARY:  # it shall not keep an idle node from leaving
                self.last_busy = time.monotonic()
            if self._draining:
                return
            spec, _ = self._claim(slot)

    def _claim(self, slot: int) -> tuple[JobSpec | None, bool]:
        """Ask for a job; also return whether there was an answer at all."""
        trouble = self._obstacle()
        spec = None
        if not trouble:
            try:
                spec = self._frontend.claim(
                    Claim(
                        cluster_manager=self._identity.cluster_manager,
                        node=self._identity.node,
                        slot=slot,
                        cached=self._cached(),
                        seconds_left=None if self._time_left is None else self._time_left.left,
                        seconds_at_most=None if self._time_left is None else self._time_left.whole,
                    )
                )
            except (FrontendAwayError, RefusedError) as error:
                trouble = f"the frontend gives no jobs ({error})"
        if trouble != self._last_trouble:
            log.log(logging.WARNING if trouble else logging.INFO, "%s", trouble or "jobs can be claimed again")
            self._last_trouble = trouble
        return spec, not trouble

    def _take(self, *, wait: bool) -> int | None:
        with self._change:
            while not self._free and wait and not self._draining:
                self._change.wait()
            return self._free.pop() if self._free and not self._draining else None

    def _give_back(self, slot: int) -> None:
        with self._change:
            self._free.append(slot)
            self._change.notify_all()
