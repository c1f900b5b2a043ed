"""Recipes, products and plans as whoever looks at a whole night asks for them (``processing_units.nights``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from archive.context import Context
from archive.many_numbers import batches
from archive.models import Lineage, Product
from archive.queries import Selection, select
from processing_units.contract import PlannedJob, Submission
from processing_units.frontend.planning import resolve
from processing_units.nights.descriptions import Json
from recipes.catalogue import all_recipes
from recipes.errors import UsageError
from recipes.kinds import KINDS


@dataclass
class Planned:
    """What a recipe would do, as far as it matters here (``nights.descriptions.Outline``)."""

    version: str
    parameters: dict[str, Any]
    jobs: list[PlannedJob]


class Answers:
    """What one user sees and may do.

    Parameters
    ----------
    context : Context
        Who asks.
    unit : str
        On which unit it would be; "" lets the portal choose.
    """

    def __init__(self, context: Context, unit: str = "") -> None:
        self._context = context
        self._unit = unit or None

    def products(self, **filters: Any) -> Iterator[Json]:
        """Yield the products that match, oldest observation first."""
        listed = list(select(self._context, Selection.parse(filters)).order_by("date_obs", "pk"))
        inputs = _inputs_of([product.pk for product in listed])
        for product in listed:
            yield _told(product, inputs[product.pk])

    def plan_of(self, recipe: Json, inputs: dict[str, list[int]]) -> Planned | str:
        """Return the plan of a recipe on these inputs, or why there is none."""
        asked = Submission(recipe=recipe["name"], inputs=inputs, unit=self._unit)
        try:
            resolved = resolve(asked, self._context)
        except UsageError as problem:
            return f"{problem.message} ({problem.hint})" if problem.hint else problem.message
        primary = {entry.role for entry in resolved.recipe.primary_inputs}
        jobs = [
            PlannedJob(
                label=piece.label,
                inputs={role: [p.pk for p in products] for role, products in piece.inputs.items() if role in primary},
                calibrations=piece.calibrations,
                problem=piece.problem,
            )
            for piece in resolved.jobs
        ]
        return Planned(resolved.recipe.version, resolved.parameters, jobs)

    def raw_frames(self, instrument: str, night: str) -> list[Json]:
        """Return the raw frames of a night."""
        raw = ",".join(kind.name for kind in KINDS.values() if kind.is_raw)
        return list(self.products(kind=raw, instrument=instrument, night=night))


def recipes_told() -> list[Json]:
    """Return the recipes in the order in which a night needs them."""
    return [
        {
            "name": recipe.name,
            "inputs": [
                {"role": entry.role, "kinds": list(entry.kinds), "minimum": entry.minimum, "maximum": entry.maximum,
                 "primary": entry.primary, "preferred": entry.preferred}
                for entry in recipe.inputs
            ],
            "outputs": list(recipe.outputs),
            "split_by": list(recipe.split_by),
        }
        for recipe in all_recipes().values()
    ]  # fmt: skip


def _told(product: Product, inputs: dict[str, list[int]]) -> Json:
    start = product.timestamp_start
    return {
        "id": product.pk,
        "kind": product.kind,
        "name": product.name,
        "instrument": product.instrument,
        "chip": product.chip,
        "filter": product.filter_name,
        "readout_mode": product.readout_mode,
        "date_obs": product.date_obs.isoformat() if product.date_obs else None,
        "night": product.night.isoformat() if product.night else None,
        "is_valid": product.is_valid,
        "quality_flags": product.quality_flags,
        "attributes": product.attributes,
        "inputs": inputs,
        "recipe": product.recipe,
        "recipe_version": product.recipe_version,
        "parameters": product.parameters,
        "made_without": product.made_without,
        "code_digest": product.code_digest,
        "run": product.made_by_run,
        "valid_from": start.isoformat() if start else None,
    }


def _inputs_of(numbers: list[int]) -> dict[int, dict[str, list[int]]]:
    found: dict[int, dict[str, list[int]]] = defaultdict(dict)
    for some in batches(numbers):
        rows = Lineage.objects.filter(product__in=some)
        for product, role, source in rows.order_by("product", "role", "ordinal").values_list(
            "product_id", "role", "source_id"
        ):
            found[product].setdefault(role, []).append(source)
    return found
