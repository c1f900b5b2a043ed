"""``manage.py keeper``: the one process that sweeps the outbox, reaps, and collects what was never committed."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from processing_units.frontend import data_servers, keeping
from processing_units.frontend.notices import sending
from processing_units.named_points import reach

log = logging.getLogger(__name__)

_LOOK_EVERY_SECONDS = 15.0
_NOTICES_EVERY_SECONDS = 2.0


class Command(BaseCommand):
    """Any number may be started; the one that holds the lock in the database works, the others wait for it."""

    help = __doc__ or ""
    requires_system_checks = ()  # they would import every page; `manage.py check` is for that

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="one sweep and one collection, then end")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Sweep until SIGTERM or SIGINT."""
        holder = f"{socket.gethostname()[:60]} {os.getpid()} {secrets.token_hex(8)}"
        if options["once"]:
            keeping.sweep()
            data_servers.note_trouble()
            sending.send_due()
            keeping.collect()
            return
        end = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: end.set())
        Keeper(holder).run(end)


class Keeper:
    """The loop; the database may go and come back under it."""

    def __init__(self, holder: str) -> None:
        self._holder = holder
        self._next_collection = time.monotonic()
        self._has_lock = False

    def run(self, end: threading.Event) -> None:
        """Sweep every few seconds until `end`."""
        for every, what in (
            (_LOOK_EVERY_SECONDS, data_servers.note_trouble),
            (_NOTICES_EVERY_SECONDS, sending.send_due),
        ):
            threading.Thread(target=self._beside, args=(end, every, what), daemon=True).start()
        while not end.is_set():
            close_old_connections()
            try:
                self._turn()
            except (DatabaseError, InterfaceError) as error:
                log.warning("the database is away (%s); the next sweep follows", str(error).strip())
            except Exception:  # the edge: one defect must not stop the other units' jobs from being reaped
                log.exception("a sweep failed; the next one follows")
            end.wait(settings.SWEEP_SECONDS)
        try:
            keeping.release_lock(self._holder)
        except (DatabaseError, InterfaceError):
            log.warning("the lock could not be released; it ends by itself")

    def _beside(self, end: threading.Event, every: float, what: Callable[[], object]) -> None:
        """Do something in a thread of its own: a server that is away is waited for, and nobody is to wait with it."""
        while not end.wait(every):
            if self._has_lock:
                try:
                    what()
                except (DatabaseError, InterfaceError) as error:
                    log.warning("%s did not end: %s", what.__module__, str(error).strip())
                except Exception:  # the edge: the next turn follows
                    log.exception("%s failed", what.__module__)
                finally:
                    connections.close_all()

    def _turn(self) -> None:
        had, self._has_lock = self._has_lock, keeping.hold_lock(self._holder)
        if had != self._has_lock:
            log.info("this is the keeper now" if self._has_lock else "another process is the keeper; this one waits")
        if not self._has_lock:
            return
        reach("keeper.locked")
        done = {name: number for name, number in keeping.sweep().items() if number}
        if set(done) - {"hints sent", "canaries sent"}:
            log.info("%s", ", ".join(f"{number} {name}" for name, number in done.items()))
        if time.monotonic() >= self._next_collection and keeping.hold_lock(self._holder):
            self._next_collection = time.monotonic() + keeping.COLLECT_EVERY.total_seconds()
            sending.forget_old()
            gone = keeping.collect()
            if gone:
                log.info("%d files that were never committed were collected", gone)
