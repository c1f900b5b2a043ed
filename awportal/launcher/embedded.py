"""The embedded default: which programs make up awportal on one machine, and in which order they start."""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from awportal.launcher.broker import broker_url, redis_program, write_configuration
from awportal.launcher.supervisor import Program

TREE = Path(__file__).resolve().parent.parent.parent
UNIT = "local"
USER = "astronomer"


@dataclass(frozen=True)
class Layout:
    """Where the state of one installation is, and its ports: the portal's, and the two after it."""

    home: Path
    port: int

    @property
    def base_url(self) -> str:
        """Address of the portal."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ports(self) -> tuple[int, int, int]:
        """Portal, frontend of the unit, Redis."""
        return self.port, self.port + 1, self.port + 2

    @property
    def unit_key_file(self) -> Path:
        """Key of the local unit."""
        return self.home / "secrets" / f"unit-{UNIT}"

    @property
    def password_file(self) -> Path:
        """Password of the first user."""
        return self.home / "secrets" / "password"

    @property
    def token_file(self) -> Path:
        """Token of the first user's command line."""
        return self.home / "secrets" / "token"

    def environment(self) -> dict[str, str]:
        """Return the environment of every program."""
        broker = os.environ.get("AWPORTAL_BROKER_URL") or broker_url(self.home, self.ports[2])
        return {
            **os.environ,
            "AWPORTAL_HOME": str(self.home),
            "AWPORTAL_BASE_URL": os.environ.get("AWPORTAL_BASE_URL", self.base_url),
            "AWPORTAL_BROKER_URL": broker,
            "DJANGO_SETTINGS_MODULE": "awportal.settings",
            "PYTHONUNBUFFERED": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }


def programs(layout: Layout) -> list[tuple[Program, Callable[[], bool]]]:
    """Return the programs in the order in which they start, each with the test that it is ready."""
    portal, frontend, redis = layout.ports
    environment = layout.environment()
    manage = [sys.executable, str(TREE / "manage.py")]
    scripts = Path(sys.executable).parent
    wsgi = ["--workers", "2", "--threads", "8", "--worker-class", "gthread", "--timeout", "120", "--no-control-socket"]
    bind = ["--bind", f"127.0.0.1:{portal}", "--access-logfile", "/dev/null"]
    backend = ["--url", f"http://127.0.0.1:{frontend}", "--key-file", str(layout.unit_key_file)]
    where = ["--state", str(layout.home / "nodes")]

    def program(name: str, command: list[str]) -> Program:
        return Program(name, command, environment, layout.home / "logs" / f"{name}.log")

    started = [
        (program("portal", [sys.executable, "-m", "gunicorn", "awportal.wsgi:application", *wsgi, *bind]),
         lambda: _answers(f"{layout.base_url}/data/health")),
        (program("frontend", [*manage, "frontend", UNIT]), lambda: _listens(frontend)),
        (program("keeper", [*manage, "keeper"]), lambda: True),
        (program("backend", [str(scripts / "awbackend"), UNIT, *backend, *where]), lambda: True),
    ]  # fmt: skip
    if "AWPORTAL_BROKER_URL" not in os.environ:
        configuration = write_configuration(layout.home, redis)
        command = [redis_program(), str(configuration)]
        started.insert(0, (program("redis", command), lambda: _listens(redis)))
    return started


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - an address of ours, on loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
