"""The kinds of backend that there are: every module of ``kinds/`` with its ``KIND``."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from processing_units.backend import kinds
from processing_units.backend.kind import Kind


@cache
def all_kinds() -> dict[str, type[Kind]]:
    """Return the kinds by name."""
    found: dict[str, type[Kind]] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(kinds.__path__)):
        kind: type[Kind] = importlib.import_module(f"{kinds.__name__}.{module}").KIND
        found[kind.name] = kind
    return found
