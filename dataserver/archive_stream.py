"""Many files as one zip archive that is made while it is sent: nothing is copied to disk or held in memory.

Files are stored, not compressed (float images do not shrink, and the processor is not the bottleneck then), so that the
archive's size is known before its first byte: a browser shows progress and notices a download that broke off.
"""

from __future__ import annotations

import io
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from dataserver.digests import CHUNK_BYTES

MEDIA_TYPE = "application/zip"
# Sizes of the zip format's records without names and extra fields (APPNOTE.TXT 4.3 and 4.5.3).
_LOCAL_HEADER, _DESCRIPTOR, _CENTRAL_HEADER, _END, _ZIP64_END = 30, 16, 46, 22, 56 + 20
_ZIP64_LOCAL_EXTRA, _ZIP64_DESCRIPTOR = 20, 24
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


@dataclass(frozen=True)
class Entry:
    """One file of an archive: its name there, its size, and how to open it."""

    name: str
    size: int
    open: Callable[[], BinaryIO]
    modified: float = 0.0

    @classmethod
    def of_file(cls, name: str, path: str | os.PathLike[str]) -> Entry:
        """Return the entry of a file on disk, which must not change any more."""
        status = os.stat(path)
        return cls(name, status.st_size, lambda: Path(path).open("rb"), status.st_mtime)

    @classmethod
    def of_bytes(cls, name: str, data: bytes, modified: float = 0.0) -> Entry:
        """Return the entry of a small text or the like."""
        return cls(name, len(data), lambda: io.BytesIO(data), modified)


class ArchiveStream:
    """A zip archive to iterate over once, or as often as wanted.

    Parameters
    ----------
    entries : iterable of Entry
        In this order. Names are made safe to unpack anywhere, and unique.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = list(entries)
        self.names = unique_names(entry.name for entry in self.entries)

    @property
    def size(self) -> int:
        """Size of the whole archive [bytes], to be sent as Content-Length."""
        position = central = 0
        for entry, name in zip(self.entries, self.names, strict=True):
            length = len(name.encode())
            is_large = _needs_zip64(entry.size)
            central_extra = 16 * (entry.size > zipfile.ZIP64_LIMIT) + 8 * (position > zipfile.ZIP64_LIMIT)
            central += _CENTRAL_HEADER + length + (central_extra + 4 if central_extra else 0)
            position += _LOCAL_HEADER + length + entry.size + (_ZIP64_LOCAL_EXTRA if is_large else 0)
            position += _ZIP64_DESCRIPTOR if is_large else _DESCRIPTOR
        is_huge = max(position, central) > zipfile.ZIP64_LIMIT or len(self.entries) > zipfile.ZIP_FILECOUNT_LIMIT
        return position + central + _END + (_ZIP64_END if is_huge else 0)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the archive in pieces of about 1 MiB."""
        sink = _Sink()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for entry, name in zip(self.entries, self.names, strict=True):
                with entry.open() as source, archive.open(_info(entry, name), "w") as target:
                    while chunk := source.read(CHUNK_BYTES):
                        target.write(chunk)
                        yield sink.take()
        yield sink.take()


class _Sink(io.RawIOBase):
    """Where zipfile writes to: it cannot seek, and gives what was written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def unique_names(names: Iterable[str]) -> list[str]:
    """Return names that can be unpacked on any system: relative, without special characters, all different."""
    taken: set[str] = set()
    unique = []
    for name in names:
        parts = [_FORBIDDEN.sub("_", part) for part in name.split("/") if part not in {"", ".", ".."}]
        path = PurePosixPath(*parts) if parts else PurePosixPath("file")
        stem, dot, suffix = path.name.partition(".")
        candidate, number = path, 1
        while str(candidate).casefold() in taken:  # many file systems do not tell upper from lower case
            number += 1
            candidate = path.with_name(f"{stem}-{number}{dot}{suffix}")
        taken.add(str(candidate).casefold())
        unique.append(str(candidate))
    return unique


def _info(entry: Entry, name: str) -> zipfile.ZipInfo:
    # The format's times begin in 1980 and have no zone: UT.
    moment = max(time.gmtime(entry.modified)[:6], (1980, 1, 1, 0, 0, 0))
    info = zipfile.ZipInfo(name, moment)
    info.external_attr = 0o644 << 16
    info.file_size = entry.size  # decides on zip64, which the readers of small archives need not know then
    return info


def _needs_zip64(size: int) -> bool:
    return size * 1.05 > zipfile.ZIP64_LIMIT  # as zipfile decides
