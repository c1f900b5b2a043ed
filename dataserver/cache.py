"""The read-through cache: files by sha256, fetched once for many readers, verified, and bounded in size.

Any number of threads and processes of one machine share a cache folder (on a local disk: it relies on flock). What is
known of a file is the file itself and the locks on it, which end with the process that holds them: nothing is left to
mend after a kill -9.

On disk, below the root::

    objects/ab/abcd...  whole files; a reader holds a shared lock on the file, an eviction needs the exclusive one
    fetching/abcd...    lock files: who holds one fetches, the others wait for it
    incoming/           files that are arriving, reserved at full size, locked by who writes them
    lock                held while room is counted and made
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from dataserver.digests import HashedCopy, checked_sha256, digest_of_descriptor, writer_of
from dataserver.errors import Busy, CacheFull, DiskFull, FetchFailed, TooLarge, WrongDigest, full_disk_reported
from dataserver.store import reserve_room
from dataserver.upstream import Upstream, shown

_POLL_SECONDS = 0.1
log = logging.getLogger(__name__)


class Lease:
    """The right to a file of the cache: as long as it is open, the file stays where it is.

    Use it as a context manager, or call :meth:`close` at the end; it ends with the process in any case.
    """

    def __init__(self, path: Path, sha256: str, size: int, descriptor: int) -> None:
        self.path = path
        self.sha256 = sha256
        self.size = size
        self._descriptor = descriptor

    def open(self) -> BinaryIO:
        """Open the file for reading."""
        return self.path.open("rb")

    def close(self) -> None:
        """Give the file back; it may be evicted from now on."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Seen(NamedTuple):
    """What a file looked like when it was last found to have its digest."""

    inode: int
    size: int
    modified: int
    at: float


