"""A user's own code and ``Environment.cfg`` on their way to the portal: packed here, sent once, named by digest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from awclient.client import Json, Portal
from awclient.errors import UsageProblem
from awclient.terminal import say
from processing_units.code_shipping.environment import FILE_NAME, LARGEST_FILE, UserEnvironment, read_environment
from processing_units.code_shipping.packing import pack_folder
from processing_units.code_shipping.rules import BundleError

_NAMED = 5


def ship(portal: Portal, folder: Path) -> str:
    """Pack a folder and send it unless the portal has it; return its digest."""
    try:
        bundle = pack_folder(folder)
    except BundleError as problem:
        raise UsageProblem(problem.message, hint=problem.hint) from None
    if bundle.left_out:
        more = f" and {len(bundle.left_out) - _NAMED} more" if len(bundle.left_out) > _NAMED else ""
        say(f"left out, not being text: {', '.join(bundle.left_out[:_NAMED])}{more}")
    if portal.code(bundle.digest) is not None:
        say(f"code {bundle.digest[:12]}: {len(bundle.files)} files, there already")
        return bundle.digest
    kept = portal.send_code(bundle.content)
    changed, new = len(kept["changed"]), len(kept["new"])
    say(f"code {bundle.digest[:12]}: {len(bundle.files)} files sent ({bundle.size / 1e6:.1f} MB); "
        f"{changed} differ from the standard code, {new} are new")  # fmt: skip
    return str(kept["digest"])


def environment_of(given: Path | None, folder: Path | None, recipe: Json, *, quiet: bool = False) -> UserEnvironment:
    """Read ``Environment.cfg`` and the variables that overrule it.

    The file is the one given, else that of the shipped folder, else that of the working directory, else none.
    """
    file = given or next((place for place in _places(folder) if place.is_file()), None)
    try:
        found = read_environment(_text(file), os.environ, _parameters(recipe))
    except BundleError as problem:
        where = f"{file}: " if file is not None else ""
        raise UsageProblem(f"{where}{problem.message}", hint=problem.hint) from None
    if quiet:
        return found
    if found.entries:
        source = [str(file)] if file is not None else []
        say(f"environment of {' and '.join([*source, *found.overruled])}: {', '.join(sorted(found.entries))}")
    if found.passed_over:
        say(f"passed over in {file}: {', '.join(found.passed_over[:_NAMED])}"
            + (" ..." if len(found.passed_over) > _NAMED else ""))  # fmt: skip
    return found


def _places(folder: Path | None) -> list[Path]:
    return [*([folder / FILE_NAME] if folder is not None else []), Path(FILE_NAME)]


def _text(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        with file.open(encoding="utf-8") as stream:
            return stream.read(LARGEST_FILE + 1)
    except UnicodeDecodeError:
        raise UsageProblem(f"{file} is not a text file", hint="docs/code-shipping.md shows a right one") from None


def _parameters(recipe: Json) -> Mapping[str, list[str]]:
    """Return the parameters of each recipe of the command; those of a chain are named RECIPE.PARAMETER."""
    names = [str(entry["name"]) for entry in recipe["parameters"]]
    steps = str(recipe["name"]).split(">")
    if len(steps) == 1:
        return {steps[0]: names}
    return {step: [name.partition(".")[2] for name in names if name.startswith(f"{step}.")] for step in steps}
