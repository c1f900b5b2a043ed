"""What can go wrong for `awrecipe`, each with its exit code: a script tells by it what to do next."""

from __future__ import annotations

EXIT_OK = 0
EXIT_RECIPE_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_ALLOWED = 3
EXIT_LOST = 4
EXIT_INTERRUPTED = 130


class ClientError(Exception):
    """An end with a reason for a person: what was wrong, where, and how to mend it."""

    exit_code = EXIT_LOST

    def __init__(self, message: str, *, hint: str = "", field: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.status = status


class RecipeFailed(ClientError):
    """The run ended, but not well."""

    exit_code = EXIT_RECIPE_FAILED


class UsageProblem(ClientError):
    """The request itself cannot be right; the user mends it."""

    exit_code = EXIT_USAGE


class NotAllowed(ClientError):
    """The portal does not let this user do that, or does not know the token."""

    exit_code = EXIT_NOT_ALLOWED


class Lost(ClientError):
    """The portal was not reached in time, or it failed itself; the same command may well work later."""

    exit_code = EXIT_LOST


def error_of_status(status: int, message: str, *, hint: str = "", field: str = "") -> ClientError:
    """Return the error that an HTTP status stands for."""
    kind: type[ClientError] = UsageProblem
    if status in {401, 403}:
        kind = NotAllowed
    elif status >= 500 or status in {408, 429}:
        kind = Lost
    return kind(message, hint=hint, field=field, status=status)