class ReadThroughCache:
    """Files by sha256 in a folder of bounded size, fetched from a data server when they are not there.

    Parameters
    ----------
    root : path
        Folder of the cache; made when it is missing.
    max_bytes : int
        All files together, those that are still arriving included, are never larger.
    upstreams : sequence of str, optional
        The only addresses (``https://host/data``) that files are fetched from; None trusts the caller's URLs.
    verified_for : float, optional
        A hit is hashed anew unless this process did so less than this ago [s] and the file is untouched since.
    timeout : float, optional
        How long the data server may say nothing before the fetch fails [s].
    room_timeout : float, optional
        How long to wait for readers to give back files when all of them are in use [s].
    busy_timeout : float, optional
        How long to wait for a file that another fetches [s] before raising Busy; None waits to its end.
    authorities : str, optional
        PEM file of those whose certificates are trusted for https instead of the system's.
    bring : callable, optional
        Has a file brought where no data server is reached from here: called with URL, sha256, size and the name below
        ``incoming/`` of a file that somebody else is to fill.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        max_bytes: int,
        *,
        upstreams: Sequence[str] | None = None,
        verified_for: float = 0.0,
        timeout: float = 60.0,
        room_timeout: float = 30.0,
        busy_timeout: float | None = None,
        authorities: str | None = None,
        bring: Callable[[str, str, int, str], None] | None = None,
    ) -> None:
        self.root = Path(root)
        self.max_bytes = max_bytes
        self._bring = bring
        self.upstream = Upstream(upstreams, timeout, authorities)
        self._verified_for = verified_for
        self._room_timeout = room_timeout
        self._busy_timeout = busy_timeout
        self._seen: dict[str, _Seen] = {}
        self._seen_lock = threading.Lock()
        self._objects = self.root / "objects"
        self._incoming = self.root / "incoming"
        self._fetching = self.root / "fetching"
        for folder in (self._incoming, self._fetching, *(self._objects / f"{prefix:02x}" for prefix in range(256))):
            folder.mkdir(parents=True, exist_ok=True)
        with self._counting():
            self._sweep()

    def fetch(self, sha256: str, size: int | None, url: str, *, afresh: bool = False) -> Lease:
        """Return a lease on the verified file, from the cache or else from `url`.

        Parameters
        ----------
        sha256 : str
            What the file must be.
        size : int or None
            Its size, or None to take the one that the data server says.
        url : str
            Its signed URL; only asked when the file is not here.
        afresh : bool, optional
            Hash what is here in any case: somebody has got damaged bytes.

        Raises
        ------
        FetchFailed
            The data server could not be reached, refused, or cut the connection; ``transient`` tells whether to try
            again.
        WrongDigest
            It gave other bytes.
        CacheFull, DiskFull
            There is no room.
        Busy
            Another is still fetching it.
        """
        lease = self.held(sha256, afresh=afresh)
        if lease is None:
            with self._alone(sha256):
                lease = self.held(sha256) or self._downloaded(sha256, size, url)
        return lease

    def _downloaded(self, sha256: str, size: int | None, url: str) -> Lease:
        try:
            return self._download(sha256, size, url)
        except WrongDigest as error:
            log.warning("%s of %s; it is to look at its file, and is asked again", error.message, shown(url))
            return self._download(sha256, size, url, afresh=True)

    def held(self, sha256: str, *, afresh: bool = False) -> Lease | None:
        """Return a lease on the file if it is here and undamaged; a damaged one is dropped."""
        path = self._objects / checked_sha256(sha256)[:2] / sha256
        while True:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if not _is_at(descriptor, path):  # evicted, or replaced, while we waited for the lock
                    os.close(descriptor)
                    continue
                if not self._is_whole(descriptor, sha256, afresh):
                    log.warning("%s is damaged: it is fetched anew", path)
                    self._drop(descriptor, path)
                    os.close(descriptor)
                    return None
                status = os.fstat(descriptor)
                # The time of access is our own record of use (mount options do not matter to utime).
                with suppress(PermissionError):  # another user's file
                    os.utime(descriptor, ns=(time.time_ns(), status.st_mtime_ns))
            except BaseException:
                os.close(descriptor)
                raise
            return Lease(path, sha256, status.st_size, descriptor)

    def names(self) -> list[str]:
        """Return the sha256 of the files that are here, the last used first."""
        return [path.name for _, _, path in sorted(self._files(), reverse=True)]

    def used_bytes(self) -> int:
        """Return the size of all files that are here or arriving."""
        arriving = sum(max(status.st_size, _promised_size(path)) for path, status in self._arriving())
        return sum(size for _, size, _ in self._files()) + arriving

    def trim(self) -> None:
        """Remove what is above the bound: it may have been larger before."""
        with self._counting():
            self._evict(self.used_bytes() - self.max_bytes)

    # ------------------------------------------------------------------------------------------------------- the floor

    def _is_whole(self, descriptor: int, sha256: str, afresh: bool) -> bool:
        status = os.fstat(descriptor)
        with self._seen_lock:
            seen = self._seen.get(sha256)
        if (
            not afresh
            and seen is not None
            and time.monotonic() - seen.at < self._verified_for
            and (seen.inode, seen.size, seen.modified) == (status.st_ino, status.st_size, status.st_mtime_ns)
        ):
            return True
        return digest_of_descriptor(descriptor)[0] == sha256 and self._remember(descriptor, sha256)

    def _drop(self, descriptor: int, path: Path) -> None:
        """Remove a damaged file, unless others hold it: then what is fetched anew takes its place."""
        with self._counting(), suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                path.unlink()

    def _remember(self, descriptor: int, sha256: str) -> bool:
        if self._verified_for > 0:
            status = os.fstat(descriptor)
            with self._seen_lock:
                self._seen[sha256] = _Seen(status.st_ino, status.st_size, status.st_mtime_ns, time.monotonic())
        return True

    def _download(self, sha256: str, size: int | None, url: str, *, afresh: bool = False) -> Lease:
        if self._bring is not None and size is not None:
            return self._brought(self._bring, sha256, size, url)
        with (
            self.upstream.opened(url, size, afresh=afresh) as source,
            self._arrival(source.size) as (incoming, descriptor),
        ):
            with full_disk_reported(self.root), open(descriptor, "wb", buffering=0, closefd=False) as file:
                copy = HashedCopy(writer_of(file), source.size)
                copy.drain(source)
            copy.check(sha256, source.size)
            return self._keep(incoming, descriptor, sha256, source.size)

    def _brought(self, bring: Callable[[str, str, int, str], None], sha256: str, size: int, url: str) -> Lease:
        with self._arrival(size) as (incoming, descriptor):
            bring(url, sha256, size, incoming.name)
            copy = HashedCopy(maximum=size)
            with open(incoming, "rb", buffering=0) as file:
                if not os.path.samestat(os.fstat(file.fileno()), os.fstat(descriptor)):
                    raise FetchFailed("another file was put in place of the one that was to be filled")
                try:
                    copy.drain(file)
                except TooLarge as error:
                    raise WrongDigest(f"more than the {size} bytes that were announced arrived") from error
            copy.check(sha256, size)
            return self._keep(incoming, descriptor, sha256, size)

    @contextmanager
    def _arrival(self, size: int) -> Iterator[tuple[Path, int]]:
        """Yield a new file of that size, locked by us; nothing is left of it after an error."""
        incoming, descriptor = self._reserve(size)
        try:
            yield incoming, descriptor
        except BaseException:
            incoming.unlink(missing_ok=True)
            os.close(descriptor)
            raise

    def _keep(self, incoming: Path, descriptor: int, sha256: str, size: int) -> Lease:
        path = self._objects / sha256[:2] / sha256
        os.fchmod(descriptor, 0o444)
        with self._counting():  # nobody sweeps or evicts between the two locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.replace(incoming, path)
        self._remember(descriptor, sha256)
        return Lease(path, sha256, size, descriptor)

    def _reserve(self, size: int) -> tuple[Path, int]:
        """Make room for `size` bytes and return a new file of that size, locked by us."""
        if size > self.max_bytes:
            raise CacheFull(
                f"a file of {size} bytes is larger than the whole cache below {self.root} ({self.max_bytes} bytes)",
                hint="give the cache more room",
            )
        until = time.monotonic() + self._room_timeout
        while True:
            with self._counting():
                self._sweep()
                lacking = self.used_bytes() + size - self.max_bytes
                if lacking <= 0 or self._evict(lacking) >= lacking:
                    return self._reserved(size)
            if time.monotonic() > until:
                raise CacheFull(
                    f"no room for {size} bytes in the cache below {self.root}: all its files are in use",
                    hint="give the cache more room, or the node fewer slots",
                )
            time.sleep(_POLL_SECONDS)

    def _reserved(self, size: int) -> tuple[Path, int]:
        path = self._incoming / f"{secrets.token_hex(16)}-{size}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            while True:
                try:
                    with full_disk_reported(self.root):
                        reserve_room(descriptor, size)
                        os.ftruncate(descriptor, size)
                        return path, descriptor
                except DiskFull:  # others fill the disk too: give back what we can spare
                    if not self._evict(size):
                        raise
        except BaseException:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise

    def _evict(self, lacking: int) -> int:
        """Remove the files that were not used for longest, until `lacking` bytes are free; leave those in use."""
        freed = 0
        for _, size, path in sorted(self._files()):
            if freed >= lacking:
                break
            with _locked_if_free(path) as is_ours:
                if is_ours:
                    path.unlink(missing_ok=True)
                    freed += size
        return freed

    def _sweep(self) -> None:
        """Remove what processes that are gone were fetching: nobody holds the lock."""
        for path, _ in self._arriving():
            with _locked_if_free(path) as is_ours:
                if is_ours:
                    path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Yield (time of last use, size, path) of every file."""
        for prefix in range(256):
            with os.scandir(self._objects / f"{prefix:02x}") as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        status = entry.stat()
                        yield status.st_atime_ns, status.st_size, Path(entry.path)

    def _arriving(self) -> Iterator[tuple[Path, os.stat_result]]:
        with os.scandir(self._incoming) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    yield Path(entry.path), entry.stat()

    @contextmanager
    def _counting(self) -> Iterator[None]:
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _alone(self, sha256: str) -> Iterator[None]:
        """Be the only one, of all threads and processes, that fetches this file."""
        path = self._fetching / sha256
        until = None if self._busy_timeout is None else time.monotonic() + self._busy_timeout
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if _lock(descriptor, until) and _is_at(descriptor, path):
                break
            os.close(descriptor)  # who had it before us has removed it: wait at the new one
            if until is not None and time.monotonic() > until:
                raise Busy(f"{sha256} is on its way to this cache", hint="ask again in some seconds")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _lock(descriptor: int, until: float | None) -> bool:
    """Take the exclusive lock; with a time (monotonic [s]) give up then."""
    if until is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_SECONDS)


def _promised_size(path: Path) -> int:
    """Return the size for which room was made: whoever fills a file from outside begins it anew."""
    size = path.name.rpartition("-")[2]
    return int(size) if size.isdecimal() and len(size) < 20 else 0


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that the path names now."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


@contextmanager
def _locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the file's exclusive lock; yield whether we got it: False when it is in use or gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield _is_at(descriptor, path)
    finally:
        os.close(descriptor)
