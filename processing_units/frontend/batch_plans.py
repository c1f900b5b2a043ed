"""What a batch script comes to: its wishes put together into runs, each checked and chosen; nothing is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from archive.context import Context, is_member
from archive.models import Project, Validity
from archive.queries import select
from archive.saved_selections import parse
from processing_units.batch_scripts.evaluator import Answers, Busy, Language, ScriptRefused, Wish, evaluate
from processing_units.contract import BatchPlan, BatchPlanRun, Submission
from processing_units.frontend.chains import read_steps, write_chain
from processing_units.frontend.models import Chain
from processing_units.frontend.planning import resolve
from processing_units.frontend.publishing import told_beforehand
from processing_units.frontend.quotas import require_room
from processing_units.frontend.refusals import NotAllowed, NotFound, NotNow, ScriptWrong
from processing_units.frontend.run_rows import Prepared
from recipes.catalogue import all_recipes
from recipes.errors import UsageError
from recipes.recipe import Recipe

MOST_RUNS_MADE = 500
MOST_FRAMES = 20_000
_PROBLEMS_TOLD = 3
# What a script knows of a frame, and the column it is kept in.
_COLUMNS = {
    "id": "pk", "name": "name", "kind": "kind", "instrument": "instrument", "chip": "chip", "filter": "filter_name",
    "readout_mode": "readout_mode", "night": "night", "object": "object_name", "exposure_time": "exposure_time",
    "temperature": "temperature", "ra": "ra", "dec": "dec", "date_obs": "date_obs", "quality_flags": "quality_flags",
    "recipe": "recipe", "run": "made_by_run",
}  # fmt: skip


@dataclass(frozen=True)
class PlannedRun:
    """A run of a batch, ready to be written, with where the script asks for it."""

    wish: Wish
    prepared: Prepared
    then: list[str]


@dataclass(frozen=True)
class Drawn:
    """A batch drawn up: what it asked for and was told, and what it comes to."""

    wishes: list[Wish]
    answers: Answers
    runs: list[PlannedRun]


def plan_of(runs: Sequence[PlannedRun]) -> BatchPlan:
    """Return planned runs as the message that is shown and agreed to."""
    shown = [_shown(run) for run in runs]
    return BatchPlan(
        runs=shown,
        jobs=sum(run.jobs for run in shown),
        problems=sum(run.problems for run in shown),
        digest=_digest(runs),
    )


def draw_up(text: str, language: Language, context: Context, kept: Answers | None = None) -> Drawn:
    """Read a script and check what it asks for.

    Parameters
    ----------
    text, language : str
        The script.
    context : Context
        Who asks.
    kept : list, optional
        The answers that it was given before: it is given these alone, and asks for the same runs.

    Raises
    ------
    ScriptWrong
        With the line of the script.
    NotNow, NotAllowed
        As a submission.
    """
    if context.user is None:
        raise NotAllowed("visitors can look, but not run recipes", hint="log in")
    answers: Answers = list(kept or [])
    try:
        wishes = evaluate(text, language, answers, None if kept is not None else lambda asked: _frames(asked, context))
    except ScriptRefused as refused:
        raise ScriptWrong(str(refused), refused.line) from None
    except Busy:
        raise NotNow("other scripts are being read at the moment", hint="try again in a few seconds") from None
    return Drawn(wishes, answers, prepare(wishes, context))


def prepare(wishes: Sequence[Wish], context: Context) -> list[PlannedRun]:
    """Check and choose all runs that are asked for; counted as a whole before any is written."""
    together = _put_together(wishes)
    if not together:
        raise ScriptWrong("it asks for no run", hint="write run('RECIPE', frames(kind = 'KIND'))")
    if len(together) > MOST_RUNS_MADE:
        raise ScriptWrong(
            f"it asks for {len(together)} runs, and a batch has at most {MOST_RUNS_MADE}",
            together[MOST_RUNS_MADE].line,
            hint="give a run many frames: it makes a job of each, or of each chip and filter",
        )
    found = [_prepare_at_line(wish, context) for wish in together]
    assert context.user is not None  # noqa: S101 - draw_up() and make() refuse visitors; said for the type checker
    require_room(context.user.pk, sum(len(run.prepared.resolved.jobs) for run in found))
    return found


def _frames(asked: dict[str, str], context: Context) -> list[dict[str, Any]]:
    """Return what a script is told of the frames that it asks for; of bad ones nothing, unless it asks for them."""
    selection = parse(context, asked)
    found = select(context, selection).order_by("date_obs", "pk")
    if selection.is_valid is None and not selection.quality:
        found = found.exclude(is_valid=Validity.BAD)
    rows = list(found.values_list(*_COLUMNS.values())[: MOST_FRAMES + 1])
    if len(rows) > MOST_FRAMES:
        raise ValueError(f"more than {MOST_FRAMES} frames match: narrow it, by night or instrument")
    return [dict(zip(_COLUMNS, map(_told, row), strict=True)) for row in rows]


def _told(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _put_together(wishes: Sequence[Wish]) -> list[Wish]:
    """Return the wishes with those as one that differ in their frame alone, where each frame is a job of its own.

    ``for frame in frames(...): run("SourceList", frame)`` is one run of many jobs, as if all had been given at once.
    """
    kept: list[Wish] = []
    open_groups: dict[str, int] = {}
    members: dict[int, set[int]] = {}
    for wish in wishes:
        numbers = _alone(wish)
        key = wish.model_dump_json(exclude={"line", "inputs"})
        place = open_groups.get(key)
        if numbers is None or place is None or members[place] & numbers:
            if numbers is not None:
                open_groups[key] = len(kept)
                members[len(kept)] = set(numbers)
            kept.append(wish.model_copy(deep=True))
            continue
        members[place] |= numbers
        kept[place].inputs[next(iter(kept[place].inputs))].extend(sorted(numbers))
    return kept


def _alone(wish: Wish) -> set[int] | None:
    """Return the frames of a wish of which each is a job that depends on no other; None where it is not so."""
    recipe = all_recipes().get(wish.recipe)
    if recipe is None or not _is_of_single_frames(recipe) or len(wish.inputs) != 1:
        return None
    role, numbers = next(iter(wish.inputs.items()))
    return set(numbers) if role in {"", recipe.primary_inputs[0].role} else None


def _is_of_single_frames(recipe: Recipe) -> bool:
    in_common = recipe.settle is not None or recipe.choose_in_run is not None
    return "product" in recipe.split_by and len(recipe.primary_inputs) == 1 and not in_common


def _prepare_at_line(wish: Wish, context: Context) -> PlannedRun:
    """Check and choose one run; what is refused is refused with the line of the script."""
    try:
        return _prepare(wish, context)
    except (NotAllowed, NotFound) as refused:
        raise type(refused)(f"line {wish.line}: {wish.recipe}: {refused.message}", hint=refused.hint) from None
    except UsageError as refused:
        raise ScriptWrong(f"{wish.recipe}: {refused.message}", wish.line, hint=refused.hint) from None


def _prepare(wish: Wish, context: Context) -> PlannedRun:
    if wish.project:
        project = Project.objects.filter(name=wish.project).first()
        if project is None or not is_member(context.user, project):
            raise NotAllowed(f"you are in no project {wish.project!r}", hint="write one of yours, or leave it out")
        context = replace(context, project=project)
    asked = Submission(
        recipe=wish.recipe,
        inputs=wish.inputs,
        parameters=wish.parameters,
        unit=wish.unit or None,
        privilege=wish.privilege,
        comment=wish.comment,
    )
    steps = read_steps(asked, context)
    first = steps.submission(0, asked, {})
    is_chain = len(steps.recipes) > 1

    def chain() -> Chain:
        return write_chain(asked, steps)

    prepared = Prepared(first, resolve(first, context), asked, chain=chain if is_chain else None)
    return PlannedRun(wish, prepared, [recipe.name for recipe in steps.recipes[1:]])


def _shown(run: PlannedRun) -> BatchPlanRun:
    resolved = run.prepared.resolved
    used = [product for piece in resolved.jobs for products in piece.inputs.values() for product in products]
    bad = [piece for piece in resolved.jobs if piece.problem]
    return BatchPlanRun(
        line=run.wish.line,
        recipe=resolved.recipe.name,
        version=resolved.recipe.version,
        then=run.then,
        unit=resolved.unit.name,
        unit_reason=resolved.unit_reason,
        parameters=dict(run.wish.parameters),
        comment=run.wish.comment,
        jobs=len(resolved.jobs),
        inputs=sum(len(ids) for ids in run.wish.inputs.values()),
        bytes=sum(product.file_size for product in used),
        problems=len(bad),
        first_problems=[f"{piece.label}: {piece.problem}" for piece in bad[:_PROBLEMS_TOLD]],
        held_back=told_beforehand({product.pk for product in used}, resolved.context),
    )


def _digest(runs: Sequence[PlannedRun]) -> str:
    """Return the digest of what would be made: recipes, parameters, each job's inputs and calibrations, for whom.

    The unit is a part of it only where the script names one: which is the best changes from minute to minute.
    """
    told = [
        [
            run.prepared.resolved.recipe.name,
            run.prepared.resolved.recipe.version,
            run.then,
            run.prepared.resolved.parameters,
            run.wish.unit,
            run.prepared.resolved.context.privilege,
            run.prepared.resolved.context.project.name if run.prepared.resolved.context.project else "",
            [
                [{role: [product.pk for product in products] for role, products in piece.inputs.items()}, piece.problem]
                for piece in run.prepared.resolved.jobs
            ],
        ]
        for run in runs
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
