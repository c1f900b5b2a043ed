"""Which frames a command means: by number or by filter, in the roles that a recipe has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from awclient.client import Json, Portal
from awclient.errors import UsageProblem
from processing_units.nights.descriptions import IS_BAD, primary_inputs


@dataclass(frozen=True)
class Filters:
    """What a selection of products may be narrowed by; empty means any."""

    kind: str = ""
    instrument: str = ""
    night: str = ""
    filter: str = ""
    chip: str = ""
    selection: str = ""

    def given(self) -> dict[str, Any]:
        """Return the filters that are set, by the name that the portal knows."""
        named = {
            "instrument": self.instrument,
            "night": self.night,
            "filter": self.filter,
            "chip": self.chip,
            "selection": self.selection,
        }
        return {name: value for name, value in named.items() if value}


def select_inputs(portal: Portal, recipe: Json, filters: Filters) -> dict[str, list[int]]:
    """Return the primary inputs that the filters name, by role; raise UsageProblem where there is nothing.

    A role that takes several kinds gets the first kind of its list that the archive has, unless ``kind`` says which.
    """
    if not filters.given() and not filters.kind:
        raise UsageProblem(
            "no inputs are named",
            hint=f"name them by number (`awrecipe run {recipe['name']} 12-18`) or by --night, --selection, ...",
        )
    chosen = first_kinds_there(
        recipe, lambda kind: portal.products(kind=kind, **filters.given()) if filters.kind in {"", kind} else ()
    )
    if not chosen:
        kinds = sorted({kind for entry in primary_inputs(recipe) for kind in entry["kinds"]})
        told = ", ".join(
            f"{name} {value}" for name, value in {**filters.given(), "type": filters.kind}.items() if value
        )
        raise UsageProblem(
            f"the archive has no {' or '.join(kinds)} with {told} that you may see",
            hint="`awrecipe products` with the same filters shows what there is",
        )
    return chosen


def first_kinds_there(recipe: Json, products: Callable[[str], Iterable[Json]]) -> dict[str, list[int]]:
    """Return for each primary role the numbers of what is not bad of its first kind that has any."""
    chosen: dict[str, list[int]] = {}
    for entry in primary_inputs(recipe):
        for kind in entry["kinds"]:
            numbers = [product["id"] for product in products(kind) if product["is_valid"] != IS_BAD]
            if numbers:
                chosen[entry["role"]] = numbers
                break
    return chosen
