"""How an attempt can end without a product: whose fault, what, and how to mend it; or dropped without a word."""

from __future__ import annotations

import errno

from processing_units.contract import FaultKind

MESSAGE_LENGTH = 1000


class FaultError(Exception):
    """The attempt failed and the frontend is to be told."""

    def __init__(self, kind: FaultKind, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message[:MESSAGE_LENGTH]
        self.hint = hint[:MESSAGE_LENGTH]


class DroppedError(Exception):
    """The attempt is nobody's any more (cancelled, or given to another): nothing is told, nothing is left."""


def fault_of_os_error(error: OSError, kind: FaultKind, doing: str) -> FaultError:
    """Say which fault an operating system's error on the node is; a full disk is named as such."""
    where = error.filename or ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return disk_full(f"No space left on the node while {doing}" + (f" ({where})" if where else ""))
    return FaultError(
        kind,
        f"{error.strerror or error} while {doing}" + (f" ({where})" if where else ""),
        hint="Ask the process manager to look at the node's scratch and cache directories.",
    )


def disk_full(message: str) -> FaultError:
    """Make the fault of a full disk on the node."""
    return FaultError(
        FaultKind.DISK_FULL,
        message,
        hint="Free space below the node's scratch or cache directory, or give the cluster manager others "
        "(--scratch, --cache); it takes no job until there is room.",
    )
