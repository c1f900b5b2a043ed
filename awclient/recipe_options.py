"""The options of `awrecipe run` that a recipe itself gives: one a parameter, one an input.

They are made from what the portal says of the recipe, so a new recipe needs no change here.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awclient.client import Json
from awclient.errors import UsageProblem

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_MOST_IN_A_RANGE = 100_000


@dataclass
class Directions:
    """What the command line says of parameters and inputs."""

    parameters: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, list[int]] = field(default_factory=dict)


def parse_ids(text: str, where: str) -> list[int]:
    """Return the numbers of ``3,5,8-12``, or raise UsageProblem."""
    numbers: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if not match:
            raise UsageProblem(f"{where}: {part!r} is not a product's number", hint="write numbers like 12,15 or 12-18")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= _MOST_IN_A_RANGE:
            raise UsageProblem(f"{where}: {part!r} is more than {_MOST_IN_A_RANGE} products")
        numbers += range(first, last + 1)
    return numbers


def read_parameter_file(path: Path) -> dict[str, Any]:
    """Read parameters from a TOML or JSON file."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as problem:
        raise UsageProblem(f"{path} cannot be read: {problem.strerror}") from None
    except ValueError as problem:
        raise UsageProblem(
            f"{path} is not {'JSON' if path.suffix.lower() == '.json' else 'TOML'}: {problem}",
            hint="write one line a parameter, like: sigma_clip = 3.0",
        ) from None
    if not isinstance(content, dict):
        raise UsageProblem(f"{path} does not hold parameters by name")
    return content


def read_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Return parameters written as NAME=VALUE."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageProblem(f"{pair}: write NAME=VALUE")
        found[name.replace("-", "_")] = value
    return found


def parse_directions(recipe: Json, arguments: Sequence[str]) -> Directions:
    """Read what typer left over: ``--sigma-clip 3``, ``--read-noise 17`` (an input) and bare product numbers."""
    parameters = {entry["name"]: entry for entry in recipe["parameters"]}
    roles = {entry["role"] for entry in recipe["inputs"]}
    directions = Directions()
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--") or word == "--":
            if word != "--":
                directions.inputs.setdefault("", []).extend(parse_ids(word, "inputs"))
            continue
        name, has_value, value = word[2:].partition("=")
        name = name.replace("-", "_")
        is_switch = parameters.get(name, {}).get("type") == "bool"
        if name.startswith("no_") and parameters.get(name[3:], {}).get("type") == "bool" and not has_value:
            directions.parameters[name[3:]] = False
            continue
        if name not in parameters and name not in roles:
            raise _unknown(recipe, word, [*parameters, *roles])
        if not has_value:
            if is_switch and (not waiting or waiting[0].lower() not in {"yes", "no", "true", "false", "on", "off"}):
                directions.parameters[name] = True
                continue
            if not waiting:
                raise UsageProblem(f"{word} needs a value", field=name)
            value = waiting.pop(0)
        if name in parameters:
            directions.parameters[name] = value
        else:
            directions.inputs.setdefault(name, []).extend(parse_ids(value, word))
    return directions


def names_in(chain: str) -> list[str]:
    """Return the names of the recipes in what a user wrote, like ``Reduce>Science``."""
    names = [name.strip() for name in chain.split(">")]
    if not all(names):
        raise UsageProblem(
            f"{chain!r} names no recipe at one place", hint="write one name, or some like Reduce>Science>Coadd"
        )
    return names


def chain_of(recipes: Sequence[Json]) -> Json:
    """Return a chain as one recipe: the first one's inputs, the others' calibrations, and the parameters of all.

    A parameter or calibration that is meant for one of them is written with its name: ``--Science.pixel-scale``.
    """
    if len(recipes) == 1:
        return recipes[0]
    inputs: dict[str, Json] = {}
    parameters: dict[str, Json] = {}
    for place, recipe in enumerate(recipes):
        for entry in recipe["inputs"]:
            if place and entry["primary"]:
                continue  # it gets what the one before has made
            inputs.setdefault(entry["role"], entry)
            inputs[f"{recipe['name']}.{entry['role']}"] = entry | {"role": f"{recipe['name']}.{entry['role']}",
                                                                   "primary": False}  # fmt: skip
        for entry in recipe["parameters"]:
            parameters.setdefault(entry["name"], entry)
            name = f"{recipe['name']}.{entry['name']}"
            parameters[name] = entry | {"name": name}
    name = ">".join(recipe["name"] for recipe in recipes)
    return recipes[0] | {"name": name, "inputs": list(inputs.values()), "parameters": list(parameters.values())}


def _unknown(recipe: Json, word: str, names: list[str]) -> UsageProblem:
    option = word.partition("=")[0]
    given = option[2:].replace("-", "_")
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"did you mean --{near[0].replace('_', '-')}? " if near else ""
    helps = " or ".join(f"`awrecipe help {name}`" for name in recipe["name"].split(">"))
    return UsageProblem(f"{recipe['name']} has no option {option}", hint=f"{hint}see {helps}")


def describe(recipe: Json) -> list[str]:
    """Return the help text of a recipe: what it does, its inputs, and an option a parameter."""
    lines = [f"{recipe['name']} {recipe['version']}: {recipe['summary']}", ""]
    lines += [f"  awrecipe run {recipe['name']} [NUMBERS...] [--night ...] [options]", "", "Inputs"]
    for entry in recipe["inputs"]:
        option = f"--{entry['role'].replace('_', '-')}"
        lines.append(f"  {option:28} {' or '.join(entry['kinds'])}; {_how_many(entry)}")
    lines += [
        "",
        f"Gives {', '.join(recipe['outputs'])}; one job for each {', '.join(recipe['split_by'])}",
        "",
        "Parameters",
    ]
    for entry in recipe["parameters"]:
        option = f"--{entry['name'].replace('_', '-')}"
        lines.append(f"  {option:28} {_expected(entry)}; default {entry['default']}")
        if entry["description"]:
            lines.append(f"  {'':28} {entry['description']}")
    return lines


def _how_many(entry: Json) -> str:
    if entry["primary"]:
        least = f"at least {entry['minimum']}" if entry["minimum"] else "optional"
        return f"{least}, chosen by you" if entry["maximum"] != 1 else "chosen by you"
    how = {
        "sky": "chosen by the sky it covers",
        "job": "what was made together with your frame",
        "run": "chosen among the frames of the run",
    }.get(entry.get("chosen_by", "validity"), "chosen by the archive")
    return f"{how} unless you name it" + ("" if entry["minimum"] else " (optional)")


def _expected(entry: Json) -> str:
    if entry["choices"]:
        return "one of " + ", ".join(str(choice) for choice in entry["choices"])
    text = {"float": "number", "int": "whole number", "bool": "yes or no", "str": "text"}.get(entry["type"], "text")
    if entry["unit"]:
        text += f" [{entry['unit']}]"
    if entry["minimum"] is not None:
        text += f", at least {entry['minimum']:g}"
    if entry["maximum"] is not None:
        text += f", at most {entry['maximum']:g}"
    return text
