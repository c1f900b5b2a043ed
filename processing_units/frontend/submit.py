"""Submit: one function for the browser, the command line and scripts, that checks everything and writes it at once."""

from __future__ import annotations

import uuid

from django.db import IntegrityError, transaction

from archive.context import Context
from processing_units.contract import Plan, Submission
from processing_units.frontend.clock import database_now
from processing_units.frontend.faults import reach
from processing_units.frontend.job_rows import JobRow, write_jobs
from processing_units.frontend.models import Run
from processing_units.frontend.planning import Resolved, resolve
from processing_units.frontend.refusals import NotAllowed
from recipes.errors import UsageError


def plan(submission: Submission, context: Context) -> Plan:
    """Return what `submission` would do; nothing is written.

    A job that could not be submitted carries its ``problem``; what is wrong with the whole raises as in :func:`submit`.
    """
    return resolve(submission, context).plan()


def submit(submission: Submission, context: Context) -> Run:
    """Check `submission`, choose calibrations and unit, split it, and write run, jobs, inputs and outbox at once.

    The same idempotency key of the same user gives the same run, also when both come at the same moment.

    Raises
    ------
    NotAllowed
        The user may not do this (a visitor, a unit or a parameter that their type may not choose, a privilege).
    NotFound
        An input does not exist, or may not be seen by this user.
    UsageError
        Anything else that the user can mend: recipe, role, kind or number of inputs, parameter, a calibration that is
        missing or does not fit. The message names the job and the frame, the hint how to mend it.
    """
    if context.user is None:
        raise NotAllowed("visitors can look, but not run recipes", hint="log in")
    key = submission.idempotency_key or uuid.uuid4().hex
    earlier = _earlier_run(submission, context, key)
    if earlier is not None:
        return earlier
    resolved = resolve(submission, context)
    resolved.require_no_problem()
    reach("submit.planned")
    try:
        with transaction.atomic():
            run = _write(submission, resolved, key)
            reach("submit.written")
    except IntegrityError:
        earlier = _earlier_run(submission, context, key)
        if earlier is None:
            raise
        return earlier
    reach("submit.committed")
    return run


def _earlier_run(submission: Submission, context: Context, key: str) -> Run | None:
    run = Run.objects.select_related("unit", "user").filter(user=context.user, idempotency_key=key).first()
    if run is not None and run.submission != _as_kept(submission):
        raise UsageError(
            f"the idempotency key {key[:40]!r} was used before, for run {run.pk}, with another request",
            hint="use a new key for a new request",
        )
    return run


def _as_kept(submission: Submission) -> dict[str, object]:
    return submission.model_dump(mode="json", exclude={"idempotency_key"})


def _write(submission: Submission, resolved: Resolved, key: str) -> Run:
    now = database_now()
    user = resolved.context.user
    assert user is not None  # noqa: S101 - resolve() refuses visitors; said for the type checker
    run = Run.objects.create(
        user=user,
        project=resolved.context.project,
        privilege=resolved.context.privilege,
        recipe=resolved.recipe.name,
        recipe_version=resolved.recipe.version,
        parameters=resolved.parameters,
        submission=_as_kept(submission),
        unit=resolved.unit,
        unit_reason=resolved.unit_reason,
        remark=submission.comment,
        idempotency_key=key,
        submitted=now,
    )
    reach("submit.run-written")
    rows = [
        JobRow(
            label=piece.label,
            choices_made=[choice.model_dump(mode="json") for choice in piece.calibrations],
            inputs=[
                (role, product.pk, place)
                for role, products in piece.inputs.items()
                for place, product in enumerate(products)
            ],
        )
        for piece in resolved.jobs
    ]
    write_jobs(run, rows, now)
    return run
