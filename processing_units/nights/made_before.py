"""What of a planned job is there already: made by the same recipe, of the same directions, with all it could have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from processing_units.contract import PlannedJob
from processing_units.nights.descriptions import Asked, Json, Outline, primary_inputs
from processing_units.nights.frames import FrameSet
from processing_units.nights.order import feeds_back


class MadeBefore:
    """Knows the products of a night by the recipes that made them.

    Parameters
    ----------
    asked : Asked
        The portal.
    recipes : sequence of dict
        Those that matter.
    sets : sequence of FrameSet
        The frames; they learn which inputs of each recipe are those it works on.
    """

    def __init__(self, asked: Asked, recipes: Sequence[Json], sets: Sequence[FrameSet]) -> None:
        self._asked = asked
        roles = {recipe["name"]: {entry["role"] for entry in primary_inputs(recipe)} for recipe in recipes}
        for frames in sets:
            frames.primary_roles = roles
        self._feeding_back = {recipe["name"] for recipe in recipes if feeds_back(recipe, recipes)}
        self._names: dict[int, str] = {}  # of all that was made, also of what was made anew since

    def products_of(self, recipe: Json, frames: FrameSet) -> list[Json]:
        """Return what the recipe has made of a night."""
        filters = {"recipe": recipe["name"], "instrument": frames.instrument, "night": ",".join(frames.nights)}
        return self.remember(self._asked.products(**filters))

    def remember(self, products: Iterable[Json]) -> list[Json]:
        """Return the products, whose names will be asked for."""
        found = list(products)
        self._names |= {product["id"]: f"{product['kind']} {product['name']}" for product in found}
        return found

    def there(self, recipe: Json, plan: Outline, job: PlannedJob, made_before: Sequence[Json]) -> list[Json]:
        """Return the newest products that this job would make, where all are there."""
        there = [product for product in made_before if self._is_made_by(product, recipe, plan, job)]
        if not {product["kind"] for product in there} >= set(recipe["outputs"]):
            return []
        newest = max(product["run"] or 0 for product in there)
        return [product for product in there if (product["run"] or 0) == newest]

    def _is_made_by(self, product: Json, recipe: Json, plan: Outline, job: PlannedJob) -> bool:
        same = product["recipe_version"] == plan.version and product["parameters"] == plan.parameters
        # What it had to do without may be there now; what it was given and could not use is no reason to try again.
        lacked = set(product["made_without"]) - set(product["inputs"])
        # Fringes that are not significant, a zeropoint of two stars: no reason to make anything again.
        gained = {choice.role for choice in job.calibrations if choice.product is not None and not choice.quality_flags}
        if product["code_digest"] or not same or gained & lacked:
            return False
        return all(
            self._are_one(product["inputs"].get(entry["role"], []), job.inputs.get(entry["role"], []), recipe)
            for entry in primary_inputs(recipe)
        )

    def _are_one(self, made_from: list[int], planned: list[int], recipe: Json) -> bool:
        """Return whether the frames are the same; for what feeds back, also if they were made anew with its product."""
        if sorted(made_from) == sorted(planned):
            return True
        names = [sorted(self._names.get(number, str(number)) for number in numbers) for numbers in (made_from, planned)]
        return recipe["name"] in self._feeding_back and names[0] == names[1]
