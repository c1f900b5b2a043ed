"""Make anew what became stale: each job once more with the calibrations that are valid now, generation by generation.

A step holds the jobs of one recipe and one set of parameters that wait for the same generations. The first step is a
run; the next one is submitted when it has ended, on what it made, as the steps of a chain are (``chains.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archive.context import Context, visible
from archive.many_numbers import batches
from archive.models import Lineage, Product, Validity
from archive.queries import ancestors
from archive.staleness import COMPARED_WITH, impact_of
from processing_units.contract import Plan, ReprocessPlan, Submission
from processing_units.frontend.choosing import choose_inputs
from processing_units.frontend.clock import database_now
from processing_units.frontend.dry_run import plan_of
from processing_units.frontend.models import Chain, Job, Run
from processing_units.frontend.planning import Resolved, parameters_for
from processing_units.frontend.quotas import require_room
from processing_units.frontend.refusals import PlanChanged
from processing_units.frontend.run_rows import Prepared, submit_prepared
from processing_units.frontend.splitting import Piece, check_numbers
from processing_units.frontend.unit_choice import choose_unit
from recipes.catalogue import all_recipes
from recipes.errors import UsageError
from recipes.recipe import Recipe

# Under this name a chain's directions hold the steps of a reprocessing.
DIRECTIONS = "reprocess"
_JOBS_SHOWN = 50
_TOLD = 20


@dataclass(frozen=True)
class Again:
    """A job that is to be done anew: one of its products, its number, and its primary inputs as they were."""

    product: Product
    inputs: dict[str, list[Product]]

    @property
    def job(self) -> int:
        """Number of the job that made it."""
        return self.product.made_by_job or 0


@dataclass
class Step:
    """Jobs of one recipe with the same parameters, that nothing of the same step is needed for."""

    recipe: Recipe
    parameters: dict[str, Any]
    jobs: list[Again] = field(default_factory=list)

    def kept(self) -> dict[str, Any]:
        """Return it as a chain's directions keep it."""
        products = [again.product.pk for again in self.jobs]
        return {"recipe": self.recipe.name, "parameters": self.parameters, "products": products}


@dataclass
class Steps:
    """All steps in order, and what is left out with the reason."""

    steps: list[Step]
    left_out: list[str]


def find_steps(product: Product, context: Context) -> Steps:
    """Return what is to be made anew: below a bad product all that is stale, of a stale one it and what it needs."""
    left_out: list[str] = []
    again = _jobs_of(_stale_of(product, context), context, left_out)
    levels = _levels(again)
    found: dict[tuple[int, str, str], Step] = {}
    for job in sorted(again, key=lambda number: (levels[number], number)):
        made = again[job].product
        recipe = all_recipes()[made.recipe]
        try:
            parameters = parameters_for(recipe, made.parameters, context)
        except UsageError as refused:
            left_out.append(f"{made.name}: {refused.message}")
            continue
        key = levels[job], recipe.name, json.dumps(parameters, sort_keys=True)
        found.setdefault(key, Step(recipe, parameters)).jobs.append(again[job])
    return Steps([found[key] for key in sorted(found)], left_out)


def plan_reprocessing(product: Product, context: Context) -> ReprocessPlan:
    """Return what would be made anew, as a dry run: of the later steps with the frames that there are now."""
    found = find_steps(product, context)
    plans: list[Plan] = []
    for step in found.steps:
        resolved = _resolve(step, context, {}, explain=True)
        asked = _submission(resolved)
        plans.append(plan_of(resolved, asked, [step.recipe], context, _JOBS_SHOWN))
    left_out = found.left_out[:_TOLD]
    if len(found.left_out) > _TOLD:
        left_out.append(f"and {len(found.left_out) - _TOLD} more")
    text = json.dumps([plan.fingerprint for plan in plans])
    return ReprocessPlan(
        product=product.pk,
        name=product.name,
        steps=plans,
        left_out=left_out,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
    )


def reprocess(product: Product, context: Context, fingerprint: str, key: str) -> Run:
    """Submit the first step of exactly the plan of that fingerprint; the same key gives the same run.

    Raises
    ------
    UsageError
        There is nothing to make anew, or a job of the first step is not possible.
    PlanChanged
        The plan would be another by now.
    """
    earlier = Run.objects.filter(user=context.user, idempotency_key=key).first()
    if earlier is not None:
        return earlier
    plan = plan_reprocessing(product, context)
    if not plan.steps:
        raise UsageError(f"nothing that rests on {product.name} is stale and could be made anew")
    if plan.fingerprint != fingerprint:
        raise PlanChanged("this is not what the dry run showed any more", hint="look at it again, then run that")
    steps = find_steps(product, context).steps
    directions = {DIRECTIONS: [step.kept() for step in steps]}

    def make() -> Chain:
        recipes = [step.recipe.name for step in steps]
        return Chain.objects.create(recipes=recipes, directions=directions, created=database_now())

    resolved = _resolve(steps[0], context, {})
    asked = _submission(resolved).model_copy(update={"comment": f"made anew, as {product.name} was called bad"})
    prepared = Prepared(asked, resolved, asked, chain=make)
    prepared.leave_out_problems()
    return submit_prepared(prepared, context, key)


