"""A download that was cut off goes on where it was, is checked, and never leaves half a file under its name."""

from __future__ import annotations

import hashlib
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from awclient.client import Portal
from awclient.errors import Lost, UsageProblem
from awclient.transfer import download, file_name, safe_name

from .conftest import Scripted, reply

CONTENT = bytes(range(256)) * 4096  # 1 MiB
PRODUCT: dict[str, Any] = {
    "id": 5, "name": "BiasFrame_a.fits", "size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest(),
}  # fmt: skip


def serve(server: Scripted, *cut_after: int, content: bytes = CONTENT) -> None:
    """Serve the content with Range; the first answers break off after so many bytes."""
    cuts = list(cut_after)

    def signed(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"{server.url}/data/files/x?signature=s")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def file(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        begin = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        if cuts:
            handler.wfile.write(content[begin : begin + cuts.pop(0)])
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            handler.close_connection = True
        else:
            handler.wfile.write(content[begin:])

    server.on("GET", "/api/v1/products/5/download", signed)
    server.on("GET", "/data/files/x", file)


def test_a_folder_that_cannot_be_made_is_said(server: Scripted, portal: Portal, tmp_path: Path) -> None:
    serve(server)
    (tmp_path / "file").write_text("")
    for kind_of_file in ("fits", "asdf"):
        with pytest.raises(UsageProblem, match="cannot be written"):
            download(portal, PRODUCT, tmp_path / "file" / "b.fits", kind_of_file)


def test_it_resumes_with_range_and_without_the_token(server: Scripted, portal: Portal, tmp_path: Path) -> None:
    serve(server, 300_000, 200_000)
    assert download(portal, PRODUCT, tmp_path / "b.fits")
    assert (tmp_path / "b.fits").read_bytes() == CONTENT
    asked = [headers for _, path, headers, _ in server.requests if path.startswith("/data/")]
    assert [headers.get("Range") for headers in asked] == [None, "bytes=300000-", "bytes=500000-"]
    assert not any("Authorization" in headers for headers in asked)
    assert [path.name for path in tmp_path.glob("*.fits")] == ["b.fits"]
    assert not list(tmp_path.glob(".*.part"))


def test_what_is_there_is_not_fetched_again(server: Scripted, portal: Portal, tmp_path: Path) -> None:
    serve(server)
    assert download(portal, PRODUCT, tmp_path / "b.fits")
    assert not download(portal, PRODUCT, tmp_path / "b.fits")
    assert len(server.requests) == 2


def test_a_part_of_another_file_is_thrown_away(server: Scripted, portal: Portal, tmp_path: Path) -> None:
    serve(server)
    (tmp_path / ".b.fits.part").write_bytes(b"something else")
    assert download(portal, PRODUCT, tmp_path / "b.fits")
    assert (tmp_path / "b.fits").read_bytes() == CONTENT


def test_wrong_bytes_are_refused(server: Scripted, portal: Portal, tmp_path: Path) -> None:
    serve(server, content=b"x" * len(CONTENT))
    with pytest.raises(Lost, match="another sha256"):
        download(portal, PRODUCT, tmp_path / "b.fits")
    assert not list(tmp_path.glob("*b.fits*"))


def test_a_refusal_is_said_in_its_own_words(server: Scripted, portal: Portal, tmp_path: Path) -> None:
    server.on(
        "GET", "/api/v1/products/5/download", lambda handler, body: reply(handler, 400, {"error": "no asdf of that"})
    )
    with pytest.raises(UsageProblem, match="no asdf of that"):
        download(portal, PRODUCT, tmp_path / "b.asdf", "asdf")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        (".bashrc", "bashrc"),
        ("a b;c.fits", "a_b_c.fits"),
        ("..\\x\\y.fits", "y.fits"),
        ("...", "product"),
    ],
)
def test_names_from_the_server_are_plain(given: str, kept: str) -> None:
    assert safe_name(given) == kept


def test_other_formats_have_their_own_endings() -> None:
    assert file_name({"name": "SourceList_a.fits"}, "votable") == "SourceList_a.vot"
    assert file_name({"name": "raw.fits.gz"}, "fits") == "raw.fits.gz"
