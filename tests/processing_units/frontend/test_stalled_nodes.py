"""A node that loses power in the middle of a message takes no thread of its frontend with it."""

from __future__ import annotations

import io
import socket
import time

import pytest
from django.test import RequestFactory

from processing_units.frontend import unit_api, unit_server


def test_a_connection_that_stalls_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_server, "_STALLED_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        unit_server._drop_stalled(listening)
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            began = time.monotonic()
            with accepted, pytest.raises(BlockingIOError):
                accepted.recv(1)
    assert 0.9 < time.monotonic() - began < 30


def test_half_a_message_is_to_be_sent_again() -> None:
    class Stalled(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            raise BlockingIOError

    request = RequestFactory().post("/unit/up", b"{}", content_type="application/json")
    request._stream = Stalled()  # type: ignore[attr-defined]
    assert unit_api.up(request).status_code == 408
