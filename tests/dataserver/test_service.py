"""The HTTP service, over real sockets from a real server process."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import socket
import subprocess
import time
from urllib.parse import urlsplit

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

import dataserver

from .conftest import Server, request

DATA = random.Random(1).randbytes(3_000_001)
SHA256 = hashlib.sha256(DATA).hexdigest()
PATH = f"/files/{SHA256}"


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Server) -> None:
    server.store.put(io.BytesIO(DATA))


def test_gives_the_file_with_headers_that_let_it_be_kept(server: Server) -> None:
    answer = request(server.url("GET", PATH, name="Bias ü.fits"))
    assert answer.status == 200
    assert answer.body == DATA
    headers = answer.headers
    assert headers["ETag"] == f'"{SHA256}"'
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert headers["Content-Type"] == "application/fits"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''Bias%20%C3%BC.fits"


def test_head_tells_the_size_and_sends_nothing(server: Server) -> None:
    answer = request(server.url("GET", PATH), "HEAD", headers={"Range": "bytes=0-9"})
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, str(len(DATA)), b"")


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-2879", 0, 2880),
        ("bytes=1048570-1048590", 1048570, 1048591),
        ("bytes=3000000-", 3000000, 3000001),
        ("bytes=2999999-9999999", 2999999, 3000001),
        ("bytes=-5", 2999996, 3000001),
        ("bytes=-9999999", 0, 3000001),
    ],
)
def test_gives_one_range(server: Server, asked: str, first: int, end: int) -> None:
    answer = request(server.url("GET", PATH), headers={"Range": asked})
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(DATA)}"
    assert answer.headers["Content-Length"] == str(end - first)
    assert answer.body == DATA[first:end]


@pytest.mark.parametrize("asked", ["bytes=3000001-", "bytes=-0", "bytes=9000000-9000001"])
def test_a_range_outside_the_file_is_416(server: Server, asked: str) -> None:
    answer = request(server.url("GET", PATH), headers={"Range": asked})
    assert (answer.status, answer.headers["Content-Range"], answer.body) == (416, "bytes */3000001", b"")


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,4-5", "bytes=a-b"])
def test_a_range_that_makes_no_sense_gets_the_whole_file(server: Server, asked: str) -> None:
    answer = request(server.url("GET", PATH), headers={"Range": asked})
    assert (answer.status, len(answer.body)) == (200, len(DATA))


def test_if_range_resumes_only_the_same_bytes(server: Server) -> None:
    url = server.url("GET", PATH)
    same = request(url, headers={"Range": "bytes=10-19", "If-Range": f'"{SHA256}"'})
    assert (same.status, same.body) == (206, DATA[10:20])
    for other in ('"other"', f'W/"{SHA256}"', "Sat, 21 Nov 2026 00:00:00 GMT"):
        assert request(url, headers={"Range": "bytes=10-19", "If-Range": other}).status == 200


def test_who_has_it_gets_304(server: Server) -> None:
    answer = request(server.url("GET", PATH), headers={"If-None-Match": f'"x", "{SHA256}"'})
    assert (answer.status, answer.body) == (304, b"")


def test_one_connection_serves_many_ranges(server: Server) -> None:
    import http.client

    parts = urlsplit(server.url("GET", PATH))
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    for first in range(0, 1_000_000, 100_000):
        last = first + 2879
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Range": f"bytes={first}-{last}"})
        response = connection.getresponse()
        assert response.read() == DATA[first : last + 1]
    connection.close()


def test_put_stores_what_has_the_announced_digest(server: Server) -> None:
    data = b"raw frame" * 1000
    sha256 = hashlib.sha256(data).hexdigest()
    answer = request(server.url("PUT", f"/files/{sha256}", max_size=9000), "PUT", data)
    assert (answer.status, json.loads(answer.body)) == (201, {"sha256": sha256, "size": 9000})
    assert request(server.url("GET", f"/files/{sha256}")).body == data


def test_put_of_other_bytes_is_refused_and_leaves_nothing(server: Server) -> None:
    sha256 = hashlib.sha256(b"what was announced").hexdigest()
    answer = request(server.url("PUT", f"/files/{sha256}"), "PUT", b"what was sent")
    assert answer.status == 422
    assert "have sha256" in json.loads(answer.body)["error"]
    assert request(server.url("GET", f"/files/{sha256}")).status == 404
    assert list((server.root / "incoming").iterdir()) == []


def test_put_beyond_the_signed_size_is_refused_before_it_is_read(server: Server) -> None:
    data = bytes(20_000_000)
    sha256 = hashlib.sha256(data).hexdigest()
    answer = request(server.url("PUT", f"/files/{sha256}", max_size=19_999_999), "PUT", data)
    assert answer.status == 413
    assert not server.store.has(sha256)


def test_an_upload_that_breaks_off_leaves_nothing(server: Server) -> None:
    sha256 = hashlib.sha256(DATA * 2).hexdigest()
    parts = urlsplit(server.url("PUT", f"/files/{sha256}"))
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {2 * len(DATA)}\r\n\r\n"
        connection.sendall(head.encode() + DATA)
    until = time.monotonic() + 30
    while list((server.root / "incoming").iterdir()) and time.monotonic() < until:
        time.sleep(0.02)
    assert list((server.root / "incoming").iterdir()) == []
    assert not server.store.has(sha256)


def test_staging_is_seen_by_nobody_until_it_is_promoted(server: Server) -> None:
    data = b"product" * 500
    sha256 = hashlib.sha256(data).hexdigest()
    query = server.url("PUT", "/staging/job-7.1").partition("?")[2]
    address = f"{server.address}/staging/job-7.1/Bias_chip1.fits?{query}"
    staged = request(address, "PUT", data, {"X-Content-SHA256": sha256})
    assert (staged.status, json.loads(staged.body)) == (201, {"sha256": sha256, "size": len(data)})
    assert request(server.url("GET", f"/files/{sha256}")).status == 404

    promote = server.url("POST", "/staging/job-7.1/promote")
    for _ in range(2):
        answer = request(promote, "POST", json.dumps({"sha256": [sha256]}))
        assert (answer.status, json.loads(answer.body)) == (200, {"promoted": 1})
    assert request(server.url("DELETE", "/staging/job-7.1"), "DELETE").status == 204
    assert request(server.url("GET", f"/files/{sha256}")).body == data
    assert server.store.staged("job-7.1") == []


def test_promoting_what_was_not_staged_promotes_nothing(server: Server) -> None:
    data = b"one of two"
    sha256 = hashlib.sha256(data).hexdigest()
    server.store.stage("job-8.1", "a.fits", io.BytesIO(data))
    body = json.dumps({"sha256": [sha256, "0" * 64]})
    answer = request(server.url("POST", "/staging/job-8.1/promote"), "POST", body)
    assert answer.status == 409
    assert not server.store.has(sha256)


def test_nothing_is_listed(server: Server) -> None:
    for path in ("/", "/files", "/files/", "/staging/", "/objects/", "/staging/job-8.1"):
        answer = request(f"{server.address}{path}")
        assert answer.status in {403, 404, 405}
        assert set(json.loads(answer.body)) == {"error", "hint"}


def test_a_path_out_of_the_store_is_refused(server: Server) -> None:
    for path in ("/files/..%2f..%2fetc%2fpasswd", "/files/" + "A" * 64, "/files/abc"):
        unquoted = path.replace("%2f", "/")
        answer = request(server.url("GET", unquoted).replace(unquoted, path))
        assert answer.status in {400, 404}


def test_health_says_ok(server: Server) -> None:
    answer = request(f"{server.address}/health")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


def test_a_server_without_sendfile_gives_the_same_ranges(server: Server) -> None:
    application = dataserver.application(server.store, server.key)
    query = server.url("GET", PATH).partition("?")[2]
    for asked, first, end in (
        ("bytes=5-1048580", 5, 1048581),
        ("bytes=-7", len(DATA) - 7, len(DATA)),
        ("", 0, len(DATA)),
    ):
        environ = EnvironBuilder(PATH, query_string=query, headers={"Range": asked} if asked else {}).get_environ()
        body, status, _ = run_wsgi_app(application, environ)
        assert status[:3] == ("206" if asked else "200")
        assert b"".join(body) == DATA[first:end]
        body.close()


def test_a_long_download_takes_little_memory(server: Server) -> None:
    big = server.root / "big"
    with big.open("wb") as file:
        for number in range(200):
            file.write(number.to_bytes(4, "big") * (1 << 18))
    sha256 = server.store.put_file(big).sha256
    children = subprocess.run(
        ["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    before = max(_peak_mib(pid) for pid in children)
    for headers in ({}, {"Range": "bytes=1-"}):
        answer = request(server.url("GET", f"/files/{sha256}"), headers=headers)
        assert len(answer.body) == (200 << 20) - len(headers)
    assert max(_peak_mib(pid) for pid in children) - before < 16
    os.unlink(big)


def _peak_mib(pid: str) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
