"""A dry run: what a submission comes to, as a message, and the fingerprint that lets exactly that be submitted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from archive.context import Context
from processing_units.contract import MadeBefore, Plan, PlanCounts, PlannedJob, PlannedStep, Submission
from processing_units.frontend.choosing import told
from processing_units.frontend.made_before import find_made_before
from processing_units.frontend.planning import Resolved
from processing_units.frontend.publishing import told_beforehand
from processing_units.frontend.refusals import PlanChanged
from processing_units.frontend.splitting import Piece
from processing_units.frontend.unit_times import times_on_units
from recipes.recipe import Recipe

# What may differ between a dry run and the submission that follows it; of the inputs the order.
_SAID_APART = {"idempotency_key", "plan", "comment", "inputs"}


def plan_of(
    resolved: Resolved, asked: Submission, recipes: Sequence[Recipe], context: Context, shown: int | None = None
) -> Plan:
    """Return what was resolved as the message that pages, ``--dry-run`` and the API show.

    Parameters
    ----------
    resolved : Resolved
        The submission, or the first step of its chain.
    asked : Submission
        What was asked for.
    recipes : sequence of Recipe
        All steps.
    context : Context
        Who asks.
    shown : int, optional
        So many jobs are told one by one, those that are not possible first; the counts are of all of them.
    """
    jobs = resolved.jobs
    made = find_made_before(resolved.recipe, resolved.parameters, asked.code, jobs, context)
    files = {product.pk: product for piece in jobs for products in piece.inputs.values() for product in products}
    order = range(len(jobs))
    if shown is not None and shown < len(jobs):
        order = sorted(order, key=lambda place: (not jobs[place].problem, place))[:shown]  # type: ignore[assignment]
    return Plan(
        recipe=resolved.recipe.name,
        version=resolved.recipe.version,
        parameters=resolved.parameters,
        unit=resolved.unit.name,
        unit_reason=resolved.unit_reason,
        counts=PlanCounts(
            jobs=len(jobs),
            not_possible=sum(bool(piece.problem) for piece in jobs),
            made_before=sum(found is not None and not found.differs for found in made),
            files=len(files),
            bytes=sum({product.sha256: product.file_size for product in files.values()}.values()),
        ),
        jobs=[_planned(resolved.recipe, jobs[place], made[place]) for place in order],
        steps=_steps(recipes, jobs),
        units=times_on_units(resolved.recipe.name, len(jobs), resolved.unit, context),
        then=[recipe.name for recipe in recipes[1:]],
        held_back=told_beforehand(set(files), resolved.context),
        fingerprint=fingerprint(resolved, asked),
    )


def fingerprint(resolved: Resolved, asked: Submission) -> str:
    """Return a digest of what was asked for and of what it comes to: recipe, parameters, each job's inputs.

    Left out is the unit that was chosen: it decides no byte of a product, and the best one is another in a moment.
    """
    jobs = [
        (piece.label, bool(piece.problem), {role: [p.pk for p in found] for role, found in piece.inputs.items()})
        for piece in resolved.jobs
    ]
    results = resolved.context
    content = [
        asked.model_dump(mode="json", exclude=_SAID_APART),
        {role: sorted(numbers) for role, numbers in asked.inputs.items()},
        (resolved.recipe.name, resolved.recipe.version, resolved.parameters),
        (results.user and results.user.pk, results.project and results.project.pk, int(results.privilege)),
        jobs,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def require_same_plan(resolved: Resolved, asked: Submission) -> None:
    """Raise PlanChanged where `asked` names the dry run that it is to be, and it would be another by now."""
    if asked.plan and asked.plan != fingerprint(resolved, asked):
        raise PlanChanged(
            "this is not what the dry run showed any more: frames, calibrations or directions have changed since",
            hint="look at the dry run again, then run that",
        )


def _planned(recipe: Recipe, piece: Piece, made_before: MadeBefore | None) -> PlannedJob:
    primary = {entry.role for entry in recipe.primary_inputs}
    return PlannedJob(
        label=piece.label,
        inputs={role: [p.pk for p in products] for role, products in piece.inputs.items() if role in primary},
        calibrations=piece.calibrations,
        bytes=sum(product.file_size for products in piece.inputs.values() for product in products),
        problem=piece.problem,
        hint=piece.hint,
        made_before=made_before,
    )


def _steps(recipes: Sequence[Recipe], jobs: Sequence[Piece]) -> list[PlannedStep]:
    """Return the steps with their numbers of jobs: each job makes one frame of what the next step takes.

    Nothing is told of a step that is split by what only the frames to come will tell, nor of those after it.
    """
    steps = [PlannedStep(recipe=recipes[0].name, version=recipes[0].version, jobs=len(jobs))]
    frames: list[dict[str, str]] | None = [_attributes(piece, recipes[0]) for piece in jobs]
    for recipe in recipes[1:]:
        frames = None if frames is None else _jobs_from(frames, recipe)
        number = None if frames is None else len(frames)
        steps.append(PlannedStep(recipe=recipe.name, version=recipe.version, jobs=number))
    return steps


def _attributes(piece: Piece, recipe: Recipe) -> dict[str, str]:
    """Return what is known of the frame that a job will make: all that its jobs are split by."""
    known = {**told(piece.reference), "night": piece.reference.night}
    names = known if "product" in recipe.split_by else recipe.split_by
    return {name: str(known.get(name) or "") for name in names}


def _jobs_from(frames: list[dict[str, str]], recipe: Recipe) -> list[dict[str, str]] | None:
    if "product" in recipe.split_by:
        return frames
    if any(name not in frame for frame in frames for name in recipe.split_by):
        return None
    kept = {tuple((name, frame[name]) for name in recipe.split_by) for frame in frames}
    return [dict(pairs) for pairs in sorted(kept)]
