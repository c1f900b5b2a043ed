"""A real data server process and what talks to it over a socket."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dataserver.signing import make_key_file, peer_key, peer_key_text, read_keys, sign
from dataserver.store import Store

PEER = "near-1a2b3c4d"


@dataclass
class Answer:
    """A whole HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def request(url: str, method: str = "GET", body: object = None, headers: dict[str, str] | None = None) -> Answer:
    """Make one request on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@dataclass
class Server:
    """A data server process."""

    process: subprocess.Popen[str]
    address: str
    root: Path
    key: bytes
    peer: str = ""

    def url(self, method: str, path: str, lifetime: float = 600.0, **bound: object) -> str:
        """Return a signed URL of this server."""
        query = sign(self.key, method, path, int(time.time() + lifetime), via=self.peer, **bound)
        return f"{self.address}{path}?{query}"

    @property
    def store(self) -> Store:
        """The store it serves."""
        return Store(self.root)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key file."""
    path = tmp_path_factory.mktemp("key") / "data.key"
    make_key_file(path)
    path.with_name(f"{PEER}.key").write_text(peer_key_text(peer_key(read_keys(path)[0], PEER)))
    path.with_name("peers").write_text(PEER + "\n")
    return path


@pytest.fixture(scope="module")
def start(key_file: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts ``python -m dataserver serve``; all are stopped at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(
        root: Path,
        *arguments: str,
        cache_of: Server | None = None,
        port: int = 0,
        prefix: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> Server:
        line = [*prefix, sys.executable, "-m", "dataserver", "serve", "--root", str(root), "--port", str(port)]
        if cache_of is None:
            line += ["--key-file", str(key_file)]
        else:
            line += ["--upstream", cache_of.address, "--key-file", str(key_file.with_name(f"{PEER}.key"))]
        line += arguments
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, text=True, env={**os.environ, "no_proxy": "127.0.0.1", **(environment or {})}
        )
        started.append(process)
        assert process.stdout is not None
        ready = process.stdout.readline()
        address = ready.rsplit(" on ", 1)[-1].strip()
        return Server(process, address, root, read_keys(key_file)[0], PEER if cache_of else "")

    yield begin
    for process in started:
        process.terminate()
    for process in started:
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def server(start: Callable[..., Server], key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A data server with a store, where the cache of these tests is registered."""
    return start(tmp_path_factory.mktemp("store"), "--peers", str(key_file.with_name("peers")))
