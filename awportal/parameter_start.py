"""With what a recipe's form begins, and where it comes from: the recipe, Environment.cfg, a set, the instrument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from archive.calibration import effective_overscan
from archive.context import Context
from archive.models import Product, QualityLimit
from processing_units.frontend.parameter_sets import find_set, problems_of, reference_of, visible_sets
from recipes.errors import UsageError
from recipes.recipe import Recipe

_SECTIONS = {1: "prescan_x", 2: "overscan_x", 3: "prescan_y", 4: "overscan_y"}


@dataclass
class SetChoice:
    """The parameter sets that a form offers, the chosen one, and what is wrong with it."""

    offered: list[tuple[str, str, bool]] = field(default_factory=list)  # reference, what it says, whether one's own
    reference: str = ""
    entries: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    is_own: bool = False
    fills_in: bool = False  # its values take the place of what was typed


def read_set(recipe: Recipe, data: QueryDict, context: Context) -> SetChoice:
    """Return the sets of a form of a standard recipe; one that is not there, or does not fit any more, is told."""
    choice = SetChoice(reference=data.get("set", "").replace("\0", "")[:200])
    for kept in visible_sets(context).filter(recipe=recipe.name):
        reference = reference_of(kept, context)
        shared = f", shared with {kept.project}" if kept.project else ""
        choice.offered.append((reference, f"{reference} ({len(kept.entries)} changed{shared})", "/" not in reference))
    if not choice.reference:
        return choice
    try:
        kept = find_set(recipe, choice.reference, context)
    except UsageError as refused:
        choice.problems = [f"{refused.message}: {refused.hint}"]
        return choice
    choice.reference = reference_of(kept, context)
    choice.is_own = "/" not in choice.reference
    choice.entries = kept.entries
    choice.problems = list(problems_of(kept, recipe).values())
    choice.fills_in = data.get("action") == "use-set" or not any(name.startswith("p-") for name in data)
    return choice


def overscan_note(text: str, frames: Sequence[Product]) -> str:
    """Return which overscan method takes effect on the first of these frames, where it is not the one written."""
    if not frames or not text.isdigit():
        return ""
    attributes = frames[0].attributes
    effective = effective_overscan(int(text), attributes)
    if effective == int(text):
        return ""
    camera = f"{frames[0].instrument} chip {frames[0].chip}"
    lacking = _SECTIONS.get((int(text) - 1) % 4 + 1, "")
    if not effective:
        return f"On frames of {camera} none takes effect: header and camera file tell of no such section."
    return f"On frames of {camera} {effective} takes effect: header and camera file tell of no {lacking}."


def limits_of(recipe: Recipe, given: Mapping[str, str]) -> list[QualityLimit]:
    """Return the quality limits of the chosen instrument that go before the published ones for what is made."""
    instrument = given.get("instrument", "")
    if not instrument:
        return []
    rows = QualityLimit.objects.filter(instrument=instrument, kind__in=recipe.outputs)
    if given.get("chip"):
        rows = rows.filter(chip__in=["", given["chip"]])
    return list(rows.order_by("kind", "measurement", "chip", "filter_name")[:40])
