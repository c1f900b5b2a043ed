"""Retry what failed: the failed jobs of a run once more, as a run of their own, so that no job's state goes back."""

from __future__ import annotations

from collections import defaultdict

from django.db import IntegrityError, transaction

from archive.context import Context, context_of
from archive.models import Privilege
from processing_units.contract import JobState
from processing_units.frontend.clock import database_now
from processing_units.frontend.job_rows import JobRow, write_jobs
from processing_units.frontend.models import Job, JobInput, Run
from processing_units.frontend.own_recipes import find_recipe_of
from processing_units.frontend.permissions import require_change_of_run, user_type, why_not_on_unit
from processing_units.frontend.refusals import TooLate
from processing_units.frontend.unit_choice import ChosenUnit, choose_unit
from processing_units.wording import counted

_AT_ONCE = 500


def retry_failed(run: Run, context: Context) -> Run:
    """Submit the failed jobs of `run` again, with the same inputs, calibrations and parameters; return the new run.

    A job is retried at most once; asked twice, the same new run is returned.

    Raises
    ------
    NotAllowed
        The run is another user's, or neither its unit nor any other takes it any more.
    TooLate
        No job of the run failed.
    """
    require_change_of_run(run, context)
    owner = context_of(run.user)
    chosen = ChosenUnit(run.unit, f"the unit of run {run.pk}")
    why_not = why_not_on_unit(run.unit, run.recipe, run.user_id, user_type(owner))
    if why_not:
        other = choose_unit(None, run.recipe, owner)
        chosen = ChosenUnit(other.unit, f"{other.reason}; {why_not}")
    try:
        with transaction.atomic():
            failed = list(run.jobs.filter(state=JobState.FAILED, retried_as__isnull=True).order_by("ordinal"))
            if failed:
                return _resubmit(run, failed, chosen)
    except IntegrityError:
        pass  # somebody retried the same jobs at the same moment: theirs is the run
    latest = Run.objects.filter(jobs__retry_of__run=run).order_by("-pk").first()
    if latest is None:
        raise TooLate(f"run {run.pk} has no failed job to retry", hint="submit the recipe again to run all of it")
    return latest


def _resubmit(run: Run, failed: list[Job], chosen: ChosenUnit) -> Run:
    now = database_now()
    again = Run.objects.create(
        user=run.user,
        project=run.project,
        privilege=Privilege.MYDB if chosen.unit.owner_id is not None else run.privilege,
        recipe=run.recipe,
        recipe_version=find_recipe_of(run.recipe, run.code_digest, context_of(run.user)).version,
        code_digest=run.code_digest,
        parameters=run.parameters,
        submission=run.submission,
        unit=chosen.unit,
        unit_reason=chosen.reason[:200],
        remark=f"retry of {counted(len(failed), 'failed job')} of run {run.pk}",
        idempotency_key=f"retry of run {run.pk} from job {failed[0].ordinal}",
        submitted=now,
        batch=run.batch,
    )
    inputs: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for begin in range(0, len(failed), _AT_ONCE):
        for old in JobInput.objects.filter(job__in=failed[begin : begin + _AT_ONCE]):
            inputs[old.job_id].append((old.role, old.product_id, old.ordinal))
    rows = [
        JobRow(label=old.label, choices_made=old.choices_made, inputs=inputs[old.pk], retry_of=old) for old in failed
    ]
    write_jobs(again, rows, now)
    return again
