"""One case by its number: a recipe, the files it is given, and what is wrong with some of them."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recipes.catalogue import all_recipes
from recipes.kinds import KINDS
from recipes.recipe import Input, Parameter, Recipe
from tests.fuzz.damages import NO_NUMBERS, OF_ATTRIBUTES, OF_FILES, RUINOUS
from tests.fuzz.library import Entry, Library

MOST_FRAMES = 7
PER_OPTIONAL = 0.6  # how often an optional input is given
PER_PARAMETER = 0.05  # how often a parameter is not the usual one
PER_ATTRIBUTE = 0.3  # how often an attribute is wrong besides
ALL_OF_A_ROLE = 0.25  # how often every file of a role is spoiled alike


@dataclass
class Case:
    """A job file, and what is wrong in it."""

    number: int
    recipe: str
    job: Path
    names: list[str]
    damages: list[str] = field(default_factory=list)
    ruined: bool = False  # no right answer can come of it


def make_case(number: int, library: Library, folder: Path) -> Case:
    """Write the files of case `number` to `folder`; the same number gives the same case."""
    random = np.random.default_rng([2026, number])
    recipes = list(all_recipes().values())
    recipe = recipes[number % len(recipes)]
    folder.mkdir(parents=True)
    chosen = _chosen(recipe, library, random)
    inputs, roles = [], []
    for role, entry in chosen:
        name = f"{role.role}{len(inputs)}.fits"
        shutil.copyfile(entry.path, folder / name)
        inputs.append({"role": role.role, "kind": entry.kind, "path": name, "name": name,
                       "attributes": dict(entry.attributes)})  # fmt: skip
        roles.append(role)
    case = Case(number, recipe.name, folder / "job.json", [entry["name"] for entry in inputs])
    _damage(case, inputs, roles, folder, random)
    parameters = {parameter.name: _odd_value(parameter, random) for parameter in recipe.parameters
                  if random.random() < PER_PARAMETER}  # fmt: skip
    job = {"recipe": recipe.name, "inputs": inputs, "parameters": parameters, "threads": int(random.integers(1, 3))}
    case.job.write_text(json.dumps(job), "utf-8")
    return case


def _chosen(recipe: Recipe, library: Library, random: np.random.Generator) -> list[tuple[Input, Entry]]:
    chosen: list[tuple[Input, Entry]] = []
    for role in recipe.inputs:
        there = library.of(role.kinds)
        if not there:
            continue
        optional = role.minimum == 0 and role.role not in recipe.needs_any_of[:1]
        if optional and random.random() > PER_OPTIONAL:
            continue
        most = min(role.maximum or MOST_FRAMES, len(there))
        least = min(max(role.minimum, 1), most)
        if role.maximum != 1:  # of one kind, as the archive would not mix them either
            kind = there[int(random.integers(len(there)))].kind
            there = library.of((kind,)) if len(library.of((kind,))) >= least else there
            most = min(most, len(there))
        count = int(random.integers(least, most + 1))
        for place in sorted(random.permutation(len(there))[:count]):
            chosen.append((role, there[int(place)]))
    return chosen


def _damage(
    case: Case, inputs: list[dict[str, Any]], roles: list[Input], folder: Path, random: np.random.Generator
) -> None:
    kinds = list(OF_FILES)
    for _ in range(int(random.choice([1, 1, 1, 2, 3]))):
        name = str(random.choice(kinds))
        place = int(random.integers(len(inputs)))
        alike = random.random() < ALL_OF_A_ROLE
        places = [index for index, role in enumerate(roles) if role is roles[place]] if alike else [place]
        seed = int(random.integers(2**32))
        done = True
        for index in places:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    OF_FILES[name](folder / inputs[index]["path"], np.random.default_rng([seed, index]))
                except Exception:  # noqa: BLE001 - what an earlier damage left may be no FITS file any more
                    done = False
        case.damages.append(f"{name} ({roles[place].role}{'s' if alike else f' {place}'})")
        all_of_it = len(places) == sum(role.primary for role in roles)
        # What comes later may put something in its place again.
        case.ruined = done and roles[place].primary and all_of_it and _ruins(name, inputs[place]["kind"])
    if random.random() < PER_ATTRIBUTE:
        name = str(random.choice(list(OF_ATTRIBUTES)))
        values = OF_ATTRIBUTES[name]
        value = values[int(random.integers(len(values)))]
        place = int(random.integers(len(inputs)))
        inputs[place]["attributes"][name] = value
        case.damages.append(f"{name} = {value!r:.60} (input {place})")


def _ruins(name: str, kind: str) -> bool:
    """Whether a damage leaves nothing to work on of a picture of that kind: no raw frame is of one value."""
    if KINDS[kind].content not in ("raw", "image"):
        return False
    return name in RUINOUS and (KINDS[kind].is_raw or name in NO_NUMBERS)


def _odd_value(parameter: Parameter, random: np.random.Generator) -> Any:
    if parameter.choices:
        return parameter.choices[int(random.integers(len(parameter.choices)))]
    if parameter.type == "bool":
        return bool(random.integers(2))
    if parameter.type == "str":
        return ["", "x", "1", "-1,nan", "5,5", "r"][int(random.integers(6))]
    low = parameter.minimum if parameter.minimum is not None else -1e3
    high = parameter.maximum if parameter.maximum is not None else 1e6
    value = [low, high, low + (high - low) * random.random(), parameter.default][int(random.integers(4))]
    return int(value) if parameter.type == "int" else float(value)  # type: ignore[arg-type]
