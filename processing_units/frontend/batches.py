"""Batches: a script is read and kept with its plan, and made into runs when its user has agreed to that plan."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from archive.context import Context
from processing_units.batch_scripts.evaluator import Wish, version_of_language
from processing_units.contract import BatchMakeRequest, BatchPlan, BatchRequest
from processing_units.frontend.batch_plans import Drawn, PlannedRun, draw_up, plan_of, prepare
from processing_units.frontend.clock import database_now
from processing_units.frontend.models import Batch
from processing_units.frontend.refusals import NotAllowed, TooLate
from processing_units.frontend.run_rows import write_run
from processing_units.named_points import reach
from recipes.errors import UsageError


def plan_batch(request: BatchRequest, context: Context) -> BatchPlan:
    """Return what a batch would do; nothing is kept. Raises as :func:`draft`."""
    return plan_of(draw_up(request.text, request.language, context).runs)


def draft(request: BatchRequest, context: Context) -> Batch:
    """Read a script, draw its plan up and keep both; the same idempotency key of the same user gives the same batch.

    Raises
    ------
    ScriptWrong
        What is wrong, with the line.
    NotAllowed, NotNow, NotFound
        As a submission.
    """
    user = context.user
    if user is None:
        raise NotAllowed("visitors can look, but not run recipes", hint="log in")
    key = request.idempotency_key or uuid.uuid4().hex
    earlier = _earlier(request, context, key)
    if earlier is not None:
        return earlier
    drawn = draw_up(request.text, request.language, context)
    try:
        with transaction.atomic():
            return _keep(drawn, request.text, request.language, request.name.strip(), user, key)
    except IntegrityError:
        earlier = _earlier(request, context, key)
        if earlier is None:
            raise
        return earlier


def draft_again(batch: Batch, context: Context) -> Batch:
    """Read a batch's script once more, with the answers that it had then, as a new batch: it asks for the same runs.

    Raises
    ------
    ScriptWrong
        What it asks for cannot be any more: a frame is gone, a recipe has changed.
    """
    if batch.goal:
        raise UsageError("a batch that fills the gaps of a night has no script", hint="look at the night again")
    drawn = draw_up(batch.text, batch.language, context, kept=batch.answers)  # type: ignore[arg-type]
    assert context.user is not None  # noqa: S101 - draw_up() refuses visitors; said for the type checker
    return _keep(drawn, batch.text, batch.language, batch.name, context.user, uuid.uuid4().hex)


def make(batch: Batch, asked: BatchMakeRequest, context: Context) -> Batch:
    """Write all runs of a batch in one transaction; asked twice, they are made once.

    Raises
    ------
    NotAllowed
        It is another user's.
    TooLate
        The archive, the recipes or the user's context have changed since: it would do another thing than was seen.
        The batch then holds the new plan.
    UsageError
        Jobs cannot run, and are not to be left out.
    """
    if context.user is None or batch.user_id != context.user.pk:
        raise NotAllowed(f"batch {batch.pk} is {batch.user}'s", hint="copy its script into one of your own")
    if batch.made is not None:
        return batch
    runs = prepare([Wish.model_validate(wish) for wish in batch.wishes], context)
    _require_seen(batch, asked.digest, runs)
    for run in runs:
        run.prepared.batch = batch
        if asked.leave_out:
            run.prepared.leave_out_problems()
    kept = [run for run in runs if not (asked.leave_out and all(piece.problem for piece in run.prepared.resolved.jobs))]
    for run in kept:
        run.prepared.resolved.require_no_problem()
    if not kept:
        raise UsageError("none of its jobs can run", hint="the plan tells why; mend the script, or the archive")
    reach("batch.planned")
    with transaction.atomic():
        if Batch.objects.filter(pk=batch.pk, made__isnull=True).update(made=Now()):
            for place, run in enumerate(kept, 1):
                write_run(run.prepared, f"batch {batch.pk} run {place}")
            reach("batch.written")
    reach("batch.committed")
    batch.refresh_from_db()
    return batch


def digest_of(language: str, text: str) -> str:
    """Return the digest by which a script is known."""
    return hashlib.sha256(f"{language}\0{text}".encode()).hexdigest()


def _keep(drawn: Drawn, text: str, language: str, name: str, user: User, key: str) -> Batch:
    return Batch.objects.create(
        user=user,
        name=name,
        language=language,
        text=text,
        digest=digest_of(language, text),
        evaluator=version_of_language(),
        answers=drawn.answers,
        wishes=[wish.model_dump(mode="json") for wish in drawn.wishes],
        plan=plan_of(drawn.runs).model_dump(mode="json"),
        idempotency_key=key,
        created=database_now(),
    )


def _require_seen(batch: Batch, digest: str, runs: Sequence[PlannedRun]) -> None:
    """Raise TooLate, and keep the new plan, where it is not the one that the user saw."""
    plan = plan_of(runs)
    if plan.digest == digest:
        return
    batch.plan = plan.model_dump(mode="json")
    batch.save(update_fields=["plan"])
    raise TooLate(
        "the archive has changed since the plan was drawn up, and it would do another thing now",
        hint="look at the plan again, and agree to it",
    )


def _earlier(request: BatchRequest, context: Context, key: str) -> Batch | None:
    batch = Batch.objects.select_related("user").filter(user=context.user, idempotency_key=key).first()
    if batch is not None and batch.digest != digest_of(request.language, request.text):
        raise UsageError(
            f"the idempotency key {key[:40]!r} was used before, for batch {batch.pk}, with another script",
            hint="use a new key for a new script",
        )
    return batch
