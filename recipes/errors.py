"""The three ways in which a recipe can fail: whose fault it is and whether to try again.

Every error tells a person what was wrong, where, and how to mend it (``hint``). The names of the three kinds
(``usage``, ``fatal``, ``transient``) cross the wire in a job's result, see ``processing_units/contract.py``.
"""

from __future__ import annotations

import errno
from typing import ClassVar

_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EIO, errno.EMFILE, errno.ENFILE}


class RecipeError(Exception):
    """Base of the errors that end a job with a reported reason."""

    kind: ClassVar[str] = "fatal"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RecipeError):
    """The inputs or parameters cannot give a right result: the same job would fail again; the user mends it."""

    kind = "usage"


class FatalError(RecipeError):
    """The recipe itself cannot go on: a defect, or data that no change of input mends."""

    kind = "fatal"


class TransientError(RecipeError):
    """The machine was in the way (disk full, memory): the same job may well succeed elsewhere or later."""

    kind = "transient"


def is_of_the_machine(error: Exception) -> bool:
    """Whether an error tells of a full disk, of memory or of a broken device, not of what was read."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _OF_THE_MACHINE)
