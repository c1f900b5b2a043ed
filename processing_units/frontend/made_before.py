"""What of a plan is there already: products of the same recipe from the same frames, and in what they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from archive.context import Context, visible
from archive.many_numbers import batches
from archive.models import Lineage, Product, Validity
from archive.products import storable
from processing_units.contract import MadeBefore
from processing_units.frontend.splitting import Piece
from recipes.recipe import Recipe

_Used = frozenset[tuple[str, int]]


def find_made_before(
    recipe: Recipe, parameters: Mapping[str, Any], code: str, jobs: Sequence[Piece], context: Context
) -> list[MadeBefore | None]:
    """Return of each job the product that it would make twice, or else the newest from the same frames, or None.

    A few queries for every 500 jobs. Products differ by what decides their bytes: calibrations, parameters, version
    and code; one that was called bad would not be the same either. The one before of the same kind, which some recipes
    compare with, does not count: there is always another by the next time.
    """
    made = _made_from([piece.reference.pk for piece in jobs], recipe, context)
    used = _used_by([product.pk for products in made.values() for product in products])
    settled = storable(dict(parameters))
    passed_over = {
        entry.role for entry in recipe.inputs if not entry.primary and set(entry.kinds) <= set(recipe.outputs)
    }
    found: list[MadeBefore | None] = []
    for piece in jobs:
        wanted = _without(passed_over, _of(piece.inputs))
        frames = _of(piece.primary)
        alike = [
            (product, _differs(product, _without(passed_over, used[product.pk]), wanted, settled, recipe.version, code))
            for product in made.get(piece.reference.pk, [])
            if _primary_of(recipe, used[product.pk]) == frames
        ]
        best = min(alike, key=lambda pair: (bool(pair[1]), -pair[0].pk), default=None)
        found.append(best and MadeBefore(product=best[0].pk, name=best[0].name, differs=best[1]))
    return found


def _made_from(sources: Sequence[int], recipe: Recipe, context: Context) -> dict[int, list[Product]]:
    """Return by frame the products that the recipe made from it, one of each job."""
    made: dict[int, list[Product]] = defaultdict(list)
    for some in batches(sources):
        steps = Lineage.objects.filter(source__in=some, product__recipe=recipe.name).values_list("source", "product")
        by_product: dict[int, set[int]] = defaultdict(set)
        for source, number in steps:
            by_product[number].add(source)
        seen: set[int | None] = set()
        for others in batches(sorted(by_product)):
            for product in visible(context).filter(pk__in=others).defer("attributes").order_by("pk"):
                if product.made_by_job is None or product.made_by_job not in seen:
                    seen.add(product.made_by_job)
                    for source in by_product[product.pk]:
                        made[source].append(product)
    return made


def _used_by(products: Sequence[int]) -> dict[int, _Used]:
    used: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for some in batches(sorted(set(products))):
        rows = Lineage.objects.filter(product__in=some).order_by().values_list("product", "role", "source")
        for product, role, source in rows:
            used[product].add((role, source))
    return {product: frozenset(pairs) for product, pairs in used.items()}


def _of(inputs: Mapping[str, Sequence[Product]]) -> _Used:
    return frozenset((role, product.pk) for role, products in inputs.items() for product in products)


def _without(roles: set[str], used: _Used) -> _Used:
    return frozenset(pair for pair in used if pair[0] not in roles)


def _primary_of(recipe: Recipe, used: _Used) -> _Used:
    primary = {entry.role for entry in recipe.primary_inputs}
    return frozenset(pair for pair in used if pair[0] in primary)


def _differs(product: Product, used: _Used, wanted: _Used, parameters: Any, version: str, code: str) -> str:
    reasons = {
        "called bad": product.is_valid == Validity.BAD,
        "other calibrations": used != wanted,
        "other parameters": product.parameters != parameters,
        f"version {product.recipe_version}": product.recipe_version != version,
        "other code": product.code_digest != code,
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)
