"""What a night has of what it could have: for each recipe and chip what is there, what is a gap, and what cannot be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from processing_units.nights.descriptions import Json, Planning
from processing_units.nights.frames import FrameSet, inputs_for, missing_kinds, nearest_calibrations
from processing_units.nights.made_before import MadeBefore
from processing_units.nights.order import steps


class Outlook(StrEnum):
    """How it stands with one product that a recipe could make."""

    THERE = "there"
    GAP = "gap"  # it can be made now
    TO_COME = "to come"  # it can be, when a gap before it is filled
    NOT_POSSIBLE = "not possible"


@dataclass
class Matrix:
    """Recipe × chip: how many of each outlook; the reasons for what is not possible."""

    chips: list[str]
    cells: dict[str, dict[str, Counter[Outlook]]] = field(default_factory=dict)
    reasons: list[Json] = field(default_factory=list)

    def add(self, recipe: str, chips: Iterable[str], outlook: Outlook) -> None:
        """Count one job; it stands with each chip whose frames it takes."""
        for chip in chips:
            self.cells[recipe][chip][outlook] += 1

    def number(self, outlook: Outlook) -> int:
        """Return of how many cells' jobs that is so."""
        return sum(cell[outlook] for row in self.cells.values() for cell in row.values())

    @property
    def is_complete(self) -> bool:
        """Whether all that can be is there."""
        return not self.number(Outlook.GAP) and not self.number(Outlook.TO_COME)

    def rows(self) -> list[list[str]]:
        """Return the recipes with a text for each chip."""
        return [[recipe, *(_told(row[chip]) for chip in self.chips)] for recipe, row in self.cells.items()]

    def as_json(self) -> Json:
        """Return it for programs."""
        cells = [
            {"recipe": recipe, "chip": chip, **{outlook.value.replace(" ", "_"): cell[outlook] for outlook in Outlook}}
            for recipe, row in self.cells.items()
            for chip, cell in row.items()
        ]
        return {"is_complete": self.is_complete, "cells": cells, "not_possible": self.reasons}


def needed_for(kinds: Sequence[str], recipes: Sequence[Json]) -> list[Json]:
    """Return the recipes that make these kinds, and those that make what they need or would like to have.

    Raises
    ------
    LookupError
        No recipe makes such a kind; the message names those that are made.
    """
    made = {kind for recipe in recipes for kind in recipe["outputs"]}
    unknown = next((kind for kind in kinds if kind not in made), None)
    if unknown is not None:
        raise LookupError(f"no recipe makes a {unknown}; they make: {', '.join(sorted(made))}")
    wanted, needed = set(kinds) or made, set[str]()
    while True:
        more = {recipe["name"] for recipe in recipes if set(recipe["outputs"]) & wanted} - needed
        if not more:
            return [recipe for recipe in recipes if recipe["name"] in needed]
        needed |= more
        wanted |= {
            kind
            for recipe in recipes
            if recipe["name"] in more
            for entry in recipe["inputs"]
            if entry["primary"] or entry["minimum"] or entry["preferred"]
            for kind in entry["kinds"]
        }


@dataclass(frozen=True)
class Gap:
    """What a recipe can be given now: the jobs that are missing, and calibrations that they are to have, by role."""

    recipe: str
    jobs: list[dict[str, list[int]]]
    named: dict[str, list[int]]

    @property
    def inputs(self) -> dict[str, list[int]]:
        """All of it, as a submission has it."""
        roles = {role for job in self.jobs for role in job}
        return {role: sorted({n for job in self.jobs for n in job.get(role, [])}) for role in roles} | self.named


