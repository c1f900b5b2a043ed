"""A caching data server as a process of its own: links, restarts, eviction, damage, and an upstream that goes away."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dataserver.cache import ReadThroughCache
from dataserver.errors import FetchFailed
from dataserver.signing import sign
from dataserver.store import Store
from tests.wrong_clock import HOUR, wrong_clock

from .conftest import PEER, Server, request

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def cache(start: Callable[..., Server], server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A cache before the data server, for tests that harm neither."""
    return start(tmp_path_factory.mktemp("cache"), "--max-bytes", "8M", cache_of=server)


def stored(server: Server, folder: Path, data: bytes) -> str:
    """Store a file; return its path on any data server."""
    (folder / "file").write_bytes(data)
    return f"/files/{server.store.put_file(folder / 'file').sha256}"


def flip_a_bit(path: Path, at: int) -> None:
    """Damage a file as a failing disk does: its size and times stay."""
    times = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def place(root: Path, path: str) -> Path:
    """Return where a file lies below the root of a store or a cache."""
    sha256 = path.rpartition("/")[2]
    return root / "objects" / sha256[:2] / sha256


def test_it_serves_what_upstream_has(server: Server, cache: Server, tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    path = stored(server, tmp_path, data)
    url = cache.url("GET", path, name="a.fits")
    assert request(url, "HEAD").headers["Content-Length"] == "5000000"
    with ThreadPoolExecutor(8) as readers:
        for answer in readers.map(lambda _: request(url), range(8)):
            assert (answer.status, answer.body) == (200, data)
    part = request(url, headers={"Range": "bytes=4000000-4000009"})
    assert (part.status, part.body) == (206, data[4_000_000:4_000_010])
    assert part.headers["Content-Type"] == "application/fits"
    # The same link is good at the data server itself.
    assert request(url.replace(cache.address, server.address)).body == data


def test_to_know_a_digest_opens_nothing(server: Server, cache: Server, tmp_path: Path) -> None:
    path = stored(server, tmp_path, b"held by the cache")
    good = cache.url("GET", path)
    assert request(good).status == 200
    assert request(cache.address + path).status == 403
    assert request(cache.url("GET", path, lifetime=-5)).status == 403
    assert request(good[:-2] + "xx").status == 403
    assert request(cache.url("GET", "/files/" + "0" * 64)).status == 404
    converted = request(cache.url("GET", path, format="asdf"))
    assert (converted.status, b"gives files as they are" in converted.body) == (403, True)


def test_its_key_opens_reading_alone(server: Server, cache: Server, tmp_path: Path) -> None:
    path = stored(server, tmp_path, b"nobody writes through a cache")
    for address in (cache.address, server.address):
        for method, target in (("PUT", path), ("DELETE", "/staging/a-1"), ("POST", "/staging/a-1/promote")):
            query = sign(server.key, method, target, int(time.time()) + 600, via=PEER)
            assert request(f"{address}{target}?{query}", method, b"x").status == 403
    plain = sign(server.key, "GET", path, int(time.time()) + 600)
    assert request(f"{cache.address}{path}?{plain}").status == 403, "a link that does not lead through it"
    assert request(f"{server.address}{path}?{plain}").status == 200


def test_a_cache_that_is_no_longer_registered_gets_nothing(
    start: Callable[..., Server], key_file: Path, tmp_path: Path
) -> None:
    peers = tmp_path / "peers"
    peers.write_text(f"other-00000000\n{PEER}\n")
    server = start(tmp_path / "store", "--peers", str(peers))
    cache = start(tmp_path / "cache", "--max-bytes", "8M", cache_of=server)
    first, second = (stored(server, tmp_path, data) for data in (b"before", b"after"))
    assert request(cache.url("GET", first)).status == 200
    peers.write_text("other-00000000\n")
    answer = request(cache.url("GET", second))
    assert answer.status == 403
    assert "is not registered here" in json.loads(answer.body)["error"]


def test_it_says_how_it_is(server: Server, cache: Server) -> None:
    said = json.loads(request(f"{cache.address}/health").body)
    assert said == {"status": "ok", "peer": PEER, "upstream": "answers"}


def test_what_was_not_used_for_longest_goes_and_what_is_read_stays(
    start: Callable[..., Server], server: Server, tmp_path: Path
) -> None:
    cache = start(tmp_path / "cache", "--max-bytes", "8M", cache_of=server)
    large = os.urandom(6 << 20)
    path = stored(server, tmp_path, large)
    reader = SlowReader(cache.url("GET", path))
    small = [stored(server, tmp_path, os.urandom(1 << 20)) for _ in range(4)]
    for each in (*small, small[1], small[2]):
        assert request(cache.url("GET", each)).status == 200
    assert place(cache.root, path).exists(), "somebody reads it, so younger ones went"
    here = [place(cache.root, each).exists() for each in small]
    assert here == [False, True, True, False], "two have room beside it: those that were used last"
    assert reader.rest() == large
    cache.process.terminate()
    cache.process.wait(60)


class SlowReader:
    """A client that takes a byte, and the rest when it is told to."""

    def __init__(self, url: str) -> None:
        import http.client
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self._connection.request("GET", f"{parts.path}?{parts.query}")
        self._response = self._connection.getresponse()
        self._first = self._response.read(1)

    def rest(self) -> bytes:
        """Read to the end."""
        data = self._first + self._response.read()
        self._connection.close()
        return data


def test_a_restart_finds_what_was_there_and_leaves_nothing_half_written(
    start: Callable[..., Server], server: Server, tmp_path: Path
) -> None:
    root = tmp_path / "cache"
    cache = start(root, "--max-bytes", "8M", cache_of=server)
    paths = [stored(server, tmp_path, os.urandom(500_000)) for _ in range(3)]
    for path in paths:
        request(cache.url("GET", path))
    cache.process.send_signal(signal.SIGKILL)
    cache.process.wait()
    end_workers(cache)
    (root / "incoming" / "half").write_bytes(b"x" * 1000)
    again = start(root, "--max-bytes", "8M", cache_of=server)
    assert list((root / "incoming").iterdir()) == []
    for path in paths:
        place(server.root, path).unlink()  # so that it can only come from the cache
        assert len(request(again.url("GET", path)).body) == 500_000


def end_workers(server: Server) -> None:
    """Wait until the processes of a killed server have ended: they look after their parent once a second."""
    address = server.address
    while True:
        with suppress(OSError):
            request(f"{address}/health")
            time.sleep(0.1)
            continue
        return


@pytest.fixture
def slow(server: Server) -> Iterator[Slow]:
    """The data server as seen through a line that can be slowed and cut."""
    line = Slow(server)
    yield line
    line.shutdown()
    line.server_close()


class Slow(http.server.ThreadingHTTPServer):
    """Passes requests to a data server; holds the second half of every file back until told otherwise."""

    daemon_threads = True

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), _SlowHandler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.behind = server.address
        self.go_on = threading.Event()
        self.half_sent = threading.Event()
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _SlowHandler(http.server.BaseHTTPRequestHandler):
    server: Slow

    def do_GET(self) -> None:
        headers = {name: value for name, value in self.headers.items() if name in {"Range", "Cache-Control"}}
        answer = request(self.server.behind + self.path, headers=headers)
        with suppress(OSError):
            self.send_response(answer.status)
            for name in ("Content-Length", "Content-Range"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            if not self.path.startswith("/files/"):
                self.wfile.write(answer.body)
                return
            self.server.asked.append(self.path)
            half = len(answer.body) // 2
            self.wfile.write(answer.body[:half])
            self.server.half_sent.set()
            self.server.go_on.wait(60)
            self.wfile.write(answer.body[half:])

    def log_message(self, format: str, *arguments: object) -> None:
        """Be quiet."""


def through(line: Slow, server: Server) -> Server:
    return Server(server.process, line.address, server.root, server.key)


def test_killed_in_mid_transfer_it_leaves_nothing_and_fetches_anew(
    start: Callable[..., Server], server: Server, slow: Slow, tmp_path: Path
) -> None:
    root = tmp_path / "cache"
    cache = start(root, "--max-bytes", "8M", cache_of=through(slow, server))
    data = os.urandom(3_000_000)
    path = stored(server, tmp_path, data)
    with ThreadPoolExecutor(1) as readers:
        reading = readers.submit(request, cache.url("GET", path))
        assert slow.half_sent.wait(60)
        [worker] = children(cache.process.pid)
        for process in (cache.process.pid, worker):
            os.kill(process, signal.SIGKILL)
        cache.process.wait()
        with pytest.raises(ConnectionError):
            reading.result(60)
    assert not place(root, path).exists()
    slow.go_on.set()
    again = start(root, "--max-bytes", "8M", cache_of=through(slow, server))
    assert list((root / "incoming").iterdir()) == []
    assert request(again.url("GET", path)).body == data
    assert len(slow.asked) == 2


def children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children()]


