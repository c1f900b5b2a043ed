"""Streams over the standard input and output of one ssh session, for hosts that may not call out and forward nothing.

The far end (``python -m processing_units.joining.stream_relay NAME=HOST:PORT ...``, the standard library alone) listens
there; each connection that it takes is carried through the session to the home end
(`processing_units.backend.relay`), which dials for it. One
slow stream holds up no other: of each only `WINDOW` bytes are ever under way.

A frame is kind (1 byte), number of the stream (4), length (4), and so many bytes. The far end says first, in a line of
its own behind whatever a login shell may say, on which ports it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import IO

WINDOW = 1 << 20
PIECE = 1 << 16
BEAT_SECONDS = 5.0
SILENCE_SECONDS = 20.0
MOST_STREAMS = 2000
GREETING = b"awportal relay "
_HEADER = struct.Struct(">BII")
_LOCK_SECONDS = 10.0


class Kind(IntEnum):
    """What a frame says."""

    OPEN = 1  # a connection was taken; the payload names where
    DATA = 2
    END = 3  # no more data in this direction
    RESET = 4  # the stream is gone
    CREDIT = 5  # so many bytes have been passed on: as many may be sent again
    BEAT = 6  # the session is alive


@dataclass
class _Stream:
    """One connection: what came for it, and how much may be sent."""

    number: int
    pieces: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    credit: int = WINDOW
    more_credit: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    task: asyncio.Task[None] | None = None


class Streams:
    """Either end: carries connections as frames until the other end is gone or says nothing for `SILENCE_SECONDS`.

    ``dial`` returns a connected socket for the name of a listener; it is called in a thread, at home alone.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        dial: Callable[[str], socket.socket] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._dial = dial
        self._streams: dict[int, _Stream] = {}
        self._last = 0

    async def run(self) -> None:
        """Carry until the session ends; then all connections are closed."""
        beat = asyncio.create_task(self._beat())
        try:
            while True:
                kind, number, length = _HEADER.unpack(await self._read(_HEADER.size))
                if length > PIECE:
                    raise ConnectionError("what comes is no frame")
                self._take(kind, number, await self._read(length))
        except (EOFError, OSError, TimeoutError, ValueError):
            return
        finally:
            tasks = [beat, *(stream.task for stream in self._streams.values() if stream.task)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def accept(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection that the listener of this name has taken."""
        if len(self._streams) >= MOST_STREAMS:
            writer.transport.abort()
            return
        self._last += 1
        stream = self._streams[self._last] = _Stream(self._last)
        stream.task = asyncio.create_task(self._carry(stream, reader, writer, name))

    async def _read(self, length: int) -> bytes:
        async with asyncio.timeout(SILENCE_SECONDS):  # wait_for of Python 3.11 may lose a cancellation
            return await self._reader.readexactly(length)

    async def _send(self, kind: Kind, number: int = 0, payload: bytes = b"") -> None:
        self._writer.write(_HEADER.pack(kind, number, len(payload)) + payload)
        await self._writer.drain()

    async def _beat(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self._send(Kind.BEAT)
                await asyncio.sleep(BEAT_SECONDS)

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        """Pass a frame on; never waits, as a sender keeps to its window."""
        if kind == Kind.OPEN and self._dial is not None and number not in self._streams:
            stream = self._streams[number] = _Stream(number)
            stream.task = asyncio.create_task(self._connect(stream, payload.decode()))
            return
        found = self._streams.get(number)
        if found is None:  # it was closed here this moment, or the frame is a beat
            return
        if kind == Kind.DATA:
            found.under_way += len(payload)
            if found.under_way > WINDOW:
                raise ConnectionError("more was sent than there is room for")
            found.pieces.put_nowait(payload)
        elif kind == Kind.END:
            found.pieces.put_nowait(None)
        elif kind == Kind.CREDIT:
            found.credit += int.from_bytes(payload)
            found.more_credit.set()
        elif kind == Kind.RESET and found.task is not None:
            found.task.cancel()

    async def _connect(self, stream: _Stream, name: str) -> None:
        assert self._dial is not None  # noqa: S101 - said for the type checker
        dialling = asyncio.get_running_loop().run_in_executor(None, self._dial, name)
        try:
            reader, writer = await asyncio.open_connection(sock=await asyncio.shield(dialling))
        except asyncio.CancelledError:
            dialling.add_done_callback(_hang_up)
            raise
        except (OSError, KeyError):
            del self._streams[stream.number]
            with contextlib.suppress(OSError):
                await self._send(Kind.RESET, stream.number)
            return
        await self._carry(stream, reader, writer)

    async def _carry(
        self, stream: _Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = ""
    ) -> None:
        """Carry both directions; closed when both have ended, aborted when one breaks."""
        ways: list[asyncio.Task[None]] = []
        try:
            if name:
                await self._send(Kind.OPEN, stream.number, name.encode())
            ways = [asyncio.create_task(way) for way in (self._send_all(stream, reader), self._pass_on(stream, writer))]
            await asyncio.gather(*ways)
            writer.close()
        except OSError:
            with contextlib.suppress(OSError):
                await self._send(Kind.RESET, stream.number)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            if not writer.is_closing():
                writer.transport.abort()
            self._streams.pop(stream.number, None)

    async def _send_all(self, stream: _Stream, reader: asyncio.StreamReader) -> None:
        while True:
            while stream.credit <= 0:
                stream.more_credit.clear()
                await stream.more_credit.wait()
            piece = await reader.read(min(PIECE, stream.credit))
            if not piece:
                await self._send(Kind.END, stream.number)
                return
            stream.credit -= len(piece)
            await self._send(Kind.DATA, stream.number, piece)

    async def _pass_on(self, stream: _Stream, writer: asyncio.StreamWriter) -> None:
        while (piece := await stream.pieces.get()) is not None:
            writer.write(piece)
            await writer.drain()
            stream.under_way -= len(piece)
            await self._send(Kind.CREDIT, stream.number, len(piece).to_bytes(4))
        writer.write_eof()


def _hang_up(dialling: asyncio.Future[socket.socket]) -> None:
    """Close what a thread has dialled for a stream that is gone."""
    if not dialling.cancelled() and dialling.exception() is None:
        dialling.result().close()


async def open_pipes(
    readable: IO[bytes], writable: IO[bytes]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Callable[[], None]]:
    """Return a reader and a writer of two pipes, and what closes both in the loop's next turn, whatever is unsent."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    incoming, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), readable)
    outgoing, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), writable
    )

    def close() -> None:
        incoming.close()
        if not outgoing.is_closing():  # it has closed itself when the other end went
            outgoing.abort()

    return reader, asyncio.StreamWriter(outgoing, protocol, None, loop), close


