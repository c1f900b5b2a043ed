"""Why the frontend says no, in the words of the recipes' errors: what, where, and how to mend it.

A refusal that the user can mend by asking otherwise is the recipes' :class:`~recipes.errors.UsageError`; the kinds here
are told apart by the interfaces (HTTP 403, 404, 409 and the exit codes of ``awrecipe``).
"""

from __future__ import annotations

from recipes.errors import UsageError


class NotAllowed(UsageError):
    """The user may not do this; a process manager or administrator may, or can allow it."""


class NotNow(NotAllowed):
    """What is asked for is refused for now: a unit that drains, a limit that is reached; what can wait, waits."""


class NotFound(UsageError):
    """There is no such thing, or none that this user may see: the two look the same."""


class TooLate(UsageError):
    """The state has moved on: what was asked for can no longer be done."""


class PlanChanged(TooLate):
    """What a dry run showed would be another thing by now."""


class WrongCode(UsageError):
    """A cluster manager runs another standard code than its frontend."""

    def __init__(self, theirs: str, ours: str) -> None:
        super().__init__(
            f"the unit runs the standard code {ours[:12]}, this cluster manager {theirs[:12]}",
            hint="start it with awworker, which gets that code, or update its installation to the portal's version",
        )


class ScriptWrong(UsageError):
    """A batch script cannot be read, or asks for what cannot be; ``line`` is where (0: nowhere in particular)."""

    def __init__(self, message: str, line: int = 0, *, hint: str = "") -> None:
        super().__init__(f"line {line}: {message}" if line else message, hint=hint)
        self.line = line
