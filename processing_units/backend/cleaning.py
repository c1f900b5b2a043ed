"""Cleans the data folders of machines that were taken off, one at a time and beside all else, until each answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from processing_units.backend.lan_host import LanHost
from processing_units.backend.machines_in_use import MachinesInUse
from processing_units.backend.ssh_connection import SshError

log = logging.getLogger(__name__)

SHORTEST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 600.0


class Cleaner:
    """Cleans what ``machines`` says is to be cleaned.

    Parameters
    ----------
    machines : MachinesInUse
        Where it is noted.
    clean : callable
        Cleans a machine; returns False where somebody else works in its folder, and raises `SshError`.
    """

    def __init__(self, machines: MachinesInUse, clean: Callable[[LanHost], bool]) -> None:
        self._machines = machines
        self._clean = clean
        self._thread: threading.Thread | None = None
        self._host: LanHost | None = None
        self._outcome: bool | SshError = False
        self._complained: dict[str, str] = {}
        self._tries = 0
        self.hurry()

    def hurry(self) -> None:
        """Do not wait for the next try: the machines have changed."""
        self._pause = SHORTEST_PAUSE_SECONDS
        self._not_before = 0.0

    def works_on(self, host: LanHost) -> bool:
        """Whether it cleans the folder of this machine now."""
        return self._host is not None and self._host.shares_data_with(host)

    def step(self, registered: Sequence[LanHost]) -> LanHost | None:
        """Return a machine that is done with; begin with another one where there is one. Called again and again."""
        done = None
        if self._thread is not None and self._host is not None:
            if self._thread.is_alive():
                return None
            self._thread.join()
            done = self._ended(self._host)
            self._thread = self._host = None
        left = self._machines.to_clean(registered)
        if left and time.monotonic() >= self._not_before:
            self._tries += 1
            self._host = left[self._tries % len(left)]
            self._thread = threading.Thread(target=self._work, args=(self._host,), name="cleaner", daemon=True)
            self._thread.start()
        return done

    def _work(self, host: LanHost) -> None:
        try:
            self._outcome = self._clean(host)
        except SshError as error:
            self._outcome = error

    def _ended(self, host: LanHost) -> LanHost | None:
        if isinstance(self._outcome, SshError):
            reason = str(self._outcome)
            if self._complained.get(host.title) != reason:
                log.warning("the data folder of %s is not cleaned yet: %s", host.title, reason)
            self._complained[host.title] = reason
            self._not_before = time.monotonic() + self._pause
            self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 2)
            return None
        log.info(
            "the data folder of %s is cleaned" if self._outcome
            else "the data folder of %s is left as it is: another unit's cluster manager works there",
            host.title,
        )  # fmt: skip
        self._complained.pop(host.title, None)
        self._machines.is_clean(host)
        self.hurry()
        return host
