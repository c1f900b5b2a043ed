"""How numbers of things and faults of messages are told to users, wherever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # awrecipe counts by this file, and starts without pydantic
    from pydantic import ValidationError


def counted(number: int, noun: str) -> str:
    """Return ``1 job``, ``2 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_fault(error: ValidationError, whole: str = "") -> str:
    """Return the first fault as ``where: what``; `whole` is the name of where, if it is all of it."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or whole
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
