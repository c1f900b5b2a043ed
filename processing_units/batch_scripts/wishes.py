"""What a script asks for, collected and counted: runs, and the frames that it wants to know of first."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST_RUNS = 10_000
MOST_INPUTS = 100_000
MOST_QUESTIONS = 20
LONGEST_TEXT = 500
# What the process says when it has given up its powers and begins to read.
READY = "ready"
# What frames can be chosen by, as in `archive.queries.Selection`; `selection` names a saved one.
FILTERS = (
    "selection", "kind", "instrument", "chip", "filter", "readout_mode", "night", "night_from", "night_to", "object",
    "name", "ids", "quality", "validity", "valid_at", "is_valid", "unflagged", "run", "project", "creator", "recipe",
    "ra", "dec", "radius",
)  # fmt: skip
OPTIONS = ("unit", "project", "privilege", "comment")
_RANGE = re.compile(r"\s*(\d{1,15})(?:-(\d{1,15}))?\s*")
_SCALARS = (str, int, float, bool)


class Refused(Exception):
    """What the script says cannot be; its line is known elsewhere."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Asked(Exception):
    """The script wants to know of frames that it was not told of yet."""

    def __init__(self, line: int = 0) -> None:
        super().__init__()
        self.line = line


class Wishes:
    """The runs that a script asked for so far.

    Parameters
    ----------
    answers : sequence of mapping
        The selections that were answered before: ``{"select": {...}, "frames": [...]}``.
    line : callable
        Returns the line at which the script is.
    """

    def __init__(self, answers: Sequence[Mapping[str, Any]], line: Callable[[], int]) -> None:
        self.runs: list[dict[str, Any]] = []
        self.question: dict[str, str] | None = None
        self.line = line
        self._answers = {_key(answer["select"]): answer["frames"] for answer in answers}
        self._inputs = 0

    def frames(self, select: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the frames of a selection, or ask for them."""
        asked = {name: _filter(name, value) for name, value in select.items() if value not in (None, "", [])}
        if not asked:
            raise Refused("frames() needs a filter, such as kind = 'RawBias' or night = '2024-05-12'")
        found = self._answers.get(_key(asked))
        if found is not None:
            return list(found)
        if len(self._answers) >= MOST_QUESTIONS:
            raise Refused(f"more than {MOST_QUESTIONS} different selections: ask for more at a time")
        self.question = asked
        raise Asked

    def run(self, recipe: Any, inputs: Any, parameters: Any, options: Mapping[str, Any], *, line: int = 0) -> None:
        """Add a run."""
        if not isinstance(recipe, str) or not recipe.strip():
            raise Refused("run() needs a recipe's name first, such as 'Bias' or 'Reduce>Science'")
        if len(self.runs) >= MOST_RUNS:
            raise Refused(f"more than {MOST_RUNS} runs: give a run many frames instead, it makes a job of each")
        by_role = _by_role(inputs)
        self._inputs += sum(map(len, by_role.values()))
        if self._inputs > MOST_INPUTS:
            raise Refused(f"more than {MOST_INPUTS} inputs in all")
        if not any(by_role.values()):
            raise Refused(f"{recipe[:60]} is given no frames: nothing matches what was chosen")
        self.runs.append(
            {"line": line or self.line(), "recipe": recipe.strip()[:LONGEST_TEXT], "inputs": by_role,
             "parameters": _parameters(parameters), **_options(options)}
        )  # fmt: skip


def numbers_of(text: str) -> list[int]:
    """Return the numbers of ``3,5,8-12``."""
    numbers: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if not match:
            raise Refused(f"{part.strip()[:40]!r} is no product's number: write 12 or 12-18,20")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= MOST_INPUTS:
            raise Refused(f"{part.strip()} is more than {MOST_INPUTS} products")
        numbers += range(first, last + 1)
    return numbers


def _by_role(inputs: Any) -> dict[str, list[int]]:
    if isinstance(inputs, Mapping) and "id" not in inputs:
        return {str(role)[:LONGEST_TEXT]: _numbers(given) for role, given in inputs.items()}
    return {"": _numbers(inputs)}


def _numbers(given: Any) -> list[int]:
    if given is None:
        return []
    if isinstance(given, str):
        return numbers_of(given)
    one_by_one = given if isinstance(given, list | tuple) else [given]
    numbers = [each.get("id") if isinstance(each, Mapping) else each for each in one_by_one]
    kept: dict[int, None] = {}
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number < 2**63:
            raise Refused(f"inputs are frames or their numbers, and {str(number)[:40]!r} is neither")
        kept[number] = None
    return list(kept)


def _parameters(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise Refused("params is a dict of a recipe's parameters, such as {'sigma_clip': 3.0}")
    if len(given) > 100:
        raise Refused("more than 100 parameters")
    for name, value in given.items():
        if not isinstance(value, _SCALARS):
            raise Refused(f"{str(name)[:60]} is no parameter's value: write a number, a text, True or False")
    return {str(name)[:LONGEST_TEXT]: _short(value) for name, value in given.items()}


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name in OPTIONS:
        value = given.get(name)
        if value in (None, ""):
            continue
        if name == "privilege":
            if isinstance(value, bool) or not str(value).isdecimal() or not 1 <= int(value) <= 5:
                raise Refused(f"privilege is 1 (MyDB) to 5 (VO), not {str(value)[:40]!r}")
            kept[name] = int(value)
        elif not isinstance(value, str):
            raise Refused(f"{name} is a text")
        else:
            kept[name] = _short(value)
    return kept


def _filter(name: str, value: Any) -> str:
    if name not in FILTERS:
        raise Refused(f"frames cannot be chosen by {name[:60]!r}; they can by: {', '.join(FILTERS)}")
    if isinstance(value, list | tuple):
        return ",".join(_filter(name, each) for each in value)[: 10 * LONGEST_TEXT]
    if not isinstance(value, _SCALARS):
        raise Refused(f"{name}: {str(value)[:40]!r} is no text, number or list of them")
    return str(int(value) if isinstance(value, bool) else value)[:LONGEST_TEXT]


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise Refused(f"a text of {len(value)} characters is longer than {LONGEST_TEXT}")
    return value


def _key(select: Mapping[str, Any]) -> str:
    return json.dumps(select, sort_keys=True)
