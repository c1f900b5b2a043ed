"""Handing products in, as a node does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dataserver.client import UploadRefused, stage, upload
from dataserver.errors import FetchFailed

from .conftest import Server


def product(folder: Path, data: bytes) -> tuple[Path, str]:
    path = folder / "Bias_chip1.fits"
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def test_a_product_is_staged_for_its_attempt(server: Server, tmp_path: Path) -> None:
    path, sha256 = product(tmp_path, b"pixels" * 100_000)
    url = server.url("PUT", "/staging/12.1", max_size=1_000_000)
    assert stage(url, "Bias_chip1.fits", path, sha256) == (sha256, 600_000)
    assert server.store.staged("12.1") == [(sha256, 600_000)]
    assert not server.store.has(sha256)


def test_an_attempt_cannot_stage_more_than_it_was_given(server: Server, tmp_path: Path) -> None:
    path, sha256 = product(tmp_path, b"a" * 60)
    url = server.url("PUT", "/staging/13.1", max_size=100)
    stage(url, "a.fits", path, sha256)
    other, other_sha256 = product(tmp_path, b"b" * 60)
    with pytest.raises(UploadRefused) as caught:
        stage(url, "b.fits", other, other_sha256)
    assert (caught.value.status, caught.value.transient) == (413, False)


def test_bytes_that_changed_on_the_way_are_refused(server: Server, tmp_path: Path) -> None:
    path, _ = product(tmp_path, b"pixels")
    with pytest.raises(UploadRefused, match="have sha256") as caught:
        stage(server.url("PUT", "/staging/14.1"), "a.fits", path, "0" * 64)
    assert (caught.value.status, caught.value.transient) == (422, True)
    assert server.store.staged("14.1") == []


def test_a_large_file_without_a_right_is_refused_in_words(server: Server, tmp_path: Path) -> None:
    path, sha256 = product(tmp_path, bytes(30_000_000))
    with pytest.raises(UploadRefused, match="this link has expired") as caught:
        upload(server.url("PUT", f"/files/{sha256}", lifetime=-1), path, sha256)
    assert (caught.value.status, caught.value.transient) == (403, False)


def test_a_name_that_leaves_the_staging_is_refused(server: Server, tmp_path: Path) -> None:
    path, sha256 = product(tmp_path, b"x")
    for name in ("../../objects/00", "a/b", ".hidden"):
        with pytest.raises(UploadRefused):
            stage(server.url("PUT", "/staging/15.1"), name, path, sha256)
    assert server.store.staged("15.1") == []


def test_a_data_server_that_is_away_is_told(tmp_path: Path) -> None:
    path, sha256 = product(tmp_path, b"x")
    with pytest.raises(FetchFailed, match="cannot be reached") as caught:
        upload("http://127.0.0.1:1/staging/1.1?signature=secret", path, sha256)
    assert caught.value.transient
    assert "secret" not in caught.value.message
