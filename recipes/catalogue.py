"""The recipes there are: one file each, found by looking into this package (works inside a zip too)."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache

import recipes
from recipes.errors import UsageError
from recipes.recipe import Input, Recipe


@cache
def all_recipes() -> dict[str, Recipe]:
    """Return the recipes by name, in the order in which a night needs them."""
    found = []
    for module in pkgutil.iter_modules(recipes.__path__):
        if module.name.startswith("_") or module.ispkg:
            continue
        declared = getattr(importlib.import_module(f"recipes.{module.name}"), "RECIPE", None)
        if isinstance(declared, Recipe):
            found.append(declared)
    return {recipe.name: recipe for recipe in _in_order(found)}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name, or raise UsageError that lists the names."""
    recipes_by_name = all_recipes()
    if name not in recipes_by_name:
        raise UsageError(f"there is no recipe {name!r}", hint="the recipes are: " + ", ".join(recipes_by_name))
    return recipes_by_name[name]


def _in_order(found: list[Recipe]) -> list[Recipe]:
    """Sort so that a recipe comes after those that make what it takes, as far as that goes, then by name.

    First those that have all kinds of all that they would like; where there are none, of several kinds that an input
    may have one is enough; then those go on that have what they cannot do without.
    """
    waiting = sorted(found, key=lambda recipe: recipe.name)
    done: list[Recipe] = []
    while waiting:
        to_be_made = {kind for recipe in waiting for kind in recipe.outputs}
        stages = [(wish, enough) for wish in (_likes, _needs) for enough in (all, any)]
        ready = next(
            (
                ready
                for wish, enough in stages
                if (ready := [recipe for recipe in waiting if _has(recipe, wish(recipe, found), to_be_made, enough)])
            ),
            waiting[:1],
        )
        done += ready
        waiting = [recipe for recipe in waiting if recipe not in ready]
    return done


def _likes(recipe: Recipe, found: list[Recipe]) -> list[Input]:
    """Return the inputs with which the recipe does its best, but for those that are made from its own products."""
    liked = [entry for entry in recipe.inputs if entry.preferred and not entry.minimum and not entry.primary]
    return _needs(recipe, found) + [entry for entry in liked if not _comes_after(recipe, entry, found)]


def _needs(recipe: Recipe, _found: list[Recipe]) -> list[Input]:
    """Return the inputs without which the recipe is not run."""
    return [entry for entry in recipe.inputs if entry.minimum or entry.primary]


def _comes_after(recipe: Recipe, entry: Input, found: list[Recipe]) -> bool:
    """Whether all recipes that make this input cannot do without what `recipe` makes (fringes from reduced frames)."""
    makers = [other for other in found if other is not recipe and set(other.outputs) & set(entry.kinds)]
    own = set(recipe.outputs)
    return bool(makers) and all(any(set(needed.kinds) <= own for needed in _needs(maker, found)) for maker in makers)


def _has(recipe: Recipe, inputs: list[Input], to_be_made: set[str], enough: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether of each of `inputs` all or any kinds are there already; of the recipe's own, what others make decides."""
    own = set(recipe.outputs)
    return all(
        not (others := [kind for kind in entry.kinds if kind not in own])
        or enough(kind not in to_be_made for kind in others)
        for entry in inputs
    )
