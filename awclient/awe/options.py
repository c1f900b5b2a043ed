"""The options of ``dpu.run``, as Astro-WISE writes them, made a submission for the portal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from awclient.awe.context import SessionContext
from awclient.awe.frames import Frame
from awclient.client import Json, Portal
from awclient.errors import UsageProblem
from awclient.recipe_options import chain_of, names_in
from awclient.selection import first_kinds_there
from awclient.shipping import environment_of, ship
from processing_units.contract import Submission
from processing_units.nights.descriptions import primary_inputs

LETTERS = {"i": "instrument", "d": "date", "f": "filter", "c": "chip", "o": "object", "C": "commit", "p": "pars"}
SELECTING = {
    "instrument": "instrument of the frames",
    "date": "date of the evening of their night, 2024-05-12; several as a list",
    "filter": "their filter",
    "chip": "their chip",
    "object": "their object, with * and ?",
}
OTHERS = {
    "commit": "1: results get the privileges of the context; 0 (default): they stay in MyDB",
    "pars": "parameters as a dictionary, {'sigma_clip': 3.0}; each is an option of its own too",
    "filenames": "the frames themselves: names, numbers, or what a query returned (also raw_filenames, red_filenames)",
    "unit": "processing unit, else the one chosen by select_dpu, else the portal's choice",
    "code": "folder with your own recipes/: run from it",
    "comment": "a remark kept with the run",
}
_FILENAMES = ("filenames", "raw_filenames", "red_filenames", "reg_filenames", "filename", "inputs")
_MYDB = 1
_NAMES_AT_ONCE = 500


@dataclass
class _Wanted:
    """Options, sorted."""

    selecting: dict[str, list[str]] = field(default_factory=dict)
    frames: list[Any] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    calibrations: dict[str, list[Any]] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)


def sequence(portal: Portal, identifier: str, code: str = "") -> Json:
    """Return a recipe, or a chain of recipes as one, as the portal describes it."""
    return chain_of([portal.recipe(name, code) for name in names_in(identifier)])


def options_of(recipe: Json) -> dict[str, str]:
    """Return the options of a recipe or chain, with what they mean."""
    letters = {name: letter for letter, name in LETTERS.items()}
    named = {
        f"{letters[name]}, {name}" if name in letters else name: text for name, text in {**SELECTING, **OTHERS}.items()
    }
    calibrations = {
        entry["role"]: f"a {' or '.join(entry['kinds'])} of your choice: its number, or what a query returned"
        for entry in recipe["inputs"]
        if not entry["primary"]
    }
    return named | calibrations | {entry["name"]: _told(entry) for entry in recipe["parameters"]}


def _told(parameter: Json) -> str:
    text = str(parameter.get("description") or parameter["name"])
    unit = f" [{parameter['unit']}]" if parameter.get("unit") else ""
    return f"{text}{unit} (default {parameter.get('default')})"


def submission_of(
    portal: Portal, context: SessionContext, identifier: str, options: Mapping[str, Any], unit: str
) -> Submission:
    """Return what ``dpu.run(identifier, **options)`` asks for.

    Raises
    ------
    UsageProblem
        There is no such recipe, option or frame; names it.
    """
    folder = Path(options["code"]) if options.get("code") else None
    digest = ship(portal, folder) if folder is not None else ""
    recipe = sequence(portal, identifier, digest)
    wanted = _sort(recipe, options)
    inputs = {"": _numbers(portal, wanted.frames)} if wanted.frames else _select(portal, recipe, wanted.selecting)
    inputs |= {role: _numbers(portal, named) for role, named in wanted.calibrations.items()}
    environment = environment_of(None, folder, recipe, quiet=True)
    entries = dict(environment.entries)
    if context.project:
        entries["project"] = context.project
    return Submission(
        recipe=recipe["name"],
        inputs=inputs,
        parameters=wanted.parameters,
        unit=str(wanted.others.get("unit") or unit) or None,
        privilege=context.privileges if _truth(wanted.others.get("commit", 0)) else _MYDB,
        comment=str(wanted.others.get("comment", "")),
        code=digest,
        environment=entries,
        overruled_by=list(environment.overruled),
    )


def _sort(recipe: Json, options: Mapping[str, Any]) -> _Wanted:
    parameters = {entry["name"] for entry in recipe["parameters"]}
    roles = {entry["role"] for entry in recipe["inputs"] if not entry["primary"]}
    wanted = _Wanted()
    for given, value in options.items():
        name = LETTERS.get(given, given)
        if name in SELECTING:
            wanted.selecting[name] = [_text(one) for one in _several(value)]
        elif name in _FILENAMES:
            wanted.frames += _several(value)
        elif name == "pars":
            wanted.parameters |= {_parameter(recipe, key, parameters): one for key, one in dict(value).items()}
        elif name in OTHERS:
            wanted.others[name] = value
        elif name in roles:
            wanted.calibrations[name] = _several(value)
        else:
            wanted.parameters[_parameter(recipe, name, parameters)] = value
    if wanted.frames and wanted.selecting:
        raise UsageProblem("frames are named, and selected too", hint="give filenames, or instrument, date, filter ...")
    return wanted


def _parameter(recipe: Json, given: str, parameters: set[str]) -> str:
    """Return a parameter's name; ``BiasFrame.process_params.SIGMA_CLIP`` is sigma_clip."""
    for name in (given, given.rpartition(".")[2].lower()):
        if name in parameters:
            return name
    there = [*parameters, *SELECTING, *OTHERS, *(entry["role"] for entry in recipe["inputs"])]
    near = difflib.get_close_matches(given, there, n=1)
    raise UsageProblem(
        f"{recipe['name']} has no option {given}",
        hint=(f"did you mean {near[0]}? " if near else "") + f"see dpu.show_sequence_options({recipe['name']!r})",
    )


