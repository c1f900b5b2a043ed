"""The content-addressed store: a file is its sha256, appears whole or not at all, and never changes.

On disk, below the root::

    objects/ab/abcd...      the files, read-only, by sha256
    staging/ATTEMPT/abcd... what an attempt of a job has handed in and nobody has committed yet
    incoming/               files that are still arriving; nobody sees them
    quarantine/             what a scrub found damaged
    lock                    held together by writers, alone by the collection while it deletes
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dataserver.digests import HashedCopy, Readable, checked_sha256, digest_of_descriptor, writer_of
from dataserver.errors import BadRequest, NotStaged, NotStored, full_disk_reported

DAY_SECONDS = 24 * 3600.0

_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_CANNOT_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

_ATTEMPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")


class Stored(NamedTuple):
    """A file that is in the store, or in an attempt's staging."""

    sha256: str
    size: int


class Damaged(NamedTuple):
    """A file whose bytes no longer have its digest, and where it was put aside."""

    sha256: str
    found: str
    quarantined: Path


class ScrubReport(NamedTuple):
    """What a scrub saw."""

    files: int
    bytes: int
    damaged: list[Damaged]


class Collected(NamedTuple):
    """What a collection removed (or would have)."""

    objects: int
    staged: int
    bytes: int


class Store:
    """A content-addressed store below `root`, used by any number of threads and processes at once.

    Parameters
    ----------
    root : path
        The store's folder on one local (or NFS) file system; made when it is missing.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._objects = self.root / "objects"
        self._staging = self.root / "staging"
        self._incoming = self.root / "incoming"
        self._quarantine = self.root / "quarantine"
        for folder in (self._staging, self._incoming, self._quarantine):
            folder.mkdir(parents=True, exist_ok=True)
        if not (self._objects / "ff").is_dir():  # the last that is made: all are there
            for prefix in range(256):
                (self._objects / f"{prefix:02x}").mkdir(parents=True, exist_ok=True)
            _sync_folder(self._objects)
            _sync_folder(self.root)

    # ------------------------------------------------------------------------------------------------------- reading

    def path(self, sha256: str) -> Path:
        """Return where the file is, or raise NotStored."""
        path = self._place(sha256)
        if not path.is_file():
            raise _not_stored(sha256)
        return path

    def has(self, sha256: str) -> bool:
        """Whether the file is here."""
        return self._place(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Return the file's size in bytes, or raise NotStored."""
        try:
            return self._place(sha256).stat().st_size
        except FileNotFoundError:
            raise _not_stored(sha256) from None

    def open(self, sha256: str) -> BinaryIO:
        """Open the file for reading, or raise NotStored."""
        try:
            return self._place(sha256).open("rb")
        except FileNotFoundError:
            raise _not_stored(sha256) from None

    def open_verified(self, sha256: str) -> BinaryIO:
        """Open the file for reading if its bytes have its digest; else put it into quarantine and raise NotStored."""
        file = self.open(sha256)
        status = os.fstat(file.fileno())
        if digest_of_descriptor(file.fileno())[0] == sha256:
            file.seek(0)
            return file
        file.close()
        aside = self._put_aside(self._place(sha256), status.st_ino)
        raise NotStored(
            f"the file {sha256} was damaged on the data server's disk: it is now in {aside.parent.name}/{aside.name}",
            hint="store it there once more: whoever has the file uploads it again, or it comes from a backup",
        )

    def listing(self) -> Iterator[Stored]:
        """Yield every file in the store, in the order of their digests."""
        for entry in self._entries():
            with suppress(FileNotFoundError):  # collected meanwhile
                yield Stored(entry.name, entry.stat().st_size)

    # ------------------------------------------------------------------------------------------------------- writing

    def put(
        self, stream: Readable, *, expected: str | None = None, size: int | None = None, maximum: int | None = None
    ) -> Stored:
        """Store what `stream` gives; hashed while it is written, seen by others only when it is safe on disk.

        Parameters
        ----------
        stream : file-like
            Read to its end in pieces of 1 MiB.
        expected : str, optional
            Its sha256, where it is known: other bytes are refused with WrongDigest.
        size : int, optional
            Its size, where it is known: the room is reserved first, so that a full disk is told before a byte is read.
        maximum : int, optional
            More bytes than this are refused with TooLarge.

        Raises
        ------
        DiskFull, TooLarge, WrongDigest
            Nothing is kept then.
        """
        with self._arriving(stream, expected, size, maximum) as (arrived, stored), self._locked(fcntl.LOCK_SH):
            self._install(arrived, stored.sha256)
        return stored

    def put_file(self, path: str | os.PathLike[str], *, expected: str | None = None) -> Stored:
        """Store a copy of a local file, which is left as it is."""
        with open(path, "rb", buffering=0) as file:
            return self.put(file, expected=expected, size=os.fstat(file.fileno()).st_size)

    def stage(
        self,
        attempt: str,
        name: str,
        stream: Readable,
        expected: str | None = None,
        *,
        size: int | None = None,
        maximum: int | None = None,
    ) -> Stored:
        """Keep a file for an attempt of a job, out of everyone's sight until it is promoted.

        Parameters
        ----------
        attempt : str
            Key of the attempt: letters, digits, ``.``, ``_`` and ``-``.
        name : str
            The product's name, for messages only: a staged file is known by its sha256.
        stream, expected, size, maximum
            As for :meth:`put`; the maximum is that of all files of the attempt together.
        """
        folder = self._attempt_folder(attempt)
        if not _NAME.fullmatch(name):
            raise BadRequest(f"{name[:80]!r} cannot name a file here", hint="use letters, digits and . _ + = - only")
        room = None if maximum is None else max(0, maximum - sum(file.size for file in self.staged(attempt)))
        with self._arriving(stream, expected, size, room) as (arrived, stored), full_disk_reported(self.root):
            folder.mkdir(exist_ok=True)
            try:
                os.replace(arrived, folder / stored.sha256)
                _sync_folder(folder)
                _sync_folder(self._staging)
            except FileNotFoundError:
                raise NotStaged(f"attempt {attempt} was dropped while it staged {name}") from None
        return stored

    def staged(self, attempt: str) -> list[Stored]:
        """Return what lies in the staging of an attempt."""
        folder = self._attempt_folder(attempt)
        if not folder.is_dir():
            return []
        return sorted(Stored(entry.name, entry.stat().st_size) for entry in os.scandir(folder))

    def promote(self, attempt: str, sha256s: Iterable[str]) -> None:
        """Make staged files part of the store; again and again does no harm, all of them or NotStaged before any."""
        folder = self._attempt_folder(attempt)
        wanted = [(sha256, folder / sha256) for sha256 in map(checked_sha256, sha256s)]
        for sha256, staged in wanted:
            if not staged.is_file() and not self.has(sha256):
                raise NotStaged(f"attempt {attempt} has staged no file {sha256}", hint="stage it again, then commit")
        with self._locked(fcntl.LOCK_SH), full_disk_reported(self.root):
            for sha256, staged in wanted:
                if staged.is_file():
                    self._install(self._second_name(staged), sha256)

    def drop(self, attempt: str) -> None:
        """Forget what an attempt has staged; what was promoted stays in the store."""
        _remove_folder(self._attempt_folder(attempt))

    # ----------------------------------------------------------------------------------------------------- the keeper

    def scrub(self) -> ScrubReport:
        """Hash every file anew; put those that are damaged into quarantine, where nobody is served from."""
        files = size = 0
        damaged = []
        for entry in self._entries():
            try:
                descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # collected meanwhile
                continue
            try:
                found, read = digest_of_descriptor(descriptor)
                # A scrub of terabytes must not push out of memory what users are reading.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
            files, size = files + 1, size + read
            if found != entry.name:
                damaged.append(Damaged(entry.name, found, self._put_aside(Path(entry.path), entry.inode())))
        return ScrubReport(files, size, damaged)

    def collect(
        self,
        referenced: Iterable[str],
        older_than: float = DAY_SECONDS,
        *,
        now: float | None = None,
        dry_run: bool = False,
    ) -> Collected:
        """Remove files that nobody refers to, staging that was never committed, and what never finished arriving.

        Parameters
        ----------
        referenced : iterable of str
            Every sha256 that is to stay. It is read after the store was listed, so what is committed meanwhile stays.
        older_than : float
            Only what was last written, staged or promoted longer ago than this [s].
        now : float, optional
            The time to count from (Unix time [s]).
        dry_run : bool
            Only count.
        """
        before = (time.time() if now is None else now) - older_than
        candidates = {entry.name for entry in self._entries() if _is_older(entry.path, before)}
        for sha256 in referenced:
            candidates.discard(sha256)
        objects = staged = size = 0
        for sha256 in sorted(candidates):
            with self._locked(fcntl.LOCK_EX):
                path = self._place(sha256)
                if _is_older(path, before):  # still: a put or a promotion makes it young again
                    objects, size = objects + 1, size + path.stat().st_size
                    if not dry_run:
                        path.unlink()
        for path in [*self._staging.iterdir(), *self._incoming.iterdir()]:
            if _is_older(path, before):
                sizes = [file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path])]
                staged, size = staged + len(sizes), size + sum(sizes)
                if not dry_run:
                    _remove_folder(path) if path.is_dir() else path.unlink(missing_ok=True)
        return Collected(objects, staged, size)

    # ------------------------------------------------------------------------------------------------------- the floor

    def _place(self, sha256: str) -> Path:
        return self._objects / checked_sha256(sha256)[:2] / sha256

    def _attempt_folder(self, attempt: str) -> Path:
        if not _ATTEMPT.fullmatch(attempt):
            raise BadRequest(f"{attempt[:80]!r} cannot name an attempt", hint="use letters, digits and . _ - only")
        return self._staging / attempt

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        for prefix in range(256):
            with os.scandir(self._objects / f"{prefix:02x}") as entries:
                yield from sorted(entries, key=lambda entry: entry.name)

    def _put_aside(self, place: Path, inode: int) -> Path:
        aside = self._quarantine / f"{place.name}.{time.time_ns()}"
        with self._locked(fcntl.LOCK_EX), suppress(FileNotFoundError):
            if place.stat().st_ino == inode:  # else a put has just healed it
                os.replace(place, aside)
                _sync_folder(self._quarantine)
        return aside

    @contextmanager
    def _arriving(
        self, stream: Readable, expected: str | None, size: int | None, maximum: int | None
    ) -> Iterator[tuple[Path, Stored]]:
        """Write `stream` to a file that nobody sees, checked and synced; it is gone afterwards unless it was moved."""
        if expected is not None:
            checked_sha256(expected)
        path = self._incoming / secrets.token_hex(16)
        try:
            with full_disk_reported(self.root), open(path, "xb", buffering=0) as file:
                reserve_room(file.fileno(), size if maximum is None else min(size or 0, maximum))
                copy = HashedCopy(writer_of(file), maximum)
                copy.drain(stream)
                copy.check(expected, size)
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            yield path, Stored(copy.sha256, copy.size)
        finally:
            path.unlink(missing_ok=True)

    def _second_name(self, staged: Path) -> Path:
        link = self._incoming / secrets.token_hex(16)
        try:
            os.link(staged, link)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            os.replace(staged, link)  # no links on this file system: the file moves, a second promotion finds it stored
        return link

    def _install(self, arrived: Path, sha256: str) -> None:
        # Replacing heals a damaged object and makes an old one young for the collection; readers keep what they have.
        place = self._place(sha256)
        with full_disk_reported(self.root):
            os.replace(arrived, place)
            arrived.unlink(missing_ok=True)  # rename(2) leaves the other name when both are links to one file
            _sync_folder(place.parent)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


def reserve_room(descriptor: int, size: int | None) -> None:
    """Reserve `size` bytes for a file, where the file system can, so that a full disk is told at once."""
    if size:
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise


def _is_older(path: str | os.PathLike[str], before: float) -> bool:
    try:
        return os.stat(path).st_ctime < before
    except FileNotFoundError:
        return False


def _remove_folder(folder: Path) -> None:
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        with suppress(OSError):  # dropped by another at once, or something was staged meanwhile: the collection's
            folder.rmdir()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_stored(sha256: str) -> NotStored:
    return NotStored(f"no file {sha256} is stored here", hint="it was never stored, or it was removed")
