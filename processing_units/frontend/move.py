"""Move what waits of a run to another unit; what runs ends where it is."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from archive.context import Context
from archive.models import Privilege, Profile
from processing_units.contract import JobState
from processing_units.frontend import dispatch
from processing_units.frontend.models import Job, Outbox, ProcessingUnit, Run
from processing_units.frontend.permissions import (
    find_unit,
    manages_units,
    may_change_run,
    require_change_of_run,
    type_of,
    user_type,
    visible_units,
    why_not_on_unit,
)
from processing_units.frontend.refusals import NotAllowed, TooLate


@dataclass(frozen=True)
class Moved:
    """How many jobs were moved, and how many run on where they are."""

    jobs: int
    running: int


def move_run(run: Run, unit_name: str, context: Context) -> Moved:
    """Let the waiting jobs of a run wait for another unit.

    Raises
    ------
    NotFound
        There is no such unit for this user.
    NotAllowed
        The run is another user's, its user does not choose units, or the unit does not take it.
    TooLate
        No job of the run waits.
    """
    require_change_of_run(run, context)
    unit = find_unit(unit_name, context)
    if not manages_units(context) and user_type(context) < Profile.UserType.CHOOSES:
        raise NotAllowed("users of type 1 do not choose units", hint="ask a process manager to move the run")
    why_not = why_not_on_unit(unit, run.recipe, run.user_id, type_of(run.user))
    if why_not:
        raise NotAllowed(why_not, hint="`awrecipe units` shows the others")
    with transaction.atomic():
        # A job that is claimed at this moment is running then: it stays. One whose lease ends later waits where it was.
        waiting = Job.objects.filter(run=run.pk, state=JobState.QUEUED).exclude(unit=unit)
        count = waiting.update(unit=unit)
        if not count:
            raise TooLate(f"no job of run {run.pk} waits for another unit than {unit.name}")
        run.unit, run.unit_reason = unit, f"moved there by {context.user}"[:200]
        if unit.owner_id is not None:  # what a user's own unit makes is that user's alone
            run.privilege = Privilege.MYDB
        run.save(update_fields=["unit", "unit_reason", "privilege"])
        Outbox.objects.create(unit=unit, hints=count)
        transaction.on_commit(lambda: dispatch.send_hints(unit), robust=True)
    return Moved(count, run.jobs.filter(state=JobState.RUNNING).count())


def units_to_move_to(run: Run, context: Context) -> list[ProcessingUnit]:
    """Return the units that this context could move the run to."""
    if not may_change_run(run, context):
        return []
    if not manages_units(context) and user_type(context) < Profile.UserType.CHOOSES:
        return []
    kind = type_of(run.user)
    others = visible_units(context).exclude(pk=run.unit_id).order_by("name")
    return [unit for unit in others if not why_not_on_unit(unit, run.recipe, run.user_id, kind)]
