"""How long the jobs of a plan would take on each unit: from what this recipe's last jobs took there."""

from __future__ import annotations

import math
import statistics

from archive.context import Context
from processing_units.contract import JobState, PlannedUnit
from processing_units.frontend.expected import Queue
from processing_units.frontend.models import Job, ProcessingUnit, Run
from processing_units.frontend.unit_choice import UnitOffer, offered_units

_RUNS_LOOKED_AT = 20
_JOBS_LOOKED_AT = 50


def times_on_units(recipe: str, jobs: int, chosen: ProcessingUnit, context: Context) -> list[PlannedUnit]:
    """Return the units that the user may know of, each with the time that so many jobs would take on it."""
    return [_times_on(offer, recipe, jobs, chosen) for offer in offered_units(recipe, context)]


def last_seconds(unit: ProcessingUnit, recipe: str) -> list[float]:
    """Return what the recipe's last jobs on the unit took from claim to commit [s]."""
    runs = Run.objects.filter(unit=unit, recipe=recipe).order_by("-pk").values_list("pk", flat=True)
    done = Job.objects.filter(run__in=list(runs[:_RUNS_LOOKED_AT]), unit=unit, state=JobState.DONE).order_by("-ended")
    times = done.values_list("started", "ended")[:_JOBS_LOOKED_AT]
    return [(ended - started).total_seconds() for started, ended in times if started and ended]


def _times_on(offer: UnitOffer, recipe: str, jobs: int, chosen: ProcessingUnit) -> PlannedUnit:
    found = PlannedUnit(
        name=offer.unit.name, chosen=offer.unit.pk == chosen.pk, why_not=offer.why_not, slots=offer.load.slots
    )
    taken = last_seconds(offer.unit, recipe)
    if not taken:
        return found
    found.seconds_a_job, found.jobs_known = statistics.median(taken), len(taken)
    found.seconds_to_start = Queue(offer.load).seconds_to_start(offer.load.queued + 1)
    if found.seconds_to_start is not None and offer.load.slots:
        rounds = math.ceil(jobs / offer.load.slots)
        found.seconds = found.seconds_to_start + rounds * found.seconds_a_job
    return found
