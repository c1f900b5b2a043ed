"""A small real HTTP server that plays a portal with its faults, and a client with short patience."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from archive.models import Profile
from awclient.client import Portal
from awclient.configuration import Configuration
from awclient.main import run
from awportal.tokens import make_token
from processing_units.frontend.models import ProcessingUnit

from .small_portal import Scripted, SmallPortal, reply


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server on a free port."""
    scripted = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            path = self.path.partition("?")[0]
            scripted.requests.append((self.command, self.path, dict(self.headers), body))
            answer = scripted.answers.get((self.command, path))
            if answer is None:
                reply(self, 404, {"error": f"nothing at {path}", "hint": "", "field": ""})
            else:
                answer(self, body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names of the standard library

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        scripted.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield scripted
        http.shutdown()
        thread.join()


@pytest.fixture
def portal(server: Scripted) -> Iterator[Portal]:
    """A client of that server with a patience of three seconds."""
    with Portal(Configuration(server.url, "aw_test"), patience=3.0) as client:
        yield client


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep configuration and state of `awrecipe` in the test's own directory."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("AWPORTAL_URL", "AWPORTAL_TOKEN", "AWPORTAL_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def awrecipe(
    live_server: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Run the command line in this process; return (exit code, standard output, standard error)."""
    settings.DATA_ROOT = tmp_path / "data"
    settings.BASE_URL = live_server.url
    settings.DATA_URL = f"{live_server.url}/data"
    ProcessingUnit.objects.create(name="local", port=1, key_hash="0" * 64)
    monkeypatch.setattr("processing_units.frontend.dispatch.send_hints", lambda unit: None)
    anna = User.objects.create(username="anna")
    Profile.objects.create(user=anna, user_type=Profile.UserType.CHOOSES)
    _, token = make_token(anna, "test")
    monkeypatch.setenv("AWPORTAL_URL", live_server.url)
    monkeypatch.setenv("AWPORTAL_TOKEN", token)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture(autouse=True, scope="session")
def static_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let WhiteNoise find its directory; the test server, which lives as long as the session, looks once."""
    with override_settings(STATIC_ROOT=tmp_path_factory.mktemp("static")):
        yield


@pytest.fixture
def portal_night(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> SmallPortal:
    """Two chips with biases (one has too few), R with dome and twilight flats, V with twilights only, two exposures."""
    monkeypatch.setenv("AWPORTAL_URL", server.url)
    monkeypatch.setenv("AWPORTAL_TOKEN", "aw_test")
    portal = SmallPortal(server)
    portal.add("RawBias", 4, chip="1")
    portal.add("RawBias", 2, chip="2")
    portal.add("RawDomeFlat", 3, filter="R")
    portal.add("RawTwilightFlat", 3, filter="R")
    portal.add("RawTwilightFlat", 3, filter="V")
    portal.add("RawScience", 2, filter="R")
    return portal
