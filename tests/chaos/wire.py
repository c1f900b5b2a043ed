"""The wires between users, nodes and servers: proxies that lose, delay, cut or repeat what passes, when asked to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field

from tests.chaos.points import REQUESTS

_PIECE = 1 << 16


@dataclass
class Trouble:
    """What the next request of a kind meets: once."""

    request: str
    how: str
    seconds: float
    met: threading.Event = field(default_factory=threading.Event)


class Wires:
    """Proxies on loopback, all in one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires", daemon=True)
        self._thread.start()
        self._lock = threading.Lock()
        self._troubles: list[Trouble] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False

    def add(self, addresses: list[str], port: int, target: int) -> None:
        """Lead what comes to a port, at any of the addresses, to another of this machine."""
        asyncio.run_coroutine_threadsafe(self._serve(addresses, port, target), self._loop).result(10)

    def lay(self, trouble: Trouble) -> None:
        """Let the next request of its kind meet this."""
        with self._lock:
            self._troubles.append(trouble)

    def take_back(self, trouble: Trouble) -> None:
        """Let it meet nothing."""
        with self._lock, contextlib.suppress(ValueError):
            self._troubles.remove(trouble)

    def cut(self, seconds: float) -> None:
        """End all connections, and all new ones, for a while."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self._end_all)
        threading.Event().wait(seconds)
        self._is_cut = False

    def silence(self, seconds: float) -> None:
        """Let nothing through for a while, then end what waited: nobody knows what arrived."""
        self._loop.call_soon_threadsafe(self._flows.clear)
        threading.Event().wait(seconds)
        self._loop.call_soon_threadsafe(self._end_all)
        self._loop.call_soon_threadsafe(self._flows.set)

    def close(self) -> None:
        """End everything."""
        self._loop.call_soon_threadsafe(self._end_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _end_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, addresses: list[str], port: int, target: int) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._lead(reader, writer, target)

        await asyncio.start_server(connected, addresses, port)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", target)
            await Connection(self, reader, writer, there, back).run()
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def flows(self) -> None:
        """Wait until something may pass."""
        await self._flows.wait()

    def trouble_of(self, piece: bytes) -> Trouble | None:
        """Return what a request meets whose first bytes these are, if it does."""
        with self._lock:
            for trouble in self._troubles:
                if piece.startswith(REQUESTS[trouble.request].encode()):
                    self._troubles.remove(trouble)
                    return trouble
        return None


class Connection:
    """One connection and its two directions."""

    def __init__(
        self,
        wires: Wires,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        self._wires = wires
        self._reader, self._writer = reader, writer
        self._there, self._back = there, back
        self._loses_answer = False
        self._halves_answer = False
        self._late = 0.0

    async def run(self) -> None:
        """Lead both directions until one ends."""
        tasks = [asyncio.ensure_future(self._requests()), asyncio.ensure_future(self._answers())]
        _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._back.transport.abort()

    async def _requests(self) -> None:
        while piece := await self._reader.read(_PIECE):
            await self._wires.flows()
            trouble = self._wires.trouble_of(piece)
            if trouble is not None:
                trouble.met.set()
                piece = await self._whole(piece)
                if trouble.how == "sent twice":
                    await self._send_alone(piece)
                self._loses_answer = trouble.how == "answer lost"
                self._halves_answer = trouble.how == "cut in the middle" and trouble.request == "stage-in"
                self._late = trouble.seconds if trouble.how == "answer late" else 0.0
                if trouble.how == "cut in the middle" and not self._halves_answer:
                    await self._send(piece[: len(piece) - max(1, len(piece) // 4)])
                    await asyncio.sleep(0.05)
                    return
                if trouble.how == "request lost":
                    return
            await self._send(piece)

    async def _send(self, piece: bytes) -> None:
        self._back.write(piece)
        await self._back.drain()

    async def _whole(self, piece: bytes) -> bytes:
        """Return the whole request that begins with `piece`."""
        while b"\r\n\r\n" not in piece:
            piece += await self._reader.read(_PIECE)
        head, _, body = piece.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
        return piece + (await self._reader.readexactly(missing) if missing > 0 else b"")

    async def _send_alone(self, request: bytes) -> None:
        """Send a request on a connection of its own, as something on the way might that asks again."""
        there, back = await asyncio.open_connection("127.0.0.1", self._back.get_extra_info("peername")[1])
        back.write(request)
        await back.drain()
        await asyncio.wait_for(there.read(_PIECE), 30)
        back.transport.abort()

    async def _answers(self) -> None:
        while piece := await self._there.read(_PIECE):
            await self._wires.flows()
            if self._loses_answer:
                return
            if self._late:
                await asyncio.sleep(self._late)
                self._late = 0.0
            if self._halves_answer:
                self._writer.write(piece[: len(piece) // 2])
                await self._writer.drain()
                await asyncio.sleep(0.05)
                return
            self._writer.write(piece)
            await self._writer.drain()
