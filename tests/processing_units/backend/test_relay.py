"""Streams over the standard input and output of a process, as over an ssh session."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from processing_units.backend.relay import Relay, RelayError, dial_from
from processing_units.joining.stream_relay import WINDOW

FAR_END = [sys.executable, "-m", "processing_units.joining.stream_relay"]
pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


class Server:
    """Answers what it is told: all of it comes back when the other end has said everything; or nothing is ever read."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.goal = ("127.0.0.1", self.socket.getsockname()[1])
        self.deaf: list[socket.socket] = []
        self.reads = True
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            if self.reads:
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()
            else:
                self.deaf.append(connection)

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        with connection:
            said = b""
            while piece := connection.recv(1 << 16):
                said += piece
            connection.sendall(said)

    def close(self) -> None:
        for connection in self.deaf:
            connection.close()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    made = Relay([*FAR_END, "echo=127.0.0.1:0", "nobody=127.0.0.1:0"], dial_from({"echo": server.goal}))
    made.start()
    yield made
    made.stop()


def asked(port: int, text: bytes) -> bytes:
    """Say all of it, then read the answer to its end."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.settimeout(30)
        said = threading.Thread(target=lambda: (connection.sendall(text), connection.shutdown(socket.SHUT_WR)))
        said.start()
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
        said.join()
        return answer


def test_every_byte_goes_there_and_back(relay: Relay) -> None:
    text = os.urandom(3 * WINDOW + 17)
    assert asked(relay.ports["echo"], text) == text
    assert asked(relay.ports["echo"], b"") == b""


def test_streams_do_not_mix(relay: Relay) -> None:
    texts = [bytes([number]) * 100_000 for number in range(20)]
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = asked(relay.ports["echo"], texts[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[number] for number in range(20)] == texts


def test_one_that_does_not_read_holds_up_no_other(relay: Relay, server: Server) -> None:
    server.reads = False
    with socket.create_connection(("127.0.0.1", relay.ports["echo"])) as stalled:
        stalled.settimeout(0.5)
        with contextlib.suppress(TimeoutError):  # buffers of sockets and the window are full: no more is taken
            stalled.sendall(bytes(256 * WINDOW))
            pytest.fail("all of it was taken, and nobody reads it")
        wait_for(lambda: server.deaf)
        server.reads = True
        assert asked(relay.ports["echo"], b"still here") == b"still here"


def test_what_nobody_answers_is_closed(relay: Relay) -> None:
    assert asked(relay.ports["nobody"], b"") == b""


def test_the_far_end_leaves_with_the_session(relay: Relay) -> None:
    port = relay.ports["echo"]
    with socket.create_connection(("127.0.0.1", port)) as open_one:
        relay.stop()
        assert not relay.is_up
        open_one.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert open_one.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_session_that_is_cut_comes_back_on_its_ports(server: Server, tmp_path: Path) -> None:
    """The old far end has not noticed that its session is gone: the new one takes its place."""
    command = [*FAR_END, "--lock", str(tmp_path / "lock")]
    first = Relay([*command, "echo=127.0.0.1:0"], dial_from({"echo": server.goal}))
    port = first.start()["echo"]
    number = int((tmp_path / "lock").read_text())
    os.kill(number, signal.SIGSTOP)
    second = Relay([*command, f"echo=127.0.0.1:{port}"], dial_from({"echo": server.goal}))
    try:
        assert second.start() == {"echo": port}
        assert asked(port, b"again") == b"again"
        wait_for(lambda: not first.is_up)
    finally:
        second.stop()
        first.stop()


def test_a_login_shell_may_say_what_it_likes(server: Server) -> None:
    talks = ["sh", "-c", 'echo "Welcome to dome"; exec "$@"', "sh", *FAR_END, "echo=127.0.0.1:0"]
    relay = Relay(talks, dial_from({"echo": server.goal}))
    assert asked(relay.start()["echo"], b"hello") == b"hello"
    relay.stop()


def test_a_session_ends_though_another_process_holds_its_pipes(server: Server, tmp_path: Path) -> None:
    """As a master of ssh connections does that outlives the session which began it."""
    holds = [
        "sh",
        "-c",
        'sleep 5 >&- & exec "$@"',
        "sh",
        *FAR_END,
        "--lock",
        str(tmp_path / "lock"),
        "echo=127.0.0.1:0",
    ]
    relay = Relay(holds, dial_from({"echo": server.goal}))
    assert asked(relay.start()["echo"], b"hello") == b"hello"
    began = time.monotonic()
    os.kill(int((tmp_path / "lock").read_text()), signal.SIGTERM)
    while relay.is_up:
        time.sleep(0.02)
    assert time.monotonic() - began < 4
    del relay
    gc.collect()  # tells of whatever was not closed, and a warning is an error here


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        relay = Relay([*FAR_END, f"echo=127.0.0.1:{taken.getsockname()[1]}"], dial_from({}))
        with pytest.raises(RelayError, match="cannot listen"):
            relay.start()
    with pytest.raises(RelayError, match="No such file"):
        Relay(["/no/ssh"], dial_from({})).start()


def test_garbage_ends_the_session() -> None:
    ended = subprocess.run(
        [*FAR_END, "echo=127.0.0.1:0"], check=False, input=b"\xff" * 100, capture_output=True, timeout=60
    )
    assert ended.returncode == 0
    assert ended.stderr == b""