def test_many_nodes_make_one_fetch_and_none_holds_up_what_is_here(
    start: Callable[..., Server], server: Server, slow: Slow, tmp_path: Path
) -> None:
    cache = start(tmp_path / "cache", "--max-bytes", "8M", "--threads", "8", cache_of=through(slow, server))
    here, wanted = stored(server, tmp_path, b"here"), stored(server, tmp_path, os.urandom(2_000_000))
    slow.go_on.set()
    assert request(cache.url("GET", here)).body == b"here"
    slow.go_on.clear()
    with ThreadPoolExecutor(24) as nodes:
        asking = [nodes.submit(patient, cache, wanted) for _ in range(24)]
        assert slow.half_sent.wait(60)
        for _ in range(3):
            assert request(cache.url("GET", here)).body == b"here", "while all of them wait"
        slow.go_on.set()
        answers = [each.result(120) for each in asking]
    assert {len(body) for body, _ in answers} == {2_000_000}
    assert slow.asked.count(slow.asked[-1]) == 1
    waits = [said for _, told in answers for said in told]
    assert waits, "8 threads do not wait for 24 nodes"
    assert {status for status, _ in waits} == {503}
    assert all("ask again" in hint for _, hint in waits)


def patient(cache: Server, path: str) -> tuple[bytes, list[tuple[int, str]]]:
    """Ask for a file as a node does; return it, and the refusals before."""
    told: list[tuple[int, str]] = []
    while True:
        answer = request(cache.url("GET", path))
        if answer.status == 200:
            return answer.body, told
        assert int(answer.headers["Retry-After"]) > 0
        told.append((answer.status, json.loads(answer.body)["hint"]))
        time.sleep(0.05)