# ------------------------------------------------------------------------------------------------------- the far end


async def listen(listeners: Mapping[str, tuple[str, int]]) -> None:
    """Take connections at host and port (0: any), and carry them through standard input and output, until they end."""
    reader, writer, _ = await open_pipes(sys.stdin.buffer, sys.stdout.buffer)
    streams = Streams(reader, writer)
    servers = {
        name: await asyncio.start_server(partial(streams.accept, name), host, port)
        for name, (host, port) in listeners.items()
    }
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    writer.write(GREETING + json.dumps(ports).encode() + b"\n")
    await streams.run()


def take_over(lock_file: Path) -> int:
    """Be the only far end of this file: one whose session was cut, and who has not noticed yet, is killed."""
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor
        before = os.pread(descriptor, 20, 0)
        if before.isdigit():  # the lock is held, so this process lives
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(before), signal.SIGKILL)
        time.sleep(0.05)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the far end."""
    parser = argparse.ArgumentParser(prog="stream_relay", description=__doc__)
    parser.add_argument("--lock", type=Path, help="of several with this file only the last one stays")
    parser.add_argument("listeners", nargs="+", metavar="NAME=HOST:PORT")
    given = parser.parse_args(arguments)
    listeners = {}
    for word in given.listeners:
        name, _, place = word.partition("=")
        host, _, port = place.rpartition(":")
        listeners[name] = (host.strip("[]"), int(port))
    try:
        if given.lock is not None:
            take_over(given.lock)
        asyncio.run(listen(listeners))
    except OSError as error:
        print(f"the relay cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
