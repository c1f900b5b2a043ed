"""What can go wrong with stored files: each error says what and how to mend it, and knows its HTTP status."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

# EFBIG: a file size limit of the process or of the file system; EDQUOT: the owner's disk quota.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DataServerError(Exception):
    """Base of this package's errors.

    Parameters
    ----------
    message : str
        What was wrong, and where.
    hint : str
        What to do about it.
    """

    status = 500
    transient = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadRequest(DataServerError):
    """A name, a digest or a header that cannot be."""

    status = 400


class NotAllowed(DataServerError):
    """No signature, a wrong one, or one that has expired."""

    status = 403


class NotStored(DataServerError):
    """There is no such file here."""

    status = 404


class NotStaged(DataServerError):
    """A file that is to be promoted lies neither in the attempt's staging nor in the store."""

    status = 409


class TooLarge(DataServerError):
    """More bytes than were allowed."""

    status = 413


class WrongDigest(DataServerError):
    """The bytes that arrived are not the bytes that were announced."""

    status = 422
    transient = True


class DiskFull(DataServerError):
    """No room on the disk (or in the quota) for this file; nothing of it is kept."""

    status = 507
    transient = True


class CacheFull(DataServerError):
    """The cache's size bound leaves no room beside the files that are in use."""

    status = 507
    transient = True


class Busy(DataServerError):
    """The file is on its way, or too many are: ask again soon."""

    status = 503
    transient = True


class FetchFailed(DataServerError):
    """The data server upstream could not be reached, or refused."""

    status = 503

    def __init__(self, message: str, hint: str = "", *, status: int = 503, transient: bool = True) -> None:
        super().__init__(message, hint)
        self.status = status
        self.transient = transient


class WrongFormat(DataServerError):
    """The file cannot be given in that format."""

    status = 400


@contextmanager
def full_disk_reported(where: object) -> Iterator[None]:
    """Turn the operating system's ways of saying "no room" into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise DiskFull(
            f"no room left to write below {where}: {error.strerror}", hint="free some space there, then try again"
        ) from error
