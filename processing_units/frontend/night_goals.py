"""These must exist: a batch whose runs are the gaps of a night, and then, as these are filled, what rests on them.

When all that a batch has open has ended, the keeper looks at the night once more and writes the next runs, until
there is no gap that was not tried.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from archive.context import Context, context_of
from archive.filter_texts import BadSelection
from archive.models import Product
from processing_units.batch_scripts.evaluator import Wish
from processing_units.frontend.batch_plans import PlannedRun, plan_of, prepare
from processing_units.frontend.batches import digest_of
from processing_units.frontend.changes import OPEN_STATES
from processing_units.frontend.clock import database_now
from processing_units.frontend.models import Batch, Job, JobInput
from processing_units.frontend.night_answers import Answers, recipes_told
from processing_units.frontend.refusals import NotAllowed, NotFound, NotNow, TooLate
from processing_units.frontend.run_rows import write_run
from processing_units.nights.frames import group_frames
from processing_units.nights.gaps import Gap, Matrix, Survey, needed_for
from recipes.errors import UsageError

log = logging.getLogger(__name__)

LANGUAGE = "night"
# A frame is made a second time where what it had to do without has been made meanwhile; never a third time.
_MOST_TRIES = 2
# To look at a night takes seconds of the keeper: what is refused for now is asked again so much later.
_ASKED_AGAIN_SECONDS = 60.0
_not_before: dict[int, float] = {}


@dataclass(frozen=True)
class Goal:
    """What must exist of a night; no kinds: all that can be."""

    instrument: str
    night: str
    kinds: tuple[str, ...] = ()
    unit: str = ""

    def as_json(self) -> dict[str, object]:
        """Return it as a batch keeps it."""
        return {"instrument": self.instrument, "night": self.night, "kinds": list(self.kinds), "unit": self.unit}

    @property
    def command(self) -> str:
        """The line that does the same."""
        words = ["awrecipe converge", *self.kinds, f"--night {self.night}", f"--instrument {self.instrument}"]
        return " ".join([*words, f"--unit {self.unit}"] if self.unit else words)


def survey(goal: Goal, context: Context, batch: Batch | None = None) -> tuple[Matrix, list[Gap]]:
    """Return what a night has of what it could have, and what can be made now; what `batch` tried in vain is no gap.

    Raises
    ------
    NotFound
        The user sees no raw frames of it.
    UsageError
        No recipe makes such a kind.
    """
    answers = Answers(context, goal.unit)
    try:
        frames = answers.raw_frames(goal.instrument, goal.night)
    except BadSelection as wrong:
        raise UsageError(str(wrong)) from None
    if not frames:
        raise NotFound(f"the archive has no raw frames of {goal.instrument} of the night {goal.night} that you may see")
    try:
        recipes = needed_for(goal.kinds, recipes_told())
    except LookupError as unknown:
        raise UsageError(str(unknown)) from None
    tries: Counter[tuple[str, frozenset[int]]] = Counter() if batch is None else _tries(batch)
    looking = Survey(
        answers, group_frames(frames), recipes, lambda recipe, job: tries[_key(recipe, job)] >= _MOST_TRIES
    )
    matrix = looking.matrix()
    return matrix, looking.gaps


def pursue(goal: Goal, context: Context, key: str = "") -> Batch:
    """Begin to fill the gaps of a night; the same key of the same user gives the same batch.

    Raises
    ------
    TooLate
        There is no gap.
    NotAllowed, NotFound, UsageError
        As a submission.
    """
    if context.user is None:
        raise NotAllowed("visitors can look, but not run recipes", hint="log in")
    key = key or uuid.uuid4().hex
    earlier = Batch.objects.filter(user=context.user, idempotency_key=key).first()
    if earlier is not None:
        return earlier
    _, gaps = survey(goal, context)
    if not gaps:
        raise TooLate("there is no gap: all that can be made of these frames is there, or on its way")
    wishes = _wishes(gaps, goal)
    runs = prepare(wishes, context)
    try:
        with transaction.atomic():
            now = database_now()
            batch = Batch.objects.create(
                user=context.user,
                name=f"{' '.join(goal.kinds) or 'all'} of {goal.instrument} {goal.night}"[:100],
                language=LANGUAGE,
                text=goal.command,
                digest=digest_of(LANGUAGE, goal.command),
                evaluator="the gaps of a night",
                wishes=[wish.model_dump(mode="json") for wish in wishes],
                plan=plan_of(runs).model_dump(mode="json"),
                goal=goal.as_json(),
                idempotency_key=key,
                created=now,
                made=now,
            )
            if not _write(batch, runs):
                raise UsageError("none of the gaps can be filled", hint="the page of the night tells why")
    except IntegrityError:
        return Batch.objects.get(user=context.user, idempotency_key=key)
    return batch


def continue_goals() -> int:
    """Write the next runs of the goals of which nothing is open; return how many went on or ended."""
    is_open = Job.objects.filter(run__batch=OuterRef("pk"), state__in=OPEN_STATES)
    waiting = Batch.objects.filter(~Exists(is_open), made__isnull=False, goal_ended__isnull=True).exclude(goal={})
    count = 0
    for batch in waiting.select_related("user"):
        if time.monotonic() < _not_before.get(batch.pk, 0.0):
            continue
        try:
            _go_on(batch)
            count += 1
        except NotNow as later:
            log.info("%s waits: %s", batch, later)
            _not_before[batch.pk] = time.monotonic() + _ASKED_AGAIN_SECONDS
        except IntegrityError:
            log.info("%s was continued by another keeper", batch)
        except UsageError as problem:
            end_goal(batch.pk, problem.message)
    return count


def end_goal(number: int, reason: str) -> None:
    """Write why nothing more comes; the first reason stays."""
    Batch.objects.filter(pk=number, goal_ended__isnull=True).update(goal_ended=Now(), goal_reason=reason[:1000])


def _go_on(batch: Batch) -> None:
    goal = Goal(**{**batch.goal, "kinds": tuple(batch.goal["kinds"])})
    context = context_of(batch.user)
    _, gaps = survey(goal, context, batch)
    runs = prepare(_wishes(gaps, goal), context) if gaps else []
    written = 0
    with transaction.atomic():
        if list(Batch.objects.select_for_update().filter(pk=batch.pk, goal_ended__isnull=True).values_list("pk")):
            written = _write(batch, runs)
    if not written:
        end_goal(batch.pk, "")


def _tries(batch: Batch) -> Counter[tuple[str, frozenset[int]]]:
    """Return how often each job was tried: one that made nothing counts as often as it may be tried."""
    inputs: dict[int, set[int]] = defaultdict(set)
    primary = {recipe["name"]: {e["role"] for e in recipe["inputs"] if e["primary"]} for recipe in recipes_told()}
    jobs = dict(Job.objects.filter(run__batch=batch).values_list("pk", "run__recipe"))
    for job, role, product in JobInput.objects.filter(job__run__batch=batch).values_list("job", "role", "product"):
        if role in primary.get(jobs[job], ()):
            inputs[job].add(product)
    tries: Counter[tuple[str, frozenset[int]]] = Counter()
    made = Product.objects.filter(made_by_run__in=batch.runs.values("pk")).order_by()
    done = set(made.values_list("made_by_job", flat=True).distinct())
    for job, recipe in jobs.items():
        tries[recipe, frozenset(inputs[job])] += 1 if job in done else _MOST_TRIES
    return tries


def _key(recipe: str, job: Mapping[str, Iterable[int]]) -> tuple[str, frozenset[int]]:
    return recipe, frozenset(number for numbers in job.values() for number in numbers)


def _wishes(gaps: Sequence[Gap], goal: Goal) -> list[Wish]:
    remark = f"{goal.instrument} {goal.night}"
    return [Wish(line=0, recipe=gap.recipe, inputs=gap.inputs, parameters={}, unit=goal.unit, comment=remark)
            for gap in gaps]  # fmt: skip


def _write(batch: Batch, runs: Sequence[PlannedRun]) -> int:
    """Write runs inside the caller's transaction, return how many; of two that write the same, one comes through."""
    before = batch.runs.count()
    for place, run in enumerate(runs, before + 1):
        run.prepared.batch = batch
        run.prepared.leave_out_problems()
        if not any(piece.problem for piece in run.prepared.resolved.jobs):
            write_run(run.prepared, f"batch {batch.pk} run {place}")
    return batch.runs.count() - before
