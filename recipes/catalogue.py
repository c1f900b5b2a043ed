"""The recipes there are: one file each, found by looking into this package (works inside a zip too)."""

from __future__ import annotations

import importlib
import pkgutil
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

    Of several kinds that one input may have, one is enough. Where no recipe has all that it would like (some improve
    each other in turn), those go on that have what they cannot do without.
    """
    waiting = sorted(found, key=lambda recipe: recipe.name)
    done: list[Recipe] = []
    while waiting:
        to_be_made = {kind for recipe in waiting for kind in recipe.outputs}
        ready = next(
            (
                ready
                for wish in (_likes, _needs)
                if (ready := [recipe for recipe in waiting if _has(recipe, wish(recipe), to_be_made)])
            ),
            waiting[:1],
        )
        done += ready
        waiting = [recipe for recipe in waiting if recipe not in ready]
    return done


def _likes(recipe: Recipe) -> list[Input]:
    """Return the inputs with which the recipe does its best."""
    return [entry for entry in recipe.inputs if entry.minimum or entry.primary or entry.preferred]


def _needs(recipe: Recipe) -> list[Input]:
    """Return the inputs without which the recipe is not run."""
    return [entry for entry in recipe.inputs if entry.minimum or entry.primary]


def _has(recipe: Recipe, inputs: list[Input], to_be_made: set[str]) -> bool:
    """Whether each of `inputs` has a kind that is there already (the recipe's own outputs left out)."""
    others = to_be_made - set(recipe.outputs)
    return all(any(kind not in others for kind in entry.kinds) for entry in inputs)
