"""HTTP connections that cost next to nothing, so that a thousand simulated slots leave the machine to the frontend."""

from __future__ import annotations

import asyncio
import time

IDLE_SECONDS = 5.0  # as long as a cluster manager keeps a connection that it does not use
ANSWER_SECONDS = 60.0


class Connections:
    """Connections of one node to its frontend on this machine, used again while they are fresh."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: bytes, token: str) -> tuple[int, bytes]:
        """Post JSON; return the answer's status and body."""
        reader, writer = await self._connection()
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
                fields = dict(line.split(": ", 1) for line in head[1:] if line)
                answer = await reader.readexactly(int(fields.get("content-length", "0")))
        except BaseException:  # also a task that is cancelled: what is half read is of no use to the next one
            writer.transport.abort()
            raise
        if fields.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((time.monotonic(), reader, writer))
        return int(head[0].split()[1]), answer

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            since, reader, writer = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def close(self) -> None:
        """Close them all."""
        while self._idle:
            _, _, writer = self._idle.pop()
            writer.close()
            await writer.wait_closed()
