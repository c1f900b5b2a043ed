"""The store: whole or not at all, what its digest says, and room for nothing that nobody wants."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dataserver.errors import BadRequest, DiskFull, NotStaged, NotStored, TooLarge, WrongDigest
from dataserver.store import Store

from .conftest import Server, request


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def left_over(store: Store) -> list[Path]:
    return [path for folder in ("incoming", "staging") for path in (store.root / folder).rglob("*")]


def test_a_file_is_stored_once_under_its_digest(store: Store) -> None:
    data = os.urandom(2_500_000)
    for _ in range(2):
        assert store.put(io.BytesIO(data)) == (digest(data), len(data))
    assert list(store.listing()) == [(digest(data), len(data))]
    assert store.path(digest(data)).read_bytes() == data
    assert os.stat(store.path(digest(data))).st_mode & 0o222 == 0
    assert left_over(store) == []


def test_an_empty_file_is_a_file(store: Store) -> None:
    assert store.put(io.BytesIO(b""), size=0) == (digest(b""), 0)
    assert store.size(digest(b"")) == 0


@pytest.mark.parametrize(
    ("wanted", "error"),
    [({"expected": "0" * 64}, WrongDigest), ({"size": 4}, WrongDigest), ({"size": 6}, WrongDigest),
     ({"maximum": 4}, TooLarge), ({"expected": "../../x"}, BadRequest)],
)  # fmt: skip
def test_what_was_not_announced_is_refused_and_leaves_nothing(
    store: Store, wanted: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.put(io.BytesIO(b"bytes"), **wanted)
    assert list(store.listing()) == []
    assert left_over(store) == []


def test_a_stream_that_breaks_leaves_nothing(store: Store) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.put(Broken(b"bytes"))
    assert left_over(store) == []


def test_what_is_not_there_is_told(store: Store) -> None:
    for ask in (store.path, store.open, store.size):
        with pytest.raises(NotStored, match="no file 00"):
            ask("00" * 32)
    assert not store.has("00" * 32)


def test_names_cannot_leave_the_staging(store: Store) -> None:
    for attempt, name in [("../x", "a"), ("a/b", "a"), ("", "a"), (".", "a"), ("7.1", "../a"), ("7.1", "a/b"),
                          ("7.1", ""), ("7.1", ".."), ("7.1", "a\n")]:  # fmt: skip
        with pytest.raises(BadRequest):
            store.stage(attempt, name, io.BytesIO(b"x"))


def test_promotion_is_all_or_nothing_and_again_and_again(store: Store) -> None:
    one, two = store.stage("7.1", "a.fits", io.BytesIO(b"one")), store.stage("7.1", "b.fits", io.BytesIO(b"two"))
    with pytest.raises(NotStaged):
        store.promote("7.1", [one.sha256, "0" * 64])
    assert not store.has(one.sha256)
    for _ in range(2):
        store.promote("7.1", [one.sha256, two.sha256])
    store.drop("7.1")
    store.drop("7.1")
    store.promote("7.1", [one.sha256, two.sha256])
    assert [file.size for file in store.listing()] == [3, 3]
    assert left_over(store) == []


def test_an_attempt_has_one_size_limit_for_all_its_files(store: Store) -> None:
    store.stage("7.1", "a.fits", io.BytesIO(b"x" * 60), maximum=100)
    with pytest.raises(TooLarge):
        store.stage("7.1", "b.fits", io.BytesIO(b"y" * 60), maximum=100)
    assert [file.size for file in store.staged("7.1")] == [60]


def test_scrub_finds_what_has_changed_and_puts_it_aside(store: Store) -> None:
    good, bad = store.put(io.BytesIO(b"good")), store.put(io.BytesIO(b"b" * 5_000_000))
    path = store.path(bad.sha256)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(4_321_000)
        file.write(b"\x00")
    report = store.scrub()
    assert (report.files, report.bytes) == (2, 5_000_004)
    assert [damaged.sha256 for damaged in report.damaged] == [bad.sha256]
    assert report.damaged[0].quarantined.stat().st_size == 5_000_000
    assert not store.has(bad.sha256)
    assert store.has(good.sha256)
    store.put(io.BytesIO(b"b" * 5_000_000))
    assert store.scrub().damaged == []


def test_storing_a_file_again_heals_it(store: Store) -> None:
    stored = store.put(io.BytesIO(b"right"))
    store.path(stored.sha256).chmod(0o644)
    store.path(stored.sha256).write_bytes(b"wrong")
    store.put(io.BytesIO(b"right"))
    assert store.path(stored.sha256).read_bytes() == b"right"


def test_the_commands_scrub_and_collect(store: Store) -> None:
    kept, lost = store.put(io.BytesIO(b"kept")), store.put(io.BytesIO(b"lost"))

    def run(*arguments: str, given: str = "") -> tuple[int, str]:
        line = [sys.executable, "-m", "dataserver", *arguments, "--root", str(store.root)]
        done = subprocess.run(line, input=given, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    collect = ("collect", "--referenced", "-", "--older-than", "-10")
    assert run(*collect, "--dry-run", given=kept.sha256)[1].startswith("would remove 1 files")
    assert run(*collect, given=kept.sha256) == (0, "removed 1 files and 0 that were staged or unfinished, 4 bytes\n")
    assert not store.has(lost.sha256)
    assert run("scrub") == (0, "1 files, 4 bytes, 0 damaged\n")
    store.path(kept.sha256).chmod(0o644)
    store.path(kept.sha256).write_bytes(b"bent")
    code, said = run("scrub")
    assert (code, said.splitlines()[-1]) == (1, "1 files, 4 bytes, 1 damaged")


def test_scrubbing_what_is_no_store_makes_none(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "dataserver", "scrub", "--root", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dataserver: there is no store below {tmp_path}\n")
    assert list(tmp_path.iterdir()) == []


def test_collect_keeps_what_is_young_or_wanted(store: Store) -> None:
    wanted, unwanted = store.put(io.BytesIO(b"wanted")), store.put(io.BytesIO(b"unwanted"))
    store.stage("7.1", "a.fits", io.BytesIO(b"never committed"))
    (store.root / "incoming" / "abc").write_bytes(b"never finished")
    day = 24 * 3600.0
    assert store.collect([wanted.sha256]) == (0, 0, 0)
    later = time.time() + day + 60
    assert store.collect([wanted.sha256], now=later, dry_run=True) == (1, 2, 37)
    assert store.collect([wanted.sha256], now=later) == (1, 2, 37)
    assert store.has(wanted.sha256)
    assert not store.has(unwanted.sha256)
    assert left_over(store) == []


def test_collect_spares_what_is_promoted_while_it_looks(store: Store) -> None:
    stored = store.put(io.BytesIO(b"an old result"))
    now = time.time() + 1.0

    def references() -> list[str]:
        time.sleep(1.1)
        store.stage("7.2", "a.fits", io.BytesIO(b"an old result"))
        store.promote("7.2", [stored.sha256])
        return []

    class Lazily:
        def __iter__(self):
            return iter(references())

    assert store.collect(Lazily(), older_than=0.5, now=now).objects == 0
    assert store.has(stored.sha256)


def test_writers_a_scrub_and_a_collection_do_not_disturb_each_other(store: Store) -> None:
    contents = [os.urandom(50_000) for _ in range(4)]
    wanted = [digest(content) for content in contents]

    def work(number: int) -> None:
        for turn in range(5):
            content = contents[(number + turn) % 4]
            if number % 2:
                store.put(io.BytesIO(content))
            else:
                store.stage(f"{number}.{turn}", "a.fits", io.BytesIO(content))
                store.promote(f"{number}.{turn}", [digest(content)])
                store.drop(f"{number}.{turn}")
            assert store.path(digest(content)).read_bytes() == content

    with ThreadPoolExecutor(10) as pool:
        jobs = [pool.submit(work, number) for number in range(8)]
        keeper = [pool.submit(store.scrub), pool.submit(store.collect, wanted)]
        for job in jobs:
            job.result()
        assert keeper[0].result().damaged == []
    assert sorted(file.sha256 for file in store.listing()) == sorted(wanted)
    assert store.scrub().damaged == []
    assert left_over(store) == []


def test_kill_in_the_middle_of_an_upload_leaves_nothing_visible(start: Callable[..., Server], tmp_path: Path) -> None:
    data = os.urandom(4_000_000)
    server = start(tmp_path / "killed")
    parts = urlsplit(server.url("PUT", f"/files/{digest(data)}"))
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data[:3_000_000])
        until = time.monotonic() + 30
        while not left_over(server.store) and time.monotonic() < until:
            time.sleep(0.01)
        workers = subprocess.run(
            ["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        for pid in [server.process.pid, *map(int, workers)]:
            os.kill(pid, signal.SIGKILL)
        server.process.wait(100)
    assert list(server.store.listing()) == []
    again = start(tmp_path / "killed")
    assert request(again.url("GET", f"/files/{digest(data)}")).status == 404
    assert request(again.url("PUT", f"/files/{digest(data)}"), "PUT", data).status == 201
    assert request(again.url("GET", f"/files/{digest(data)}")).body == data
    assert again.store.collect([digest(data)], older_than=-10) == (0, 1, 4_000_000)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: root only")
def test_a_full_disk_is_told_and_work_resumes_when_there_is_room(start: Callable[..., Server], tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(mount)], check=True)
    try:
        server = start(mount / "store")
        small, large = os.urandom(5_000_000), os.urandom(4_000_000)
        assert request(server.url("PUT", f"/files/{digest(small)}"), "PUT", small).status == 201
        refused = request(server.url("PUT", f"/files/{digest(large)}"), "PUT", large)
        assert refused.status == 507
        assert b"No space left on device" in refused.body
        staging = server.url("PUT", "/staging/7.1").replace("/7.1?", "/7.1/a.fits?")
        assert request(staging, "PUT", large).status == 507
        with pytest.raises(DiskFull):  # without a size that could be reserved: found while writing
            server.store.put(io.BytesIO(large))
        assert [file.sha256 for file in server.store.listing()] == [digest(small)]
        assert left_over(server.store) == []
        assert request(f"{server.address}/health").status == 503
        server.store.collect([], older_than=-10)
        assert request(server.url("PUT", f"/files/{digest(large)}"), "PUT", large).status == 201
        server.process.terminate()
        server.process.wait(60)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_limit_on_file_sizes_is_told_like_a_full_disk(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
    try:
        for size in (None, 4_000_000):
            with pytest.raises(DiskFull, match="no room left to write"):
                store.put(io.BytesIO(bytes(4_000_000)), size=size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_over(store) == []
    store.put(io.BytesIO(bytes(4_000_000)))
