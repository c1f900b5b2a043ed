"""Signed URLs: good for one thing, for some time."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest

from dataserver.errors import DataServerError, NotAllowed
from dataserver.signing import below, make_key_file, read_keys, sign, signed_url, verify

from .conftest import Server, request

KEY = bytes(range(32))
PATH = "/files/" + "ab" * 32


def test_what_was_signed_is_granted() -> None:
    query = sign(KEY, "PUT", PATH, 2_000, max_size=77)
    grant = verify([b"other" * 8, KEY], "PUT", PATH, query, now=1_999)
    assert (grant.expires, grant.max_size, grant.name, grant.format) == (2_000, 77, "", "")


def test_head_is_allowed_to_who_may_get() -> None:
    assert verify([KEY], "HEAD", PATH, sign(KEY, "GET", PATH, 2_000), now=0).expires == 2_000


@pytest.mark.parametrize(
    ("method", "path", "now"),
    [("PUT", PATH, 0), ("DELETE", PATH, 0), ("GET", PATH + "0", 0), ("GET", PATH.upper(), 0), ("GET", PATH, 2_000)],
)
def test_nothing_else_is(method: str, path: str, now: float) -> None:
    with pytest.raises(NotAllowed):
        verify([KEY], method, path, sign(KEY, "GET", PATH, 2_000), now=now)


def test_no_part_of_a_link_can_be_changed_added_or_left_out() -> None:
    good = sign(KEY, "PUT", PATH, 2_000, max_size=77, name="a.fits")
    pairs = parse_qsl(good)
    changed = [
        urlencode([(name, value + "0" if name == which else value) for name, value in pairs]) for which, _ in pairs
    ]
    left_out = [urlencode([pair for pair in pairs if pair[0] != which]) for which, _ in pairs]
    added = [
        good + "&format=asdf",
        good + "&max_size=78",
        good + "&expires=9999",
        good + "&x=1",
        good + "&signature=",
        good + 20 * "&x=1",
    ]
    for query in [*changed, *left_out, *added, ""]:
        with pytest.raises(NotAllowed):
            verify([KEY], "PUT", PATH, query, now=0)


def test_another_key_signs_nothing() -> None:
    with pytest.raises(NotAllowed):
        verify([KEY], "GET", PATH, sign(KEY[::-1], "GET", PATH, 2_000), now=0)


def test_a_staging_link_takes_a_name() -> None:
    url = signed_url(KEY, "https://host/data/", "PUT", "/staging/7.1")
    assert below(url, "a+b.fits").startswith("https://host/data/staging/7.1/a%2Bb.fits?expires=")


def test_a_key_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data.key"
    make_key_file(path)
    keys = read_keys(path)
    make_key_file(path)
    assert read_keys(path) == keys
    assert [len(key) for key in keys] == [64]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "00ff\n", "ab" * 40 + "\nshort\n"])
def test_a_bad_key_file_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data.key"
    path.write_text(content)
    with pytest.raises(DataServerError, match="the key file"):
        read_keys(path)


def test_the_server_refuses_what_is_not_signed(server: Server) -> None:
    sha256 = server.store.put_file(__file__).sha256
    path = f"/files/{sha256}"
    good = server.url("GET", path)
    refused = [
        request(f"{server.address}{path}"),
        request(server.url("GET", path, lifetime=-1)),
        request(good, "PUT", b"x"),
        request(server.url("PUT", path)),
        request(good[:-1] + ("A" if good[-1] != "A" else "B")),
        request(good.replace(sha256, sha256[::-1])),
        request(f"{server.address}/staging/7.1/x.fits?{good.partition('?')[2]}", "PUT", b"x"),
    ]
    assert [answer.status for answer in refused] == [403] * len(refused)
    assert json.loads(refused[1].body)["error"] == "this link has expired"
    assert request(good).status == 200
