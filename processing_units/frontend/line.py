"""Where the queued jobs of a run stand in line, and why they wait: asks the database once a unit."""

from __future__ import annotations

from dataclasses import dataclass

from processing_units.contract import JobState
from processing_units.frontend.expected import Queue, told
from processing_units.frontend.models import Job, ProcessingUnit, Run
from processing_units.frontend.permissions import type_of, why_not_allowed
from processing_units.frontend.quotas import why_none_begins
from processing_units.frontend.waiting import UnitLoad, takes_shipped_code, unit_load, why_it_waits, why_unit_is_slow


@dataclass(frozen=True)
class _OnUnit:
    """The run's queued jobs on one unit: what the unit does, and how many of the same user's come before each."""

    load: UnitLoad
    why_not: str
    own_before: dict[int, int]


class Line:
    """The line in which the queued jobs of one run stand; those that were moved stand in another unit's."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._units: dict[int, _OnUnit] = {}
        self._queues: dict[int, Queue] = {}

    def why_it_waits(self, job: Job) -> str:
        """Return why a queued job of the run has not started."""
        here = self._on_unit(job.unit_id)
        load, own_before = here.load, here.own_before.get(job.pk, 0)
        when = ""
        if not here.why_not and not load.free_slots:
            seconds = self._queue(load).seconds_to_start(load.place_in_line(self._run.user_id, own_before))
            when = told(seconds) if seconds is not None else ""
        return why_it_waits(load, job, self._run.user_id, own_before, here.why_not, when)

    def _queue(self, load: UnitLoad) -> Queue:
        if load.unit.pk not in self._queues:
            self._queues[load.unit.pk] = Queue(load)
        return self._queues[load.unit.pk]

    def why_slow(self, job: Job) -> str:
        """Return what keeps the job's unit from beginning jobs, or "" where it has a free slot."""
        here = self._on_unit(job.unit_id)
        if here.why_not:
            return here.why_not
        return "" if here.load.free_slots and here.load.unit.accepting else why_unit_is_slow(here.load)

    def _on_unit(self, unit_id: int) -> _OnUnit:
        if unit_id not in self._units:
            self._units[unit_id] = self._look(unit_id)
        return self._units[unit_id]

    def _look(self, unit_id: int) -> _OnUnit:
        run = self._run
        unit = run.unit if run.unit_id == unit_id else ProcessingUnit.objects.get(pk=unit_id)
        queued = Job.objects.filter(unit=unit_id, state=JobState.QUEUED)
        earlier_runs = queued.filter(run__user=run.user_id, run__lt=run.pk).count()
        mine = queued.filter(run=run).order_by("ordinal").values_list("pk", flat=True)
        rules = bool(unit.recipes_allowed or unit.user_types_allowed or unit.owner_id)
        why_not = why_not_allowed(unit, run.recipe, run.user_id, type_of(run.user)) if rules else ""
        if why_not:
            why_not += f"; move it to another unit: awrecipe units move {run.pk} UNIT"
        if run.code_digest and not why_not and not takes_shipped_code(unit):
            why_not = f"unit {unit.name} has no cluster manager up whose sandbox takes users' own code"
        why_not = why_not or why_none_begins(run.user)
        return _OnUnit(unit_load(unit), why_not, {pk: earlier_runs + place for place, pk in enumerate(mine)})