def _select(portal: Portal, recipe: Json, selecting: dict[str, list[str]]) -> dict[str, list[int]]:
    if not selecting:
        raise UsageProblem(
            "no frames are named",
            hint=f"dpu.run({recipe['name']!r}, i=INSTRUMENT, d=DATE, f=FILTER, c=CHIP), or filenames",
        )
    asked: dict[str, Any] = {name: ",".join(values) for name, values in selecting.items() if name != "object"}
    if "date" in asked:
        asked["night"] = asked.pop("date")
    patterns = selecting.get("object", [])

    def of_objects(kind: str) -> Iterator[Json]:
        for product in portal.products(kind=kind, **asked):
            if not patterns or any(fnmatchcase(product["object"], pattern) for pattern in patterns):
                yield product

    chosen = first_kinds_there(recipe, of_objects)
    if not chosen:
        kinds = sorted({kind for entry in primary_inputs(recipe) for kind in entry["kinds"]})
        told = ", ".join(f"{name} {' or '.join(values)}" for name, values in selecting.items())
        raise UsageProblem(
            f"the archive has no {' or '.join(kinds)} with {told} that you may see",
            hint=f"list({kinds[0]}.select(instrument=...)) shows what there is",
        )
    return chosen


def _numbers(portal: Portal, named: Iterable[Any]) -> list[int]:
    """Return products' numbers: of frames, numbers and names of files, in their order."""
    named = list(named)
    names = [one for one in named if isinstance(one, str)]
    by_name: dict[str, int] = {}
    for name in dict.fromkeys(names):
        found = [product for product in portal.products(name=name) if name in (product["name"], _stem(product["name"]))]
        if not found:
            raise UsageProblem(f"the archive has no product {name} that you may see")
        by_name[name] = found[0]["id"]  # of several of a name the newest observation
    numbers = []
    for one in named:
        if isinstance(one, Frame):
            numbers.append(int(one.id))
        elif isinstance(one, str):
            numbers.append(by_name[one])
        elif isinstance(one, int) and not isinstance(one, bool):
            numbers.append(one)
        else:
            raise UsageProblem(f"{one!r} is no frame", hint="give numbers, names, or what a query returned")
    return numbers


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _several(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | int | date | Frame) else list(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.date().isoformat()
    text = value.isoformat() if isinstance(value, date) else str(value)
    if "," in text:
        raise UsageProblem(f"{text!r}: several values are given as a list")
    return text


def _truth(value: Any) -> bool:
    if value in (0, 1, "0", "1"):
        return bool(int(value))
    raise UsageProblem(f"C is 0 or 1, not {value!r}")