def test_while_upstream_is_away_what_is_here_is_given(
    start: Callable[..., Server], key_file: Path, tmp_path: Path
) -> None:
    root, peers = tmp_path / "store", ("--peers", str(key_file.with_name("peers")))
    server = start(root, *peers)
    cache = start(tmp_path / "cache", "--max-bytes", "8M", cache_of=server)
    here, there = stored(server, tmp_path, b"here"), stored(server, tmp_path, b"there")
    assert request(cache.url("GET", here)).status == 200
    server.process.terminate()
    server.process.wait(60)
    # A new link to it: the cache checks it with its own key.
    assert request(cache.url("GET", here, lifetime=1234)).body == b"here"
    answer = request(cache.url("GET", there))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "cannot be reached" in json.loads(answer.body)["error"]
    assert "signature" not in answer.body.decode()
    start(root, *peers, port=int(server.address.rpartition(":")[2]))
    assert request(cache.url("GET", there)).body == b"there"


def test_a_flipped_bit_is_never_given_to_a_job(server: Server, cache: Server, tmp_path: Path) -> None:
    data = os.urandom(2_000_000)
    path = stored(server, tmp_path, data)
    url = cache.url("GET", path)
    assert request(url).body == data
    flip_a_bit(place(cache.root, path), 1_234_567)
    node = ReadThroughCache(tmp_path / "node", 10_000_000)
    sha256 = path.rpartition("/")[2]
    with node.fetch(sha256, len(data), url) as lease:
        assert lease.path.read_bytes() == data
    assert request(url).body == data, "the cache has fetched it anew"


