"""Recipes and products as the portal describes them (JSON), and who answers questions about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from processing_units.contract import PlannedJob

Json = dict[str, Any]
IS_BAD = 0


class Outline(Protocol):
    """Of a plan, what tells whether its products are there; a ``contract.Plan`` is one."""

    version: str
    parameters: dict[str, Any]
    jobs: list[PlannedJob]


class Asked(Protocol):
    """A portal, over HTTP or in its own process."""

    def products(self, **filters: Any) -> Iterable[Json]:
        """Return the products that match."""


class Planning(Asked, Protocol):
    """One that also says what a recipe would do."""

    def plan_of(self, recipe: Json, inputs: dict[str, list[int]]) -> Outline | str:
        """Return the plan of a recipe on these inputs, or why there is none."""


def primary_inputs(recipe: Json) -> list[Json]:
    """Return the inputs that a user picks."""
    return [entry for entry in recipe["inputs"] if entry["primary"]]


def of_kind(products: Iterable[Json], kind: str) -> list[Json]:
    """Return the products of one kind."""
    return [product for product in products if product["kind"] == kind]
