"""A user's ``Environment.cfg`` in the web: brought once, checked, and the start of every run's form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO

from django.utils import timezone

from archive.context import Context
from awportal.models import KeptEnvironment
from processing_units.code_shipping.environment import FILE_NAME, LARGEST_FILE, read_environment, variable_for
from processing_units.code_shipping.rules import BundleError
from processing_units.frontend.environment import check_environment
from processing_units.frontend.models import CodeBundle
from recipes.errors import UsageError


def keep_environment(file: IO[bytes], context: Context) -> KeptEnvironment:
    """Read a file and keep what it says for this user, in place of the one before.

    Raises
    ------
    UsageError
        It cannot be read, or says what cannot be or what this user may not choose; nothing is changed.
    """
    try:
        found = read_environment(file.read(LARGEST_FILE + 1).decode())
    except BundleError as problem:
        raise UsageError(problem.message, hint=problem.hint) from None
    except UnicodeDecodeError:
        raise UsageError(f"{FILE_NAME} is not a text file", hint="docs/code-shipping.md shows a right one") from None
    entries = check_environment(found.entries, context)
    passed_over = [*found.passed_over, *(entry for entry in found.entries if entry not in entries)]
    kept, _ = KeptEnvironment.objects.update_or_create(
        user=context.user, defaults={"entries": entries, "passed_over": passed_over, "brought": timezone.now()}
    )
    return kept


def environment_for(context: Context, code: str = "") -> dict[str, str]:
    """Return what a form of this user begins with: of the bundle that runs where it has a file, else of the account."""
    if code:
        bundle = CodeBundle.objects.filter(owner=context.user, digest=code).first()
        if bundle is not None and bundle.environment:
            return dict(bundle.environment)
    kept = KeptEnvironment.objects.filter(user=context.user).first()
    return dict(kept.entries) if kept else {}


@dataclass(frozen=True)
class Setting:
    """An entry, the variable that overrules it on a command line, and what said its value."""

    name: str
    value: str
    variable: str
    said_by: str


def settings_of(entries: Mapping[str, str], overruled_by: Iterable[str] = ()) -> list[Setting]:
    """Return the entries, those of the context first; `overruled_by` are the variables that overruled the file."""
    variables = frozenset(overruled_by)
    ordered = sorted(entries.items(), key=lambda item: ("." in item[0], item[0]))
    return [
        Setting(name, value, variable, variable if variable in variables else FILE_NAME)
        for name, value in ordered
        if (variable := variable_for(name))
    ]
