"""One run: a submission of one recipe resolved, and written with its jobs in one transaction, once a key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from archive.context import Context
from processing_units.contract import Submission
from processing_units.frontend.clock import database_now
from processing_units.frontend.dry_run import require_same_plan
from processing_units.frontend.job_rows import JobRow, write_jobs
from processing_units.frontend.models import Batch, Chain, Run
from processing_units.frontend.planning import Resolved, resolve
from processing_units.named_points import reach
from processing_units.wording import counted
from recipes.errors import UsageError


@dataclass
class Prepared:
    """A submission of one recipe with everything checked and chosen, ready to be written."""

    submission: Submission
    resolved: Resolved
    kept: Submission
    chain: Callable[[], Chain] | None = None  # called within the transaction
    step: int = 0
    batch: Batch | None = None
    remark: str = ""

    def leave_out_problems(self) -> None:
        """Leave out the jobs that cannot run where others can; the run's remark tells of them."""
        jobs = self.resolved.jobs
        bad = [piece for piece in jobs if piece.problem]
        if not bad or len(bad) == len(jobs):
            return
        told = f"{counted(len(bad), 'job')} not possible: {bad[0].label}: {bad[0].problem}"
        jobs[:] = [piece for piece in jobs if not piece.problem]
        self.remark = f"{self.submission.comment}; {told}" if self.submission.comment else told


def submit_step(
    submission: Submission,
    context: Context,
    key: str,
    *,
    kept: Submission,
    chain: Callable[[], Chain] | None = None,
    step: int = 0,
    batch: Batch | None = None,
) -> Run:
    """Resolve a submission of one recipe and write its run; the same key of the same user gives the same run.

    Parameters
    ----------
    submission : Submission
        Of one recipe.
    context : Context
        Who asks, and where results go.
    key : str
        The idempotency key.
    kept : Submission
        What is kept as the user's own words: the same key with other words is refused.
    chain : callable, optional
        Returns the chain of which the run is a step, called within the transaction.
    step : int
        Its place in the chain. A first step is refused where any job has a problem; a later one leaves such jobs out,
        as nobody is there to mend them, and says so in its remark.
    batch : Batch, optional
        Of which it is a run.

    Raises
    ------
    UsageError
        See :func:`processing_units.frontend.submit.submit`.
    """
    earlier = earlier_run(kept, context, key)
    if earlier is not None:
        return earlier
    prepared = Prepared(submission, resolve(submission, context), kept, chain=chain, step=step, batch=batch)
    require_same_plan(prepared.resolved, kept)
    if step:
        prepared.leave_out_problems()
    return submit_prepared(prepared, context, key)


def submit_prepared(prepared: Prepared, context: Context, key: str) -> Run:
    """Write the run of a submission that was prepared, in a transaction of its own, once a key."""
    prepared.resolved.require_no_problem()
    reach("submit.planned")
    try:
        with transaction.atomic():
            run = write_run(prepared, key)
            reach("submit.written")
    except IntegrityError:
        earlier = earlier_run(prepared.kept, context, key)
        if earlier is None:
            raise
        return earlier
    reach("submit.committed")
    return run


def earlier_run(kept: Submission, context: Context, key: str) -> Run | None:
    """Return the run that this key of this user has made already; raise UsageError where it asked for another thing."""
    run = Run.objects.select_related("unit", "user").filter(user=context.user, idempotency_key=key).first()
    if run is not None and run.submission != _as_kept(kept):
        raise UsageError(
            f"the idempotency key {key[:40]!r} was used before, for run {run.pk}, with another request",
            hint="use a new key for a new request",
        )
    return run


def _as_kept(submission: Submission) -> dict[str, object]:
    return submission.model_dump(mode="json", exclude={"idempotency_key", "plan"})


def write_run(prepared: Prepared, key: str) -> Run:
    """Write a run with its jobs, inside the caller's transaction."""
    now = database_now()
    resolved = prepared.resolved
    user = resolved.context.user
    assert user is not None  # noqa: S101 - resolve() refuses visitors; said for the type checker
    run = Run.objects.create(
        user=user,
        project=resolved.context.project,
        privilege=resolved.context.privilege,
        recipe=resolved.recipe.name,
        recipe_version=resolved.recipe.version,
        code_digest=prepared.submission.code,
        parameters=resolved.parameters,
        submission=_as_kept(prepared.kept),
        unit=resolved.unit,
        unit_reason=resolved.unit_reason,
        remark=(prepared.remark or prepared.submission.comment)[:500],
        idempotency_key=key,
        submitted=now,
        chain=prepared.chain() if prepared.chain else None,
        chain_step=prepared.step,
        batch=prepared.batch,
    )
    reach("submit.run-written")
    rows = [
        JobRow(
            label=piece.label,
            choices_made=[choice.model_dump(mode="json") for choice in piece.calibrations],
            again_of=piece.again_of,
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
