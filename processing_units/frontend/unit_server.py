"""The server of one unit's frontend: gunicorn with threads, and a thread that says that the frontend is alive."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.reap import say_alive
from processing_units.frontend.unit_api import UNIT_SERVED

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

# Less than a lease: nodes must get through again before theirs end.
_STALLED_SECONDS = 10
_PREPARED_AFTER = 5  # times that a connection has had a statement


def unit_application(unit_name: str) -> WSGIApplication:
    """Return the WSGI application of one unit's interface: no pages, no sessions, no middleware."""
    settings.ROOT_URLCONF = "processing_units.frontend.unit_urls"
    settings.MIDDLEWARE = []
    _prepare_statements()
    django_application = get_wsgi_application()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[UNIT_SERVED] = unit_name
        return django_application(environ, start_response)

    return application


def _prepare_statements() -> None:
    """Let PostgreSQL plan a statement once for each connection: that is half of its work for a claim or a commit.

    The portal's searches are planned anew each time, by the values that they look for.
    """
    if connection.vendor == "postgresql":
        connection.settings_dict["OPTIONS"].setdefault("prepare_threshold", _PREPARED_AFTER)


class UnitServer(BaseApplication):  # type: ignore[misc]
    """Gunicorn for a unit's frontend, each worker with so many threads; ``run`` serves until a signal ends it."""

    def __init__(self, unit: ProcessingUnit, threads: int, workers: int) -> None:
        self._unit = unit
        self._threads = threads
        self._workers = workers
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's configuration."""
        chosen = {
            "bind": f"{self._unit.host}:{self._unit.port}",
            "worker_class": "gthread",
            "workers": self._workers,
            "threads": self._threads,
            "keepalive": 75,
            "graceful_timeout": 5,
            "timeout": 120,
            "proc_name": f"frontend {self._unit.name}",
            "accesslog": None,
            "loglevel": "warning",
            "control_socket_disable": True,
            "post_worker_init": self._begin_to_live,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Return what is served."""
        return unit_application(self._unit.name)

    def _begin_to_live(self, worker: Any) -> None:
        for listening in worker.sockets:
            _drop_stalled(listening.sock)
        # In the worker, not in its parent: when the worker is stuck or gone the frontend is not alive.
        threading.Thread(target=_live, args=(self._unit,), name="alive", daemon=True).start()


def _drop_stalled(listening: socket.socket) -> None:
    """Let connections end that stall in the middle of a message: a node that lost power would hold a thread for ever.

    What is accepted inherits it from the listening socket, so that it holds from the first byte on.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _STALLED_SECONDS, 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _STALLED_SECONDS)


def _live(unit: ProcessingUnit) -> None:
    pause = threading.Event()
    while True:
        try:
            close_old_connections()
            say_alive(unit)
        except (DatabaseError, InterfaceError) as error:
            log.warning("the database is away (%s); asked again", error)
        except Exception:  # the edge: without this thread nothing of the unit would be reaped, and nobody know
            log.exception("the sign of life failed; the next one follows")
        pause.wait(min(settings.HEARTBEAT_SECONDS, settings.LEASE_SECONDS / 5))