def test_a_flipped_bit_at_the_data_server_itself_is_told(server: Server, cache: Server, tmp_path: Path) -> None:
    path = stored(server, tmp_path, os.urandom(100_000))
    flip_a_bit(place(server.root, path), 77)
    node = ReadThroughCache(tmp_path / "node", 10_000_000)
    with pytest.raises(FetchFailed, match="answered 404") as caught:
        node.fetch(path.rpartition("/")[2], 100_000, cache.url("GET", path))
    assert not caught.value.transient
    assert "was damaged on the data server's disk" in caught.value.message
    assert not place(server.root, path).exists()
    assert len(list((server.root / "quarantine").iterdir())) == 1
    assert list((cache.root / "incoming").iterdir()) == []


@pytest.mark.program("cc", "gcc")
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_links_hold_by_the_clock_upstream(
    start: Callable[..., Server], server: Server, tmp_path: Path, seconds: int
) -> None:
    environment = wrong_clock(tmp_path, seconds)
    cache = start(tmp_path / "cache", "--max-bytes", "1M", cache_of=server, environment=environment)
    path = stored(server, tmp_path, b"whose time is it?")
    short, over = cache.url("GET", path, lifetime=600), cache.url("GET", path, lifetime=-600)
    for _ in range(2):  # fetched, and held
        assert [request(url).status for url in (short, over)] == [200, 403]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--max-bytes", "1M"], "dataserver: a data server needs a key"),
        (
            ["--max-bytes", "1M", "--key-file", "data.key"],
            "dataserver: the key file data.key holds no key of a caching",
        ),
        (["--key-file", f"{PEER}.key"], "dataserver: a cache needs a size bound"),
    ],
)
def test_it_says_what_it_lacks(key_file: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    line = [sys.executable, "-m", "dataserver", "serve", "--root", str(tmp_path), "--upstream", "http://127.0.0.1:1"]
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [*line, *arguments], capture_output=True, text=True, check=False, timeout=120, cwd=key_file.parent,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith(told)
    assert done.stderr.splitlines()[1].strip(), "how to mend it"


@pytest.mark.program("openssl", "openssl")
def test_between_sites_it_speaks_tls(start: Callable[..., Server], key_file: Path, tmp_path: Path) -> None:
    certificate, private_key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    line = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext"
    files = ["-keyout", str(private_key), "-out", str(certificate)]
    subprocess.run([*line.split(), "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True)
    tls = ("--certificate", str(certificate), "--private-key", str(private_key))
    server = start(tmp_path / "store", *tls, "--peers", str(key_file.with_name("peers")))
    strange = start(tmp_path / "strange", "--max-bytes", "1M", *tls, cache_of=server)
    cache = start(tmp_path / "cache", "--max-bytes", "1M", *tls, "--upstream-ca", str(certificate), cache_of=server)
    assert cache.address.startswith("https://127.0.0.1:")
    data = b"over TLS"
    sha256 = Store(server.root).put_file(write(tmp_path / "file", data)).sha256
    node = ReadThroughCache(tmp_path / "node", 1000, authorities=str(certificate))
    with pytest.raises(FetchFailed, match=r"answered 503.*certificate"):
        node.fetch(sha256, len(data), strange.url("GET", f"/files/{sha256}"))
    with node.fetch(sha256, len(data), cache.url("GET", f"/files/{sha256}")) as lease:
        assert lease.path.read_bytes() == data


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
