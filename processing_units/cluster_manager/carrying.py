"""Files of a node that reaches no data server: its backend brings them and takes them by sftp, when it is asked to.

The backend fills files below ``incoming/`` of the node's cache and reads those below ``outgoing/``, no others.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from dataserver.client import UploadRefused
from dataserver.errors import FetchFailed, WrongDigest
from dataserver.signing import below
from dataserver.store import Stored
from processing_units.contract import CarryAnswer, CarryRequest

_SILENCE_SECONDS = 60.0
_MOST_ANSWER = 1 << 16


class Carrier:
    """Asks the backend, which is reached at host and port of this node.

    Parameters
    ----------
    address : tuple of str and int
        Host and port.
    cache : path
        The node's cache.
    """

    def __init__(self, address: tuple[str, int], cache: Path) -> None:
        self._address = address
        self._outgoing = cache / "outgoing"
        self._outgoing.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self._outgoing.iterdir():
            _remove_if_left(path)

    def bring(self, url: str, sha256: str, size: int, name: str) -> None:
        """Have a file of the cache filled; raises what the fetching of a file raises."""
        answer = self._ask(CarryRequest(way="in", name=name, url=url, sha256=sha256, size=size))
        if answer.wrong_digest:
            raise WrongDigest(answer.error, answer.hint)
        if answer.error:
            raise FetchFailed(answer.error, answer.hint, transient=answer.transient)

    def stage(self, staging_url: str, name: str, path: str | os.PathLike[str], sha256: str) -> Stored:
        """Hand a product in, as `dataserver.client.stage` does."""
        with self._laid_out(path) as (outgoing, size):
            url = below(staging_url, name)
            answer = self._ask(CarryRequest(way="out", name=outgoing.name, url=url, sha256=sha256, size=size))
        if answer.refused:
            raise UploadRefused(answer.error, answer.hint, answer.refused)
        if answer.error:
            raise FetchFailed(answer.error, answer.hint)
        return Stored(sha256, size)

    @contextmanager
    def _laid_out(self, path: str | os.PathLike[str]) -> Iterator[tuple[Path, int]]:
        """Lay a file where the backend takes it from, held by us; yield its place and size."""
        outgoing = self._outgoing / secrets.token_hex(16)
        with ExitStack() as stack:
            stack.callback(outgoing.unlink, missing_ok=True)
            held: BinaryIO = stack.enter_context(open(path, "rb"))
            fcntl.flock(held, fcntl.LOCK_SH)  # of all its names
            try:
                os.link(path, outgoing)
            except OSError:  # another file system
                copy = stack.enter_context(outgoing.open("xb"))
                fcntl.flock(copy, fcntl.LOCK_SH)
                shutil.copyfileobj(held, copy)
                copy.flush()
            yield outgoing, os.fstat(held.fileno()).st_size

    def _ask(self, request: CarryRequest) -> CarryAnswer:
        said = b""
        try:
            with socket.create_connection(self._address, 10.0) as connection:
                connection.settimeout(_SILENCE_SECONDS)
                connection.sendall(request.model_dump_json().encode() + b"\n")
                while not said.endswith(b"}\n") and len(said) < _MOST_ANSWER:
                    piece = connection.recv(4096)
                    if not piece:
                        break
                    said = said.lstrip() + piece
            return CarryAnswer.model_validate_json(said)
        except OSError as error:
            reason = f"does not answer ({error})"
        except ValidationError:
            reason = "hung up"
        raise FetchFailed(f"the backend, which carries files to and from this node, {reason}", "is awbackend running?")


def _remove_if_left(path: Path) -> None:
    """Remove what a cluster manager that was killed was handing in: nobody holds it."""
    with suppress(OSError), path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
