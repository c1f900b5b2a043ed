"""A head node that passes connections of its cluster on to servers that listen on its own loopback alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def gateway(address: str, ports: Iterable[int]) -> Iterator[None]:
    """Pass on what comes to these ports of an address to the same ports of the loopback."""
    listening = [socket.create_server((address, port)) for port in ports]
    for each in listening:
        threading.Thread(target=_accept, args=(each,), daemon=True).start()
    try:
        yield
    finally:
        for each in listening:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _accept(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    with suppress(OSError):  # it was closed: the end
        while True:
            threading.Thread(target=_connect, args=(listening.accept()[0], port), daemon=True).start()


def _connect(outer: socket.socket, port: int) -> None:
    with outer, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as inner:
        back = threading.Thread(target=_pass_on, args=(inner, outer), daemon=True)
        back.start()
        _pass_on(outer, inner)
        back.join()


def _pass_on(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            to.sendall(piece)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)
