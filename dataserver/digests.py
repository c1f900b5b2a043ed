"""The one place that hashes: every byte is read once and hashed once, on its way to where it goes."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from typing import Protocol

from dataserver.errors import BadRequest, TooLarge, WrongDigest

CHUNK_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Readable(Protocol):
    """Anything to read bytes from: a file, a request's body, an HTTP response."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


def checked_sha256(text: str) -> str:
    """Return `text` if it is a sha256 in lower-case hexadecimal, or raise BadRequest."""
    if not _SHA256.fullmatch(text):
        raise BadRequest(f"{text[:80]!r} is not a sha256", hint="give 64 hexadecimal digits in lower case")
    return text


class HashedCopy:
    """A copy that is hashed while it streams, from one source or from several in turn (a resumed download)."""

    def __init__(self, write: Callable[[bytes], object] | None = None, maximum: int | None = None) -> None:
        self.size = 0
        self._write = write
        self._maximum = maximum
        self._hash = hashlib.sha256()

    def drain(self, source: Readable) -> None:
        """Read `source` to its end; raise TooLarge as soon as there is more than the maximum."""
        while chunk := source.read(CHUNK_BYTES):
            self.size += len(chunk)
            if self._maximum is not None and self.size > self._maximum:
                raise TooLarge(f"more than {self._maximum} bytes arrived", hint="ask for a larger limit")
            self._hash.update(chunk)
            if self._write is not None:
                self._write(chunk)

    @property
    def sha256(self) -> str:
        """The sha256 of what was copied so far."""
        return self._hash.hexdigest()

    def check(self, sha256: str | None, size: int | None) -> None:
        """Raise WrongDigest unless the copy has this digest and size (None: not known)."""
        hint = "the file was damaged on its way: send it again"
        if size is not None and self.size != size:
            raise WrongDigest(f"{self.size} bytes arrived, {size} were announced", hint)
        if sha256 is not None and self.sha256 != sha256:
            raise WrongDigest(f"the bytes that arrived have sha256 {self.sha256}, not {sha256}", hint)


def writer_of(file: io.RawIOBase) -> Callable[[bytes], None]:
    """Return a function that writes all of a chunk: one write(2) may take only a part of it on a disk that fills up."""

    def write(chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[file.write(rest) or 0 :]

    return write


def digest_of_descriptor(descriptor: int) -> tuple[str, int]:
    """Return sha256 and size of an open file, read from its start.

    The descriptor's position is at the end afterwards.
    """
    os.lseek(descriptor, 0, os.SEEK_SET)
    copy = HashedCopy()
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        copy.drain(file)
    return copy.sha256, copy.size
