"""Check and unpack a bundle that anybody may have made: nothing is believed, bounds are counted on the way."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from processing_units.code_shipping.rules import (
    MAXIMUM_ARCHIVE_BYTES,
    MAXIMUM_FILES,
    MAXIMUM_RATIO,
    Budget,
    BundleError,
    BundleFile,
    Names,
    check_content,
    checked_path,
    printable,
)

_PIECE = 1 << 16
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENTRY = b"PK\x01\x02"
_ENCRYPTED = 0x1
_DOS_DIRECTORY = 0x10
# Small files compress well without malice: the ratio counts from here on.
_FREE_BYTES = 1 << 20


def contents(stream: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of a bundle's files, each checked; `stream` is a zip file that can be sought in.

    Raises
    ------
    BundleError
        At the first thing that a bundle may not have; what was yielded before is to be thrown away.
    """
    size = _checked_size(stream)
    names, budget = Names(), Budget()
    try:
        with zipfile.ZipFile(stream) as archive:
            for entry in archive.infolist():
                if _is_folder(entry):
                    continue
                path = _checked_entry(entry)
                names.add(path)
                budget.add_file(path)
                yield path, _read(archive, entry, path, budget, size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise BundleError(f"the bundle cannot be read: {printable(str(error))[:200]}",
                          hint="make it anew: awrecipe run ... --code FOLDER, or any zip") from error  # fmt: skip


def check(stream: BinaryIO) -> tuple[BundleFile, ...]:
    """Check a bundle without writing anything; return its files in the order of their names."""
    files = [_told(path, content) for path, content in contents(stream)]
    if not files:
        raise BundleError("the bundle is empty", hint="pack the folder that holds your recipes/")
    return tuple(sorted(files, key=lambda file: file.path))


def unpack(stream: BinaryIO, target: Path) -> tuple[BundleFile, ...]:
    """Unpack a bundle into `target`, a folder that is not there yet; its files are read-only, of one fixed time.

    Raises
    ------
    BundleError
        It breaks a rule; what was unpacked is for the caller to remove.
    """
    target.mkdir(mode=0o700)
    files = []
    for path, content in contents(stream):
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            file.write(content)
        place.chmod(0o444)
        files.append(_told(path, content))
    return tuple(sorted(files, key=lambda file: file.path))


def _told(path: str, content: bytes) -> BundleFile:
    return BundleFile(path, len(content), hashlib.sha256(content).hexdigest())


def _checked_size(stream: BinaryIO) -> int:
    """Return the bundle's size; count its entries before the list of them is read into memory."""
    stream.seek(0)
    size = entries = 0
    tail = b""
    while piece := stream.read(1 << 20):
        size += len(piece)
        entries += (tail + piece).count(_ENTRY)
        tail = piece[-3:]
        if size > MAXIMUM_ARCHIVE_BYTES:
            raise BundleError(f"the bundle is larger than {MAXIMUM_ARCHIVE_BYTES // 10**6} MB",
                              hint="ship code and configuration alone")  # fmt: skip
        if entries > 2 * MAXIMUM_FILES:
            raise BundleError(f"the bundle holds more than {MAXIMUM_FILES:,} files",
                              hint="ship the folder with your recipes alone")  # fmt: skip
    stream.seek(0)
    return size


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith("/") and entry.file_size == 0 and ".." not in entry.filename.split("/")


def _checked_entry(entry: zipfile.ZipInfo) -> str:
    # zipfile cuts a name at a NUL; what was written is looked at.
    path = checked_path(entry.orig_filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise BundleError(f"{path} is a link", hint="put the file itself there", file=path)
    if kind not in (0, stat.S_IFREG):
        raise BundleError(f"{path} is no plain file", hint="remove it from the folder", file=path)
    if entry.external_attr & _DOS_DIRECTORY:
        raise BundleError(f"{path} is marked as a folder, and has content", hint="pack it anew", file=path)
    if entry.flag_bits & _ENCRYPTED:
        raise BundleError(f"{path} is encrypted", hint="pack it without a password", file=path)
    if entry.compress_type not in _METHODS:
        raise BundleError(f"{path} is packed in a way that is not known here", hint="use plain zip", file=path)
    return path


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str, budget: Budget, size: int) -> bytes:
    """Read one file; bounds are counted on what comes out, whatever the zip file says of itself."""
    pieces = []
    with archive.open(entry) as file:
        while piece := file.read(_PIECE):
            budget.add_bytes(path, len(piece))
            if budget.bytes > max(_FREE_BYTES, MAXIMUM_RATIO * size):
                raise BundleError(
                    f"{path} unpacks to more than {MAXIMUM_RATIO} times the bundle's size",
                    hint="a bundle of honest text does not; pack it anew",
                    file=path,
                )
            check_content(path, piece)
            pieces.append(piece)
    return b"".join(pieces)
