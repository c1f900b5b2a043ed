"""A whole installation for a test: all real processes, on free ports, in a directory of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

TREE = Path(__file__).resolve().parent.parent.parent
SCRIPTS = Path(sys.executable).parent
START_SECONDS = 300.0
RUN_SECONDS = 400.0


class Installation:
    """``make serve`` in a directory of its own."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = _three_free_ports()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "launcher.out"
        self._settings = {**_database_of_its_own(), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the launcher and of the client."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWPORTAL_")}
        return {
            **clean,
            **self._settings,
            "AWPORTAL_HOME": str(self.home),
            "AWPORTAL_URL": self.url,
            "AWPORTAL_TOKEN_FILE": str(self.home / "secrets" / "token"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "client-state"),
        }

    @property
    def servers(self) -> dict[str, str]:
        """Settings by which another process of ours finds the broker and the portal."""
        redis = (self.home / "secrets" / "redis").read_text().strip()
        broker = f"redis://:{quote(redis, safe='')}@127.0.0.1:{self.port + 2}/0"
        return {"AWPORTAL_BASE_URL": self.url, "AWPORTAL_BROKER_URL": broker}

    @property
    def password(self) -> str:
        """Password of the user ``astronomer``."""
        return (self.home / "secrets" / "password").read_text().strip()

    @property
    def process(self) -> int:
        """Number of the launcher's process."""
        assert self._process is not None
        return self._process.pid

    def launch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the launcher to its end."""
        command = [sys.executable, "-m", "awportal.launcher", *arguments, "--port", str(self.port)]
        return subprocess.run(
            command, env=self.environment, cwd=TREE, capture_output=True, text=True, check=False, timeout=900
        )

    def start(self) -> None:
        """Start everything and wait until it is up."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "awportal.launcher", "serve", "--port", str(self.port)]
        said_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self.environment, cwd=TREE, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while b"awportal is up" not in self.log.read_bytes()[said_before:]:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop everything as Ctrl-C does; fail if a process is left."""
        if self._process is None:
            return
        ours = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(300) == 0, self.log.read_text()
        self._process = None
        _, left = psutil.wait_procs(ours, timeout=10)
        assert not left, [process.cmdline() for process in left]

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the running processes of this installation whose command line holds all `words`."""
        assert self._process is not None
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if all(word in line for word in words):
                found.append(process)
        return found

    def awrecipe(self, *arguments: str, code: int = 0) -> str:
        """Run the command line, hold it to its exit code, return what it printed on standard output."""
        result = subprocess.run(
            [str(SCRIPTS / "awrecipe"), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Let the command line run beside what is done meanwhile; it must end well afterwards."""
        client = subprocess.Popen(
            [str(SCRIPTS / "awrecipe"), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield client
            output, _ = client.communicate(timeout=RUN_SECONDS)
        except BaseException:
            client.kill()
            client.communicate()
            raise
        assert client.returncode == 0, output

    def products(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the products that `awrecipe products` lists."""
        listed = json.loads(self.awrecipe("products", *arguments, "--json"))
        return list(listed)


def observe(folder: Path, *arguments: str) -> Path:
    """Let the simulated observatory take a small night; return the directory of its raw files, without the truth."""
    subprocess.run(
        [sys.executable, "-m", "observatory", str(folder), *arguments], check=True, capture_output=True, cwd=TREE
    )
    (folder / "truth").rename(folder.with_name(folder.name + "-truth"))
    return folder


def _database_of_its_own() -> dict[str, str]:
    """Where the suite runs on PostgreSQL, return a new database there; else the installation has its SQLite file."""
    url = os.environ.get("AWPORTAL_DATABASE_URL", "")
    if not url.startswith("postgresql:"):
        return {}
    import psycopg

    name = f"night_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return {"AWPORTAL_DATABASE_URL": url.rsplit("/", 1)[0] + f"/{name}"}


def _three_free_ports() -> int:
    """Return a port that is free with the two after it."""
    for first in range(20000 + os.getpid() % 5000 * 3, 60000, 3):
        if all(_is_free(port) for port in (first, first + 1, first + 2)):
            return first
    raise RuntimeError("no three free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
