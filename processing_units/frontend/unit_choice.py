"""On which unit a run goes, and why.

The one that the user names, the default that a process manager set, or where it is likely to be done first.
"""

from __future__ import annotations

from dataclasses import dataclass

from archive.context import Context
from archive.models import Profile
from processing_units.frontend.models import ProcessingUnit, UnitDefault
from processing_units.frontend.permissions import user_type, why_not_on_unit
from processing_units.frontend.refusals import NotAllowed, NotFound, NotNow
from processing_units.frontend.unit_defaults import ALL_RECIPES, default_unit
from processing_units.frontend.waiting import UnitLoad, unit_load
from processing_units.wording import counted
from recipes.errors import UsageError


@dataclass(frozen=True)
class ChosenUnit:
    """A unit and the reason for it, in a line."""

    unit: ProcessingUnit
    reason: str


@dataclass(frozen=True)
class UnitOffer:
    """A unit as a selector shows it; ``why_not`` is empty where the user may use it."""

    unit: ProcessingUnit
    load: UnitLoad
    why_not: str = ""


def offered_units(recipe: str, context: Context) -> list[UnitOffer]:
    """Return the units for a selector, the best for this recipe first; other users' own units are not shown."""
    if context.user is None:
        return []
    type_of_user = user_type(context)
    offers = [
        UnitOffer(unit, unit_load(unit), why_not_on_unit(unit, recipe, context.user.pk, type_of_user))
        for unit in ProcessingUnit.objects.order_by("name")
        if unit.owner_id in (None, context.user.pk)
    ]
    return sorted(offers, key=lambda offer: (bool(offer.why_not), *_badness(offer.load)))


def choose_unit(name: str | None, recipe: str, context: Context) -> ChosenUnit:
    """Return the unit for a run of `recipe`.

    Raises
    ------
    NotFound
        There is no unit of that name for this user.
    NotAllowed
        The unit, or every unit, is closed to this user or recipe; or the user's type does not choose units.
    UsageError
        There is no unit at all.
    """
    offers = offered_units(recipe, context)
    if not offers:
        raise UsageError(
            "there is no processing unit yet", hint="a process manager makes one: manage.py unit create NAME"
        )
    default = default_unit(recipe, user_type(context))
    takes_it = [offer for offer in offers if not offer.why_not]
    best = next((offer for offer in takes_it if default is not None and offer.unit.pk == default.unit_id), None)
    by_default = best is not None
    best = best or next(iter(takes_it), None)
    if name:
        return _named(name, offers, best, context)
    if best is None:
        reasons = "; ".join(offer.why_not for offer in offers)
        kind = NotNow if any(not offer.unit.accepting for offer in offers) else NotAllowed
        raise kind(f"no unit takes this: {reasons}", hint="ask a process manager, or try again later")
    if by_default:
        return ChosenUnit(best.unit, f"the default for {_for_whom(default)}")
    return ChosenUnit(best.unit, _why(best.load, len(takes_it)))


def _for_whom(default: UnitDefault | None) -> str:
    if default is None or (default.recipe == ALL_RECIPES and not default.user_type):
        return "all"
    words = [] if default.recipe == ALL_RECIPES else [default.recipe]
    return " of ".join(words + ([f"users of type {default.user_type}"] if default.user_type else []))


def _named(name: str, offers: list[UnitOffer], best: UnitOffer | None, context: Context) -> ChosenUnit:
    offer = next((offer for offer in offers if offer.unit.name == name), None)
    if offer is None:
        raise NotFound(f"there is no unit {name!r}", hint="the units are: " + ", ".join(o.unit.name for o in offers))
    if offer.why_not:
        open_units = [other.unit.name for other in offers if not other.why_not]
        kind = NotAllowed if offer.unit.accepting else NotNow
        raise kind(offer.why_not, hint=f"open to you: {', '.join(open_units) or 'none at the moment'}")
    is_default = best is not None and best.unit.pk == offer.unit.pk
    if user_type(context) < Profile.UserType.CHOOSES and not is_default:
        raise NotAllowed(
            "users of type 1 do not choose units", hint="leave the unit out; an administrator can change your type"
        )
    return ChosenUnit(offer.unit, "you chose it")


def _badness(load: UnitLoad) -> tuple[bool, bool, int, float, str]:
    """Sort key: units that work before those that do not, then free slots, then the shortest queue for its slots."""
    slots = max(load.slots or load.unit.slots, 1)
    free = min(load.free_slots, 1_000_000) - load.queued
    return (
        not load.frontend_is_alive,
        not load.nodes,
        -max(0, free),
        (load.queued + load.running) / slots,
        load.unit.name,
    )


def _why(load: UnitLoad, number: int) -> str:
    if number == 1:
        return "the only unit that takes it"
    free = max(0, load.free_slots - load.queued)
    if not load.frontend_is_alive or not load.nodes:
        return f"none of the {number} units has a cluster manager up; this one comes first"
    if free:
        return f"{free} of its {load.slots} slots are free, the most of {number} units"
    return f"the shortest queue of {number} units: {counted(load.queued, 'job')} for {counted(load.slots, 'slot')}"
