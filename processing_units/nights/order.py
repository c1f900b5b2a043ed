"""In which order a night's recipes run, read from what they take and make.

An input binds the recipe to those that make it: most where the recipe cannot do without, less where it would be
preferred, least where it may be used. What cannot all be had (a pixel map that is made from the flat that would use it)
is given up weakest first. A recipe that takes one of several kinds is run as soon as one of them can be there, and once
more when the others are; and one whose preferred input is made from its own products (fringes from reduced frames, a
zeropoint from calibrated ones, cold pixels from twilights) has its second turn right after that is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from processing_units.nights.descriptions import Json

_REQUIRED, _PREFERRED, _USED = 3, 2, 1


def steps(recipes: Sequence[Json]) -> list[Json]:
    """Return the recipes in the order in which a night runs them; one may come twice."""
    waiting = list(recipes)
    ordered: list[Json] = []
    again: list[Json] = []
    while waiting:
        chosen = _next(waiting, ordered, recipes)
        waiting.remove(chosen)
        ordered.append(chosen)
        if _makers_waiting(chosen, waiting, _REQUIRED):
            again.append(chosen)  # an alternative was taken: what it could work on is not all there yet
        for recipe in list(again):
            if recipe is not chosen and not _makers_waiting(recipe, waiting, _REQUIRED):
                again.remove(recipe)
                ordered.append(recipe)
                ordered += _would_gain(recipe, ordered)
        ordered += _would_gain(chosen, ordered)
    return ordered


def _next(waiting: Sequence[Json], ordered: Sequence[Json], recipes: Sequence[Json]) -> Json:
    """Return the recipe that gives up least by being run now; of equals what lets others do better, then the first.

    What others would take is not to be made twice: those who make it better come before those who use it.
    """
    return min(
        waiting,
        key=lambda recipe: (
            _is_blocked(recipe, waiting),
            not _would_gain(recipe, [*ordered, recipe]),
            len(_makers_waiting(recipe, waiting, _PREFERRED)),
            len(_makers_waiting(recipe, waiting, _USED)),
            len(_makers_waiting(recipe, waiting, _REQUIRED)),
            recipes.index(recipe),
        ),
    )


def _would_gain(maker: Json, ordered: Sequence[Json]) -> list[Json]:
    """Return the recipes that ran without a preferred input which `maker`, run just now, made from their products."""
    turn = len(ordered) - 1 - list(reversed(ordered)).index(maker)
    taken = {kind for entry in maker["inputs"] if _strength(entry) == _REQUIRED for kind in entry["kinds"]}
    made = set(maker["outputs"])
    return [
        recipe
        for recipe in ordered[:turn]
        if ordered.count(recipe) == 1
        and taken & set(recipe["outputs"])
        and any(made & set(entry["kinds"]) for entry in recipe["inputs"] if _strength(entry) == _PREFERRED)
    ]


def feeds_back(recipe: Json, recipes: Sequence[Json]) -> bool:
    """Whether a recipe makes, from another's products, what that other would like to have (fringes, a zeropoint)."""
    return any(_would_gain(recipe, [other, recipe]) for other in recipes if other is not recipe)


def _is_blocked(recipe: Json, waiting: Sequence[Json]) -> bool:
    """Return whether some input that it needs can come from nowhere but from recipes that have not run."""
    to_come = {kind for other in waiting if other is not recipe for kind in other["outputs"]}
    own = set(recipe["outputs"])
    return any(
        (others := set(entry["kinds"]) - own) and others <= to_come
        for entry in recipe["inputs"]
        if _strength(entry) == _REQUIRED
    )


def _makers_waiting(recipe: Json, waiting: Sequence[Json], strength: int) -> list[Json]:
    """Return the recipes that have not run and make an input of that strength, but for those that need this one's."""
    kinds = {kind for entry in recipe["inputs"] if _strength(entry) == strength for kind in entry["kinds"]}
    own = set(recipe["outputs"])
    return [
        other
        for other in waiting
        if other is not recipe
        and kinds & set(other["outputs"])
        and not any(set(entry["kinds"]) <= own for entry in other["inputs"] if _strength(entry) == _REQUIRED)
    ]


def _strength(entry: Json) -> int:
    if entry["primary"] or entry["minimum"]:
        return _REQUIRED
    return _PREFERRED if entry["preferred"] else _USED
