"""Which unit a run goes to when its user names none: by recipe, by type of user, or for all."""

from __future__ import annotations

from collections.abc import Callable

from archive.models import Profile
from processing_units.frontend.models import ProcessingUnit, UnitDefault
from recipes.catalogue import all_recipes
from recipes.errors import UsageError

ALL_RECIPES = "*"
ALL_TYPES = 0
_For = tuple[str, int]


def default_unit(recipe: str, type_of_user: int) -> UnitDefault | None:
    """Return the default that fits best: of recipe and type, of the recipe, of the type, of all; or None."""
    rows = UnitDefault.objects.select_related("unit").filter(
        recipe__in=[recipe, ALL_RECIPES], user_type__in=[type_of_user, ALL_TYPES]
    )
    return max(rows, key=lambda row: (row.recipe == recipe, row.user_type == type_of_user), default=None)


def read_defaults(text: str) -> list[_For]:
    """Return for whom a text says that a unit is the default: ``Reduce,Science:2,*:1``.

    Raises
    ------
    UsageError
        An unknown recipe or type of user.
    """
    found = []
    for word in (word.strip() for word in text.split(",") if word.strip()):
        recipe, colon, kind = (part.strip() for part in word.partition(":"))
        if recipe != ALL_RECIPES and recipe not in all_recipes():
            names = ", ".join(all_recipes())
            raise UsageError(f"there is no recipe {recipe!r}", hint=f"write * for all, or one of: {names}")
        if colon and kind not in {str(each.value) for each in Profile.UserType}:
            raise UsageError(f"user type {kind!r} is none of 1, 2, 3, 4", hint="write RECIPE:2 or *:2")
        found.append((recipe, int(kind) if colon else ALL_TYPES))
    return list(dict.fromkeys(found))


def shown_defaults(unit: ProcessingUnit) -> str:
    """Return for whom the unit is the default, as it would be typed."""
    rows = UnitDefault.objects.filter(unit=unit).order_by("recipe", "user_type").values_list("recipe", "user_type")
    return ",".join(_shown(row) for row in rows)


def set_defaults(
    unit: ProcessingUnit, wanted: list[_For], on_taken: Callable[[ProcessingUnit, str, str], object]
) -> None:
    """Make the unit the default for these and for nobody else, inside the caller's transaction.

    What another unit was the default for is taken from it; `on_taken` is told of the unit, what it had and has.
    """
    UnitDefault.objects.filter(unit=unit).delete()
    others: dict[int, tuple[ProcessingUnit, str]] = {}
    for recipe, kind in wanted:
        for row in UnitDefault.objects.select_related("unit").filter(recipe=recipe, user_type=kind):
            others.setdefault(row.unit_id, (row.unit, shown_defaults(row.unit)))
            row.delete()
        UnitDefault.objects.create(recipe=recipe, user_type=kind, unit=unit)
    for other, before in others.values():
        on_taken(other, before, shown_defaults(other))


def _shown(row: _For) -> str:
    recipe, kind = row
    return recipe if kind == ALL_TYPES else f"{recipe}:{kind}"
