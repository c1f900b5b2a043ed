"""What is in the way of a start is told in one line that says how to mend it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from awportal.launcher.machine import CannotStart, check_port, check_room, lock
from awportal.secret_files import secret


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_port_in_use_names_its_holder(taken_port: int) -> None:
    with pytest.raises(CannotStart, match=rf"port {taken_port} is in use by .* \(process {os.getpid()}\); .*PORT=8100"):
        check_port(taken_port)


def test_a_privileged_port_is_refused() -> None:
    with pytest.raises(CannotStart, match="from 1024 to 65535"):
        check_port(80)


def test_a_second_start_says_where_the_first_one_is(tmp_path: Path) -> None:
    with lock(tmp_path, "http://127.0.0.1:8000"), pytest.raises(CannotStart, match=r"http://127\.0\.0\.1:8000"):
        lock(tmp_path, "http://127.0.0.1:8100")
    lock(tmp_path, "http://127.0.0.1:8100").close()


def test_a_full_disk_is_told_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awportal.launcher.machine.ROOM_NEEDED_MIB", 10**9)
    with pytest.raises(CannotStart, match="MiB are free"):
        check_room(tmp_path)


def test_a_secret_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    assert secret(path) == secret(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert len(secret(path)) >= 50
