"""The home end of streams over one ssh session: what the far end takes there is dialled here.

`processing_units.joining.stream_relay` is the far end, and says how the streams are carried.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence

from processing_units.joining.stream_relay import GREETING, Streams

_MOST_NOISE = 1 << 16


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
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - they are pipes
        said = asyncio.create_task(process.stderr.read(_MOST_NOISE))
        try:
            self.ports = await _greeting(process.stdout)
            self._started.set()
            await Streams(process.stdout, process.stdin, self._dial).run()
        except EOFError:
            last = (await said).decode(errors="replace").strip().splitlines()[-1:]
            raise EOFError(last[0][:300] if last else "the session ended at once") from None
        finally:
            process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            said.cancel()


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