class Survey:
    """A look at a night: the same questions that its reduction asks, and nothing is submitted.

    Parameters
    ----------
    asked : Planning
        The portal.
    sets : sequence of FrameSet
        The raw frames; what is there of their products is added.
    recipes : sequence of dict
        Those that matter.
    was_tried : callable, optional
        Told recipe and primary inputs of a job, returns whether it was tried in vain: nothing waits for it.
    """

    def __init__(
        self,
        asked: Planning,
        sets: Sequence[FrameSet],
        recipes: Sequence[Json],
        was_tried: Callable[[str, dict[str, list[int]]], bool] = lambda recipe, inputs: False,
    ) -> None:
        self._was_tried = was_tried
        self.gaps: list[Gap] = []
        self._asked = asked
        self._sets = sets
        self._recipes = {recipe["name"]: recipe for recipe in steps(recipes)}
        self._before = MadeBefore(asked, recipes, sets)

    def matrix(self) -> Matrix:
        """Return what is there, what is a gap and what cannot be; `gaps` says how to fill those that can be now."""
        found = Matrix(sorted({product["chip"] for frames in self._sets for product in frames.products}))
        for recipe in self._recipes.values():
            found.cells[recipe["name"]] = defaultdict(Counter)
            for frames in self._sets:
                self._look(recipe, frames, found)
        return found

    def _look(self, recipe: Json, frames: FrameSet, found: Matrix) -> None:
        candidates = inputs_for(recipe, frames)
        made_before = self._before.products_of(recipe, frames) if candidates else []
        seen: set[str] = set()
        for chosen in candidates:
            named = nearest_calibrations(recipe, chosen, frames)
            inputs = {role: [product["id"] for product in products] for role, products in chosen.items()}
            plan = self._asked.plan_of(recipe, {**inputs, **named})
            if isinstance(plan, str):
                chips = {product["chip"] for products in chosen.values() for product in products}
                self._note(recipe, chips, plan, frames, found)
                continue
            by_number = {product["id"]: product["chip"] for products in chosen.values() for product in products}
            missing: list[dict[str, list[int]]] = []
            for job in plan.jobs:
                chips = {by_number.get(number, "") for numbers in job.inputs.values() for number in numbers}
                seen |= chips
                there = [] if job.problem else self._before.there(recipe, plan, job, made_before)
                frames.add(there)
                if job.problem:
                    self._note(recipe, chips, f"{job.label}: {job.problem}", frames, found)
                elif there:
                    found.add(recipe["name"], chips, Outlook.THERE)
                elif self._was_tried(recipe["name"], job.inputs):
                    self._note(recipe, chips, f"{job.label}: it was tried, and could not be made", frames, found)
                elif any(self._is_to_come(recipe, chip, found, wishes=True) for chip in chips):
                    found.add(recipe["name"], chips, Outlook.TO_COME)
                else:
                    found.add(recipe["name"], chips, Outlook.GAP)
                    missing.append(job.inputs)
            if missing:
                self.gaps.append(Gap(recipe["name"], missing, named))
        for chip in set(found.chips) - seen:
            if self._is_to_come(recipe, chip, found):
                found.add(recipe["name"], [chip], Outlook.TO_COME)
        if not candidates and not found.cells[recipe["name"]]:
            self._note(recipe, [], f"there is no {missing_kinds(recipe)}", frames, found)

    def _note(self, recipe: Json, chips: Iterable[str], reason: str, frames: FrameSet, found: Matrix) -> None:
        """Count what cannot be made now: it is to come where a gap that makes what it takes is filled first."""
        chips = set(chips)
        to_come = {chip for chip in chips if self._is_to_come(recipe, chip, found)}
        found.add(recipe["name"], to_come, Outlook.TO_COME)
        if chips - to_come or not chips:
            found.add(recipe["name"], chips - to_come, Outlook.NOT_POSSIBLE)
            found.reasons.append(
                {"recipe": recipe["name"], "set": frames.title, "what": frames.title, "reason": reason}
            )

    def _is_to_come(self, recipe: Json, chip: str, found: Matrix, *, wishes: bool = False) -> bool:
        """Whether a recipe before it has still to make, for this chip, what this one needs, or would like to have."""
        wanted = {
            kind
            for entry in recipe["inputs"]
            if entry["primary"] or entry["minimum"] or (wishes and entry["preferred"])
            for kind in entry["kinds"]
        }
        return any(
            wanted & set(self._recipes[name]["outputs"]) and (row[chip][Outlook.GAP] or row[chip][Outlook.TO_COME])
            for name, row in found.cells.items()
            if name != recipe["name"]
        )


def _told(cell: Counter[Outlook]) -> str:
    parts = [f"{cell[outlook]} {outlook}" for outlook in (Outlook.THERE, Outlook.GAP) if cell[outlook]]
    parts += [outlook.value for outlook in (Outlook.TO_COME, Outlook.NOT_POSSIBLE) if cell[outlook]]
    return ", ".join(parts) or "-"
