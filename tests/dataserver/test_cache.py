"""The read-through cache: one fetch for many readers, verified, bounded, and nobody's file is taken away."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataserver.cache import ReadThroughCache
from dataserver.errors import CacheFull, FetchFailed, WrongDigest

from .conftest import Server


class Origin(http.server.ThreadingHTTPServer):
    """A data server upstream that counts, and that can be slow, wrong, or cut connections."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.pause = 0.0
        self.cut_after: int | None = None

    def add(self, data: bytes) -> tuple[str, int, str]:
        """Offer a file; return its sha256, size and URL."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.files[f"/files/{sha256}"] = data
        return sha256, len(data), f"{self.address}/files/{sha256}"

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        origin = self.server
        origin.asked.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", next(iter(origin.files)))
            self.end_headers()
            return
        data = origin.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        time.sleep(origin.pause)
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(found[1]) if found else 0
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        end = len(data) if origin.cut_after is None else first + origin.cut_after
        self.wfile.write(data[first:end])

    def log_message(self, format: str, *arguments: object) -> None:
        """Be quiet."""


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def left_over(cache: ReadThroughCache) -> list[Path]:
    return [path for folder in ("incoming", "fetching") for path in (cache.root / folder).iterdir()]


def test_many_readers_make_one_fetch(origin: Origin, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    origin.pause = 0.2
    sha256, size, url = origin.add(data)
    cache = ReadThroughCache(tmp_path, 10_000_000)

    def read(_: int) -> bytes:
        with cache.fetch(sha256, size, url) as lease:
            return lease.path.read_bytes()

    with ThreadPoolExecutor(24) as readers:
        assert set(readers.map(read, range(24))) == {data}
    assert len(origin.asked) == 1
    assert (cache.names(), cache.used_bytes(), left_over(cache)) == ([sha256], size, [])


def test_processes_share_one_fetch(origin: Origin, tmp_path: Path) -> None:
    origin.pause = 1.0
    sha256, size, url = origin.add(os.urandom(1_000_000))
    program = (
        "import sys; from dataserver.cache import ReadThroughCache\n"
        f"with ReadThroughCache({str(tmp_path)!r}, 10**7).fetch({sha256!r}, {size}, {url!r}) as lease:\n"
        "    print(lease.path.stat().st_size)"
    )
    line = [sys.executable, "-c", program]
    processes = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=120)[0] for process in processes] == [f"{size}\n"] * 4
    assert len(origin.asked) == 1


def test_a_fetch_that_was_killed_is_taken_over(origin: Origin, tmp_path: Path) -> None:
    sha256, size, url = origin.add(os.urandom(1_000_000))
    origin.pause = 30.0
    program = (
        "from dataserver.cache import ReadThroughCache\n"
        f"ReadThroughCache({str(tmp_path)!r}, 10**7).fetch({sha256!r}, {size}, {url!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    while not origin.asked:
        time.sleep(0.01)
    cache = ReadThroughCache(tmp_path, 1_200_000)
    with ThreadPoolExecutor(1) as waiting:
        lease = waiting.submit(cache.fetch, sha256, size, url)
        time.sleep(0.1)
        origin.pause = 0.0
        process.kill()
        process.wait()
        with lease.result(60) as got:
            assert got.path.stat().st_size == size
    assert left_over(cache) == []


def test_what_was_not_used_for_longest_goes_first(origin: Origin, tmp_path: Path) -> None:
    cache = ReadThroughCache(tmp_path, 3_000_000)
    files = [origin.add(os.urandom(1_000_000)) for _ in range(4)]
    for number in (0, 1, 2, 0, 3):
        cache.fetch(*files[number]).close()
        assert cache.used_bytes() <= 3_000_000
    assert cache.names() == [files[3][0], files[0][0], files[2][0]]
    assert len(origin.asked) == 4


def test_a_file_in_use_is_never_evicted(origin: Origin, tmp_path: Path) -> None:
    cache = ReadThroughCache(tmp_path, 2_000_000, room_timeout=0.3)
    one, two, three = (origin.add(os.urandom(1_000_000)) for _ in range(3))
    with cache.fetch(*one) as oldest:
        cache.fetch(*two).close()
        cache.fetch(*three).close()
        assert oldest.path.read_bytes() == origin.files[f"/files/{one[0]}"]
        assert set(cache.names()) == {one[0], three[0]}
        with cache.fetch(*three), pytest.raises(CacheFull, match="all its files are in use"):
            cache.fetch(*two)
    cache.fetch(*two).close()


def test_a_reader_that_waits_gets_room_when_another_is_done(origin: Origin, tmp_path: Path) -> None:
    cache = ReadThroughCache(tmp_path, 1_000_000)
    one, two = (origin.add(os.urandom(1_000_000)) for _ in range(2))
    lease = cache.fetch(*one)
    threading.Timer(0.3, lease.close).start()
    with cache.fetch(*two) as other:
        assert other.size == 1_000_000


def test_a_file_larger_than_the_cache_is_told_at_once(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(CacheFull, match="larger than the whole cache"):
        ReadThroughCache(tmp_path, 999).fetch(*origin.add(bytes(1000)))


def test_a_damaged_file_is_found_and_fetched_anew(origin: Origin, tmp_path: Path) -> None:
    wanted = origin.add(os.urandom(2_000_000))
    for verified_for in (0.0, 600.0):
        cache = ReadThroughCache(tmp_path, 10_000_000, verified_for=verified_for)
        cache.fetch(*wanted).close()
        origin.asked.clear()
        with cache.fetch(*wanted) as lease:
            path = lease.path
        assert origin.asked == []
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.seek(1_234_567)
            file.write(b"\x00\x01\x02\x03\x04")
        with cache.fetch(*wanted) as lease:
            assert lease.path.read_bytes() == origin.files[f"/files/{wanted[0]}"]
        assert len(origin.asked) == 1
        assert cache.used_bytes() == 2_000_000


def test_other_bytes_than_promised_are_refused(origin: Origin, tmp_path: Path) -> None:
    sha256, size, url = origin.add(b"what it is")
    origin.files[f"/files/{sha256}"] = b"what is is"
    cache = ReadThroughCache(tmp_path, 1000)
    with pytest.raises(WrongDigest):
        cache.fetch(sha256, size, url)
    assert (cache.names(), left_over(cache)) == ([], [])


def test_a_broken_connection_is_taken_up_where_it_broke(origin: Origin, tmp_path: Path) -> None:
    wanted = origin.add(os.urandom(2_500_000))
    origin.cut_after = 1_000_000
    with ReadThroughCache(tmp_path, 10_000_000).fetch(*wanted) as lease:
        assert lease.path.read_bytes() == origin.files[f"/files/{wanted[0]}"]
    assert [asked.partition(" ")[2] for asked in origin.asked] == ["", "bytes=1000000-", "bytes=2000000-"]


def test_a_connection_that_brings_nothing_is_given_up(origin: Origin, tmp_path: Path) -> None:
    wanted = origin.add(os.urandom(1_000))
    origin.cut_after = 0
    cache = ReadThroughCache(tmp_path, 10_000)
    with pytest.raises(FetchFailed, match="broke off at byte 0 of 1000") as caught:
        cache.fetch(*wanted)
    assert caught.value.transient
    assert (len(origin.asked), cache.used_bytes(), left_over(cache)) == (3, 0, [])


def test_only_registered_data_servers_are_asked(origin: Origin, tmp_path: Path) -> None:
    sha256, size, url = origin.add(b"x")
    cache = ReadThroughCache(tmp_path, 1000, upstreams=[f"{origin.address}/files"])
    cache.fetch(sha256, size, url).close()
    for other in (
        url.replace("/files/", "/other/"),
        url.replace("/files/", "/files/../other/"),
        url.replace("127.0.0.1", "127.0.0.1.example.org"),
        url.replace("127.0.0.1", "x@127.0.0.2"),
        f"http://127.0.0.1:{origin.server_port + 1}/files/x",
        "file:///etc/passwd",
        "/etc/passwd",
    ):
        with pytest.raises(FetchFailed) as caught:
            cache.fetch("0" * 64, 1, other)
        assert not caught.value.transient
    assert len(origin.asked) == 1


def test_redirects_are_not_followed(origin: Origin, tmp_path: Path) -> None:
    sha256, size, _ = origin.add(b"x")
    with pytest.raises(FetchFailed, match="redirect, which is not followed"):
        ReadThroughCache(tmp_path, 1000).fetch(sha256, size, f"{origin.address}/moved")
    assert origin.asked == ["/moved"]


def test_a_server_that_is_away_is_told_without_the_signature(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="Connection refused") as caught:
        ReadThroughCache(tmp_path, 1000).fetch("0" * 64, 1, "http://127.0.0.1:1/files/x?signature=secret")
    assert caught.value.transient
    assert "secret" not in caught.value.message


@pytest.mark.program("openssl", "openssl")
def test_between_sites_it_speaks_tls_and_checks_certificates(
    start: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, private_key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    line = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext"
    files = ["-keyout", str(private_key), "-out", str(certificate)]
    subprocess.run([*line.split(), "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True)
    server = start(tmp_path / "store", "--certificate", str(certificate), "--private-key", str(private_key))
    assert server.address.startswith("https://127.0.0.1:")
    (tmp_path / "file").write_bytes(b"over TLS")
    stored = server.store.put_file(tmp_path / "file")
    url = server.url("GET", f"/files/{stored.sha256}")
    with pytest.raises(FetchFailed, match="certificate"):
        ReadThroughCache(tmp_path / "cache", 1000).fetch(stored.sha256, stored.size, url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with ReadThroughCache(tmp_path / "cache", 1000).fetch(stored.sha256, stored.size, url) as lease:
        assert lease.path.read_bytes() == b"over TLS"
