"""Submit: one function for the browser, the command line and scripts, that checks everything and writes it at once."""

from __future__ import annotations

import uuid

from archive.context import Context
from processing_units.contract import Plan, Submission
from processing_units.frontend.chains import begin, read_steps
from processing_units.frontend.dry_run import plan_of
from processing_units.frontend.environment import with_environment
from processing_units.frontend.models import Run
from processing_units.frontend.planning import resolve
from processing_units.frontend.refusals import NotAllowed
from processing_units.frontend.run_rows import earlier_run, submit_step


def plan(submission: Submission, context: Context, shown: int | None = None) -> Plan:
    """Return what `submission` would do; nothing is written. Of a chain it shows the jobs of the first step.

    A job that could not be submitted carries its ``problem``; what is wrong with the whole raises as in :func:`submit`.
    Of the jobs, `shown` are told one by one (None: all).
    """
    submission, context = with_environment(submission, context)
    steps = read_steps(submission, context)
    resolved = resolve(steps.submission(0, submission, {}), context, explain=True)
    return plan_of(resolved, submission, steps.recipes, context, shown)


def submit(submission: Submission, context: Context) -> Run:
    """Check `submission`, choose calibrations and unit, split it, and write run, jobs, inputs and outbox at once.

    Where it names the fingerprint of a dry run (``plan``) it is exactly that, or refused.

    The same idempotency key of the same user gives the same run, also when both come at the same moment. Of a chain
    (``Reduce>Science>Coadd``) the first run is returned; the others follow by themselves.

    Raises
    ------
    NotAllowed
        The user may not do this (a visitor, a unit or a parameter that their type may not choose, a privilege).
    NotFound
        An input does not exist, or may not be seen by this user.
    UsageError
        Anything else that the user can mend: recipe, role, kind or number of inputs, parameter, a calibration that is
        missing or does not fit. The message names the job and the frame, the hint how to mend it.
    PlanChanged
        It named a dry run, and would be another thing by now.
    """
    if context.user is None:
        raise NotAllowed("visitors can look, but not run recipes", hint="log in")
    submission, context = with_environment(submission, context)
    key = submission.idempotency_key or uuid.uuid4().hex
    earlier = earlier_run(submission, context, key)
    if earlier is not None:
        return earlier
    steps = read_steps(submission, context)
    if len(steps.recipes) > 1:
        return begin(submission, steps, context, key)
    return submit_step(submission, context, key, kept=submission)
