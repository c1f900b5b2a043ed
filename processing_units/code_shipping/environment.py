"""``Environment.cfg`` and the environment variables that overrule it: the context and the settings of a user's runs.

The table is in docs/code-shipping.md. Only entries that the table knows ever travel: a password that some other
program keeps in the same file stays where it is.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from processing_units.code_shipping.rules import BundleError, printable

FILE_NAME = "Environment.cfg"
LARGEST_FILE = 64 * 1024
MOST_ENTRIES = 300
LONGEST_VALUE = 500
GLOBAL = "global"
# entry: (how else Astro-WISE's own files write it, the variable that overrules it)
CONTEXT_ENTRIES: dict[str, tuple[tuple[str, ...], str]] = {
    "project": (("project", "database_project"), "AWE_PROJECT"),
    "privilege": (("privilege", "privileges", "database_privileges"), "AWE_PRIVILEGE"),
    "unit": (("unit", "dpu_name"), "AWE_UNIT"),
}


@dataclass(frozen=True)
class UserEnvironment:
    """What was read.

    ``entries`` are ``project``, ``privilege``, ``unit`` and ``RECIPE.PARAMETER``; ``overruled`` names the variables
    that did so, ``passed_over`` the entries of the file that the table does not know.
    """

    entries: dict[str, str] = field(default_factory=dict)
    overruled: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


def variable_of(recipe: str, parameter: str) -> str:
    """Return the name of the variable that overrules a recipe's parameter: ``AWE_BIAS_SIGMA_CLIP``."""
    return f"AWE_{recipe}_{parameter}".upper()


def variable_for(entry: str) -> str:
    """Return the name of the variable that overrules an entry: ``AWE_PROJECT`` for ``project``."""
    if entry in CONTEXT_ENTRIES:
        return CONTEXT_ENTRIES[entry][1]
    recipe, _, parameter = entry.partition(".")
    return variable_of(recipe, parameter)


def read_environment(
    text: str, variables: Mapping[str, str] | None = None, recipes: Mapping[str, Iterable[str]] | None = None
) -> UserEnvironment:
    """Read the text of an ``Environment.cfg`` ("" for none) and let variables overrule it.

    Parameters
    ----------
    text : str
        The file: ``[global]`` and a section a recipe.
    variables : mapping, optional
        The environment variables.
    recipes : mapping, optional
        Recipes with the names of their parameters, whose variables are looked for.

    Raises
    ------
    BundleError
        The file cannot be read; the message names the line.
    """
    entries, passed_over = _of_file(text)
    overruled = []
    wanted = [*CONTEXT_ENTRIES]
    wanted += [f"{recipe}.{parameter}" for recipe, parameters in (recipes or {}).items() for parameter in parameters]
    for entry in wanted:
        variable = variable_for(entry)
        value = (variables or {}).get(variable, "").strip()
        if value:
            entries[entry] = _checked(variable, value)
            overruled.append(variable)
    return UserEnvironment(entries, tuple(overruled), tuple(passed_over))


def _of_file(text: str) -> tuple[dict[str, str], list[str]]:
    if len(text) > LARGEST_FILE:
        raise _wrong(f"it is larger than {LARGEST_FILE // 1024} KiB")
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(text, FILE_NAME)
    except configparser.Error as error:
        raise _wrong(printable(str(error).replace("\n", " "))[:300]) from None
    entries: dict[str, str] = {}
    passed_over: list[str] = []
    for section in parser.sections():
        for name, value in parser.items(section):
            entry = _entry(section, name)
            if entry is None:
                passed_over.append(printable(f"[{section}] {name}")[:100])
            elif value.strip():
                entries[entry] = _checked(f"[{section}] {name}", value.strip())
    if len(entries) > MOST_ENTRIES:
        raise _wrong(f"it has more than {MOST_ENTRIES} entries")
    return entries, passed_over


def _entry(section: str, name: str) -> str | None:
    if section.lower() == GLOBAL:
        return next((entry for entry, (names, _) in CONTEXT_ENTRIES.items() if name in names), None)
    is_recipe = section.isidentifier() and section.isascii() and name.isidentifier() and name.isascii()
    return f"{section}.{name}" if is_recipe and "password" not in name else None


def _checked(name: str, value: str) -> str:
    if len(value) > LONGEST_VALUE or printable(value) != value:
        raise _wrong(f"{printable(name)[:100]}: its value is longer than {LONGEST_VALUE} characters or holds "
                     "characters that cannot be printed")  # fmt: skip
    return value


def _wrong(what: str) -> BundleError:
    return BundleError(f"{FILE_NAME}: {what}", hint="docs/code-shipping.md shows a right one", file=FILE_NAME)