def submit_next(chain: Chain, place: int, context: Context, key: str) -> Run:
    """Submit a later step on what the steps before it have made; what could not be made anew is left out."""
    submitted = Run.objects.filter(user=context.user, idempotency_key=key)
    existing = submitted.first()
    if existing is not None:
        return existing
    try:
        return _submit_step_after(chain, place, context, key)
    except UsageError:
        # Another process has submitted this step meanwhile, and left less to be made anew than the chain asked for.
        existing = submitted.first()
        if existing is None:
            raise
        return existing


def _submit_step_after(chain: Chain, place: int, context: Context, key: str) -> Run:
    kept = chain.directions[DIRECTIONS][place]
    recipe = all_recipes().get(kept["recipe"])
    if recipe is None:
        raise UsageError(f"there is no recipe {kept['recipe']} any more")
    products = _products(kept["products"], context)
    step = Step(recipe, kept["parameters"], list(_jobs_of(products, context, []).values()))
    earlier = {number for before in chain.directions[DIRECTIONS][:place] for number in before["products"]}
    resolved = _resolve(step, context, _successors(step, chain, _jobs(earlier)))
    asked = _submission(resolved)
    prepared = Prepared(asked, resolved, asked, chain=lambda: chain, step=place)
    prepared.leave_out_problems()
    return submit_prepared(prepared, context, key)


def _stale_of(product: Product, context: Context) -> list[Product]:
    """Return the stale products to make anew: below a bad one all, of a stale one itself and what it was made from."""
    if product.stale_because is not None and product.is_valid != Validity.BAD:
        family = ancestors(context, product).products
        return [product, *(kin for kin in family.values() if kin.stale_because is not None)]
    numbers = [number for generation in impact_of(product, context).generations for number in generation]
    return [found for found in _products(numbers, context) if found.stale_because is not None]


def _products(numbers: Iterable[int], context: Context) -> list[Product]:
    wanted = sorted(numbers)
    return [found for some in batches(wanted) for found in visible(context).filter(pk__in=some).order_by("pk")]


def _jobs(products: Iterable[int]) -> set[int]:
    """Return the jobs that made these products."""
    wanted = sorted(products)
    rows = (Product.objects.filter(pk__in=some).values_list("made_by_job", flat=True) for some in batches(wanted))
    return {job for found in rows for job in found if job is not None}


def _jobs_of(products: Sequence[Product], context: Context, left_out: list[str]) -> dict[int, Again]:
    """Return by number the jobs that made the products, with their primary inputs as far as they may be seen."""
    kept: dict[int, Product] = {}
    done = _done_anew({product.made_by_job for product in products if product.made_by_job is not None})
    for product in products:
        why_not = _why_not(product, done)
        if why_not:
            left_out.append(f"{product.name}: {why_not}")
        elif product.made_by_job is not None:
            kept.setdefault(product.made_by_job, product)
    inputs = _primary_inputs(list(kept.values()), context)
    again: dict[int, Again] = {}
    for job, product in kept.items():
        if inputs.get(product.pk):
            again[job] = Again(product, inputs[product.pk])
        else:
            left_out.append(f"{product.name}: the frames that it was made from are bad, or not yours to see")
    return again


def _why_not(product: Product, done: set[int]) -> str:
    if product.is_valid == Validity.BAD:
        return "it was called bad itself"
    if product.code_digest:
        return "it was made with own code: run that again"
    if product.recipe not in all_recipes() or product.made_by_job is None:
        return "no recipe of the portal made it"
    return "it was made anew already" if product.made_by_job in done else ""


def _done_anew(jobs: set[int]) -> set[int]:
    """Return those of the jobs that were done anew (or are being) with a result that is not stale."""
    found: set[int] = set()
    for some in batches(sorted(jobs)):
        rows = Job.objects.filter(again_of__in=some).exclude(state__in=["failed", "cancelled"])
        by_new = dict(rows.values_list("pk", "again_of"))
        spoilt = Product.objects.filter(made_by_job__in=list(by_new)).exclude(
            stale_because__isnull=True, is_valid__in=[Validity.GOOD, Validity.PROPOSED]
        )
        gone = set(spoilt.values_list("made_by_job", flat=True))
        found |= {old for new, old in by_new.items() if new not in gone and old is not None}
    return found


