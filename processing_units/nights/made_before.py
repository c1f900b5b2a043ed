"""What of a planned job is there already: made by the same recipe, of the same directions, with all it could have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256

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
        self._roles = roles
        for frames in sets:
            frames.primary_roles = roles
        self._feeding_back = {recipe["name"] for recipe in recipes if feeds_back(recipe, recipes)}
        self._known: dict[int, Json] = {}  # all that was made, also what was made anew since
        self._signs: dict[int, str] = {}

    def products_of(self, recipe: Json, frames: FrameSet) -> list[Json]:
        """Return what the recipe has made of a night."""
        filters = {"recipe": recipe["name"], "instrument": frames.instrument, "night": ",".join(frames.nights)}
        return self.remember(self._asked.products(**filters))

    def remember(self, products: Iterable[Json]) -> list[Json]:
        """Return the products, which may turn out to be what others were made from."""
        found = list(products)
        self._known |= {product["id"]: product for product in found}
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
        if recipe["name"] not in self._feeding_back:
            return False
        return sorted(map(self._sign, made_from)) == sorted(map(self._sign, planned))

    def _sign(self, number: int) -> str:
        """Return what two products share that the same versions of the same recipes made of the same raw frames."""
        product = self._known.get(number)
        if product is None:
            return str(number)
        if number not in self._signs:
            roles = self._roles.get(product["recipe"], ())
            made_from = sorted(self._sign(each) for role in roles for each in product["inputs"].get(role, ()))
            told = [product["kind"], product["name"], product["recipe"], product["recipe_version"], *made_from]
            self._signs[number] = sha256(json.dumps(told).encode()).hexdigest()
        return self._signs[number]
