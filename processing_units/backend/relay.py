"""The home end of streams over one ssh session: what the far end takes there is dialled here.

`processing_units.joining.stream_relay` is the far end, and says how the streams are carried.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from processing_units.joining.stream_relay import GREETING, Streams, open_pipes

_MOST_NOISE = 1 << 16
_END_SECONDS = 3.0


class RelayError(Exception):
    """The far end could not be started, or its ports not be had; says why."""


class Relay:
    """The home end: starts the far end by a command (an ssh session) and dials for the connections that come.

    Parameters
    ----------
    command : sequence of str
        Starts the far end; its standard input and output are the session.
    dial : callable
        Returns a connected socket for the name of a listener, or raises OSError or KeyError.
    """

    def __init__(self, command: Sequence[str], dial: Callable[[str], socket.socket]) -> None:
        self._command = list(command)
        self._dial = dial
        self._started = threading.Event()
        self._ended = threading.Event()
        self._stop: Callable[[], object] = self._ended.set
        self._error = ""
        self.ports: dict[str, int] = {}

    @property
    def is_up(self) -> bool:
        """Whether the session stands."""
        return self._started.is_set() and not self._ended.is_set()

    def start(self, seconds: float = 30.0) -> dict[str, int]:
        """Start the far end; return on which port each of its listeners is. Raises `RelayError`."""
        threading.Thread(target=self._run, name="relay", daemon=True).start()
        if not self._started.wait(seconds):
            self._error = self._error or f"it did not begin within {seconds:.0f} s"
            self.stop()
        if self._error:
            raise RelayError(self._error)
        return self.ports

    def stop(self) -> None:
        """End the session and all its streams."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._stop()
        self._ended.wait(5.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except asyncio.CancelledError:
            pass
        except (OSError, EOFError, ValueError) as error:
            self._error = str(error) or type(error).__name__
        finally:
            self._ended.set()
            self._started.set()

    async def _work(self) -> None:
        loop, work = asyncio.get_running_loop(), asyncio.current_task()
        assert work is not None  # noqa: S101 - said for the type checker
        self._stop = lambda: loop.call_soon_threadsafe(work.cancel)
        # asyncio's own processes have ended only when nobody holds their pipes, and what a session has started may hold
        # them longer than it lives, as ssh's master of connections does. A file for its errors holds up nobody.
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
            assert process.stdin and process.stdout  # noqa: S101, PT018 - they are pipes
            reader, writer, close = await open_pipes(process.stdout, process.stdin)
            try:
                self.ports = await _greeting(reader)
                self._started.set()
                await Streams(reader, writer, self._dial).run()
            except EOFError:
                raise EOFError(_last_line(errors) or "the session ended at once") from None
            finally:
                close()
                await asyncio.sleep(0)
                await asyncio.to_thread(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _MOST_NOISE))
    return "".join(errors.read().decode(errors="replace").strip().splitlines()[-1:])[:300]


async def _greeting(reader: asyncio.StreamReader) -> dict[str, int]:
    """Return the ports of the far end; what a login shell says before it is passed over."""
    read = 0
    while read < _MOST_NOISE:
        line = await reader.readline()
        read += len(line)
        if line.startswith(GREETING):
            return {str(name): int(port) for name, port in json.loads(line[len(GREETING) :]).items()}
        if not line:
            break
    raise EOFError("the session ended before it began")


def dial_from(goals: Mapping[str, tuple[str, int]]) -> Callable[[str], socket.socket]:
    """Return a ``dial`` for `Relay` that connects to host and port by the listener's name."""

    def dial(name: str) -> socket.socket:
        return socket.create_connection(goals[name], 10.0)

    return dial