def _primary_inputs(products: Sequence[Product], context: Context) -> dict[int, dict[str, list[Product]]]:
    """Return by product its primary inputs by role, without those that were called bad."""
    recipes = {product.pk: all_recipes()[product.recipe] for product in products}
    rows: list[tuple[int, str, int]] = []
    for some in batches(sorted(recipes)):
        found = Lineage.objects.filter(product__in=some).order_by("product", "role", "ordinal")
        rows += found.values_list("product", "role", "source")
    primary = {pk: {entry.role for entry in recipe.primary_inputs} for pk, recipe in recipes.items()}
    rows = [row for row in rows if row[1] in primary[row[0]]]
    sources = {source.pk: source for source in _products({row[2] for row in rows}, context)}
    inputs: dict[int, dict[str, list[Product]]] = defaultdict(lambda: defaultdict(list))
    for product, role, source in rows:
        frame = sources.get(source)
        if frame is not None and frame.is_valid != Validity.BAD:
            inputs[product][role].append(frame)
    return {product: dict(roles) for product, roles in inputs.items()}


def _levels(again: Mapping[int, Again]) -> dict[int, int]:
    """Return for each job how many generations of the others come before it."""
    needs: dict[int, set[int]] = defaultdict(set)
    numbers = {made.product.pk: job for job, made in again.items()}
    for some in batches(sorted(numbers)):
        rows = Lineage.objects.filter(product__in=some, source__made_by_job__isnull=False).exclude(role=COMPARED_WITH)
        for product, source_job in rows.order_by().values_list("product", "source__made_by_job"):
            if source_job is not None and source_job in again:
                needs[numbers[product]].add(source_job)
    levels: dict[int, int] = {}
    waiting = dict.fromkeys(again, 0)
    while waiting:
        ready = [job for job in waiting if all(other in levels for other in needs[job])]
        for job in ready or list(waiting):  # a lineage has no circle; were there one, this ends all the same
            levels[job] = 1 + max((levels.get(other, 0) for other in needs[job]), default=0)
            del waiting[job]
    return levels


def _resolve(
    step: Step, context: Context, successors: Mapping[int, Product | None], *, explain: bool = False
) -> Resolved:
    """Return a step with the calibrations that are valid now; `successors` stand for frames that were made anew."""
    pieces = [_piece(again, successors) for again in step.jobs]
    for piece in pieces:
        check_numbers(step.recipe, piece)
    if context.user is not None:
        require_room(context.user.pk, len(pieces))
    chosen = choose_unit(None, step.recipe.name, context)
    choose_inputs(step.recipe, step.parameters, pieces, {}, context, explain=explain)
    return Resolved(step.recipe, step.parameters, context, chosen.unit, chosen.reason, pieces)


def _piece(again: Again, successors: Mapping[int, Product | None]) -> Piece:
    lost = [
        frame.name
        for frames in again.inputs.values()
        for frame in frames
        if frame.pk in successors and successors[frame.pk] is None
    ]
    inputs = {role: [successors.get(frame.pk) or frame for frame in frames] for role, frames in again.inputs.items()}
    piece = Piece(again.product.name, inputs, again_of=again.job)
    if lost:
        piece.refuse(f"{lost[0]} could not be made anew", "see the run that was to make it")
    return piece


def _successors(step: Step, chain: Chain, earlier: set[int]) -> dict[int, Product | None]:
    """Return by old frame what an earlier step of the chain made in its place; None where it made nothing."""
    frames = {
        frame.pk: frame
        for again in step.jobs
        for of_role in again.inputs.values()
        for frame in of_role
        if frame.made_by_job in earlier
    }
    made: dict[tuple[int, str], list[Product]] = defaultdict(list)
    jobs = dict(Job.objects.filter(run__chain=chain, again_of__isnull=False).values_list("pk", "again_of"))
    for some in batches(sorted(jobs)):
        for product in Product.objects.filter(made_by_job__in=some).order_by("pk"):
            made[jobs[product.made_by_job or 0] or 0, product.kind].append(product)
    return {pk: _most_like(frame, made.get((frame.made_by_job or 0, frame.kind), [])) for pk, frame in frames.items()}


def _most_like(frame: Product, made: Sequence[Product]) -> Product | None:
    """Return of what a job made in a frame's place that of the same name, chip and time."""
    alike = [(other.name == frame.name, (other.chip, other.date_obs) == (frame.chip, frame.date_obs)) for other in made]
    best = max(range(len(made)), key=lambda place: alike[place], default=None)
    return None if best is None else made[best]


def _submission(resolved: Resolved) -> Submission:
    """Return the message that would ask for the same inputs and parameters."""
    inputs: dict[str, dict[int, None]] = defaultdict(dict)
    for piece in resolved.jobs:
        for role, frames in piece.primary.items():
            inputs[role] |= dict.fromkeys(frame.pk for frame in frames)
    asked = {role: list(numbers) for role, numbers in inputs.items()}
    return Submission(recipe=resolved.recipe.name, inputs=asked, parameters=resolved.parameters)
