"""The recipes there are: one file each, found by looking into this package (works inside a zip too)."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import recipes
from recipes.errors import UsageError
from recipes.recipe import Recipe


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
    """Sort so that a recipe comes after those that make what it requires, as far as that goes, then by name."""
    waiting = sorted(found, key=lambda recipe: recipe.name)
    done: list[Recipe] = []
    while waiting:
        to_be_made = {kind for recipe in waiting for kind in recipe.outputs}
        ready = [recipe for recipe in waiting if not _needs(recipe) & to_be_made] or waiting[:1]
        done += ready
        waiting = [recipe for recipe in waiting if recipe not in ready]
    return done


def _needs(recipe: Recipe) -> set[str]:
    """Return the kinds without which the recipe, at its first time, is not run (its own outputs left out)."""
    kinds = {kind for entry in recipe.inputs if entry.minimum or entry.primary for kind in entry.kinds}
    return kinds - set(recipe.outputs)
