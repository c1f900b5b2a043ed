"""Carries files between the data server and a node that reaches nothing, by sftp in the connection that we have to it.

What comes from a node is checked: only data servers of the unit are asked, and of the node's files only those below
``incoming/`` and ``outgoing/`` of its cache are touched, as the user who logs in there.
"""

from __future__ import annotations

import logging
import shutil
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from dataserver.cache import ReadThroughCache
from dataserver.client import UploadRefused, upload
from dataserver.errors import DataServerError, FetchFailed, WrongDigest
from dataserver.upstream import Upstream
from processing_units.backend.ssh_connection import SshConnection, SshError
from processing_units.contract import CarryAnswer, CarryRequest
from processing_units.wording import first_fault

log = logging.getLogger(__name__)

AT_A_TIME = 3  # of one host: an sshd takes ten sessions in a connection, one of them is the relay's
LEAST_FREE_BYTES = 256 << 20
_SLOWEST_BYTES_A_SECOND = 100e3
_BEAT_SECONDS = 5.0
_MOST_REQUEST = 1 << 16
_TIMEOUT_SECONDS = 60.0


class Carrier:
    """Carries files to and from one node.

    Parameters
    ----------
    connection : SshConnection
        The connection to it.
    node_cache : str
        The folder of the node's cache there.
    registered : sequence of str
        Addresses of the data servers that may be asked.
    state : path
        Where files lie in between; what was brought once is kept for other nodes, up to ``most_bytes``.
    sftp_server : str
        The command that serves sftp there; empty: the subsystem of its sshd.
    """

    def __init__(
        self,
        connection: SshConnection,
        node_cache: str,
        registered: Sequence[str],
        state: Path,
        most_bytes: int,
        sftp_server: str = "",
    ) -> None:
        self._connection = connection
        self._node_cache = node_cache
        self._state = state
        self._sftp_server = sftp_server
        self._upstream = Upstream(registered, _TIMEOUT_SECONDS)
        self._cache = ReadThroughCache(state / "cache", most_bytes, upstreams=registered)
        self._turn = threading.Semaphore(AT_A_TIME)

    def connected(self) -> socket.socket:
        """Return a connection on which one request is served."""
        theirs, ours = socket.socketpair()
        threading.Thread(target=self._serve, args=(ours,), name="carrier", daemon=True).start()
        return theirs

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(_TIMEOUT_SECONDS)
            said = b""
            while not said.endswith(b"\n") and len(said) < _MOST_REQUEST:
                piece = connection.recv(4096)
                if not piece:
                    return
                said += piece
            try:
                request = CarryRequest.model_validate_json(said)
            except ValidationError as error:
                self._answer(connection, CarryAnswer(error=f"no request: {first_fault(error)}", transient=False))
                return
            self._answer(connection, self._at_work(connection, request))

    @staticmethod
    def _answer(connection: socket.socket, answer: CarryAnswer) -> None:
        connection.sendall(answer.model_dump_json().encode() + b"\n")

    def _at_work(self, connection: socket.socket, request: CarryRequest) -> CarryAnswer:
        """Carry, and let the node know now and then that it goes on."""
        done = threading.Event()

        def beat() -> None:
            with suppress(OSError):
                while not done.wait(_BEAT_SECONDS):
                    connection.sendall(b"\n")

        beating = threading.Thread(target=beat, name="carrier's beat", daemon=True)
        beating.start()
        try:
            return self.carry(request)
        finally:
            done.set()
            beating.join()

    def carry(self, request: CarryRequest) -> CarryAnswer:
        """Carry one file; what is in the way is told in the answer."""
        work: Callable[[CarryRequest], None] = self._bring if request.way == "in" else self._take
        try:
            with self._turn:
                work(request)
        except UploadRefused as error:
            return CarryAnswer(error=error.message, hint=error.hint, refused=error.status, transient=error.transient)
        except FetchFailed as error:
            return CarryAnswer(error=error.message, hint=error.hint, transient=error.transient)
        except DataServerError as error:
            return CarryAnswer(error=error.message, hint=error.hint, wrong_digest=isinstance(error, WrongDigest))
        except (SshError, OSError) as error:
            log.warning("a file could not be carried: %s", error)
            return CarryAnswer(error=f"a file could not be carried by sftp: {error}", hint="awrecipe units test")
        return CarryAnswer()

    def _bring(self, request: CarryRequest) -> None:
        self._look_for_room(request.size)
        with self._cache.fetch(request.sha256, request.size, request.url) as lease:
            self._sftp(f'put {_quoted(str(lease.path))} "{self._node_cache}/incoming/{request.name}"', request.size)

    def _take(self, request: CarryRequest) -> None:
        self._upstream.check(request.url)
        self._look_for_room(request.size)
        taken = self._state / "taken"
        taken.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=taken) as folder:
            path = Path(folder) / request.name
            self._sftp(f'get "{self._node_cache}/outgoing/{request.name}" {_quoted(str(path))}', request.size)
            if path.stat().st_size != request.size:
                raise FetchFailed(f"{path.stat().st_size} bytes came from the node, not {request.size}")
            upload(request.url, path, request.sha256)

    def _look_for_room(self, size: int) -> None:
        free = shutil.disk_usage(self._state).free
        if free < size + LEAST_FREE_BYTES:
            raise FetchFailed(f"the backend has no room for {size} bytes: {free >> 20} MiB are free in {self._state}")

    def _sftp(self, command: str, size: int) -> None:
        self._connection.sftp(command, size, _TIMEOUT_SECONDS + size / _SLOWEST_BYTES_A_SECOND, self._sftp_server)


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
