"""Runs as a table: YAML (a list of runs) or CSV (a line a run), read under the same bounds as a script."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from processing_units.batch_scripts.meter import Meter
from processing_units.batch_scripts.wishes import FILTERS, OPTIONS, Refused, Wishes, numbers_of

_RUN_KEYS = ("recipe", "inputs", "select", "params", *OPTIONS)
# A column that a run and a selection could both mean is the run's.
_SELECTS = tuple(name for name in FILTERS if name not in {"recipe", "project"})


def read_yaml(text: str, wishes: Wishes, _: Meter, at: Callable[[int], None]) -> None:
    """Read a list of runs, or a mapping whose ``runs`` is one; raises Refused with the line, or Asked."""
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise Refused("anchors and aliases (&, *) are not taken: write it out", _line(event))
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Refused(f"it is no YAML: {error.problem or error.context}", mark.line + 1 if mark else 1) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise Refused(f"it is no YAML: {str(error)[:200] or 'too deep'}", 1) from None
    if isinstance(node, yaml.MappingNode) and len(node.value) == 1 and node.value[0][0].value == "runs":
        node = node.value[0][1]
    if not isinstance(node, yaml.SequenceNode):
        raise Refused("it is no list of runs: begin each with a line such as `- recipe: Bias`", 1)
    for entry in node.value:
        at(_line(entry))
        _wish_of_mapping(_plain(entry), wishes)


def read_csv(text: str, wishes: Wishes, _: Meter, at: Callable[[int], None]) -> None:
    """Read a table whose first line names its columns; raises Refused with the line, or Asked.

    ``recipe`` is one, ``inputs`` (12-18,20), filters (kind, night, ...), unit, project, privilege and comment may be;
    all others are parameters of the recipe. An empty cell says nothing.
    """
    at(1)
    rows = _rows(text)
    names = [name.strip() for name in next(rows, (1, []))[1]]
    if "recipe" not in names:
        raise Refused("the first line names the columns, and one of them is `recipe`", 1)
    twice = next((name for name in names if names.count(name) > 1 or not name), None)
    if twice is not None:
        raise Refused(f"the column {twice!r} is there twice, or has no name", 1)
    for number, cells in rows:
        at(number)
        if len(cells) > len(names):
            raise Refused(f"this line has {len(cells)} cells, and the first names {len(names)} columns")
        given = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
        if given:
            select = {name: given.pop(name) for name in _SELECTS if name in given}
            own = {name: given.pop(name) for name in _RUN_KEYS if name in given}
            _wish_of_mapping({**own, **({"select": select} if select else {}), "params": given}, wishes)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            if row and not row[0].startswith("#"):
                yield reader.line_num, row
    except csv.Error as error:
        raise Refused(f"it is no CSV: {error}", reader.line_num) from None


def _wish_of_mapping(given: Any, wishes: Wishes) -> None:
    if not isinstance(given, Mapping):
        raise Refused("a run is written as `recipe: NAME` with `inputs`, `select` or `params` below it")
    unknown = next((name for name in given if name not in _RUN_KEYS), None)
    if unknown is not None:
        raise Refused(f"a run has no {str(unknown)[:60]!r}; it has: {', '.join(_RUN_KEYS)}")
    inputs = given.get("inputs")
    if isinstance(inputs, str):
        inputs = numbers_of(inputs)
    if given.get("select"):
        if not isinstance(given["select"], Mapping) or inputs:
            raise Refused("`select` holds filters such as `kind: RawBias`, and stands in the place of `inputs`")
        inputs = wishes.frames(given["select"])
    wishes.run(given.get("recipe"), inputs, given.get("params") or {}, given)


def _plain(node: yaml.Node) -> Any:
    """Return what a node holds; of the numbers of dates and the like the text stays, as the recipe reads it."""
    if isinstance(node, yaml.MappingNode):
        return {str(_plain(key)): _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(entry) for entry in node.value]
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind in {"int", "float", "bool", "null"}:
        return yaml.safe_load(node.value) if kind != "null" else None
    if kind in {"str", "timestamp"}:
        return str(node.value)
    raise Refused(f"{kind[:60]} is not taken", _line(node))


def _line(of: yaml.Node | yaml.Event) -> int:
    return int(of.start_mark.line) + 1 if of.start_mark else 1
