"""`awrecipe send` reaches a program over a real hub, or says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from awclient.errors import EXIT_OK, EXIT_USAGE
from awclient.main import run
from tests.samp_programs import loaded, running

from .small_portal import Scripted


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program with a hub; give the folder that it loads into."""
    folder = tmp_path / "program"
    folder.mkdir()
    with running(folder, web=False) as hub:
        monkeypatch.setenv("SAMP_HUB", hub)
        yield folder


def _offer(server: Scripted, number: int, mtype: str) -> None:
    def file(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "6")
        handler.end_headers()
        handler.wfile.write(b"SIMPLE")

    server.on("GET", "/files/aa", file)
    params = {"url": f"{server.url}/files/aa", "name": f"frame_{number}"}
    messages = [{"samp.mtype": mtype, "samp.params": params}]
    server.json("GET", f"/api/v1/products/{number}/samp", {"name": f"frame_{number}", "messages": messages})


@pytest.fixture
def send(server: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run `awrecipe send`; return (exit code, standard output, standard error)."""
    monkeypatch.setenv("AWPORTAL_URL", server.url)
    monkeypatch.setenv("AWPORTAL_TOKEN", "aw_test")
    _offer(server, 7, "image.load.fits")
    _offer(server, 8, "spectrum.load.ssa-generic")

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["send", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def test_a_product_reaches_the_program_that_is_named(send: Callable[..., Any], program: Path) -> None:
    code, out, err = send("7", "--to", "ds9")
    assert (code, out) == (EXIT_OK, "SAOImage DS9 has loaded frame_7\n"), err
    assert [each["name"] for each in loaded(program)] == ["frame_7"]
    assert (program / "frame_7").read_bytes() == b"SIMPLE"


def test_who_does_not_take_it_is_said(send: Callable[..., Any], program: Path) -> None:
    code, _, err = send("8")
    assert code == EXIT_USAGE
    assert "no program that takes frame_8 (spectrum.load.ssa-generic) has joined the hub" in err
    code, _, err = send("7", "--to", "topcat")
    assert code == EXIT_USAGE
    assert "no program called 'topcat'" in err
    assert loaded(program) == []


def test_without_a_hub_it_says_what_to_start(
    send: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'none').as_uri()}")
    code, _, err = send("7")
    assert code == EXIT_USAGE
    assert "start TOPCAT or Aladin" in err
