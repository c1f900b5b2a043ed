"""The server process: gunicorn with threads, started from Python."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class Server(BaseApplication):  # type: ignore[misc]
    """Serves one WSGI application until SIGTERM or SIGINT, and ends what is being sent first."""

    def __init__(self, application: WSGIApplication, options: dict[str, Any]) -> None:
        self._application = application
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        """Hand the options to gunicorn."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Return the application."""
        return self._application


def serve(
    application: WSGIApplication,
    what: str,
    *,
    host: str,
    port: int,
    threads: int = 16,
    workers: int = 1,
    certificate: str | None = None,
    private_key: str | None = None,
) -> None:
    """Serve `application` until told to stop; print a line with the address when it is ready."""
    scheme = "https" if certificate else "http"

    def when_ready(arbiter: Any) -> None:
        its_host, its_port = arbiter.LISTENERS[0].sock.getsockname()[:2]
        shown = f"[{its_host}]" if ":" in its_host else its_host
        print(f"{what} on {scheme}://{shown}:{its_port}", flush=True)

    options: dict[str, Any] = {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "workers": workers,
        "threads": threads,
        "worker_class": "gthread",
        "keepalive": 15,
        "graceful_timeout": 20,
        "control_socket_disable": True,
        "loglevel": "warning",
        "when_ready": when_ready,
    }
    if certificate:
        options |= {"certfile": certificate, "keyfile": private_key}
    if os.path.isdir("/dev/shm"):  # noqa: S108 - gunicorn's heartbeat must not wait for a disk
        options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
    sys.argv = sys.argv[:1]  # gunicorn is not to read our arguments
    Server(application, options).run()
