"""Chains: ``Reduce>Science>Coadd`` is a run of each recipe after the other, each on what the one before has made.

A chain is a row; its runs are ordinary runs. When one has ended, whoever ended it (and the keeper's sweep, should that
process have died) submits the next, under an idempotency key of chain and step: however many try, there is one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.db.models.functions import Now

from archive.context import Context, visible
from processing_units.contract import JobState, Submission
from processing_units.frontend import reprocess
from processing_units.frontend.clock import database_now
from processing_units.frontend.models import Chain, Run
from processing_units.frontend.own_recipes import find_recipe_of
from processing_units.frontend.refusals import NotNow
from processing_units.frontend.run_rows import submit_step
from processing_units.frontend.status import job_counts_of
from recipes.catalogue import all_recipes, find_recipe
from recipes.errors import UsageError
from recipes.recipe import Recipe

SEPARATOR = ">"
MAXIMUM_STEPS = 10
_AT_ONCE = 500


@dataclass(frozen=True)
class Steps:
    """A chain's recipes with the directions of each."""

    recipes: list[Recipe]
    parameters: list[dict[str, Any]]
    inputs: list[dict[str, list[int]]]

    def submission(self, place: int, asked: Submission, inputs: dict[str, list[int]]) -> Submission:
        """Return the message for one step: its own parameters, `inputs`, and the products named for it."""
        return asked.model_copy(
            update={
                "recipe": self.recipes[place].name,
                "parameters": self.parameters[place],
                "inputs": {**self.inputs[place], **inputs},
                "idempotency_key": "",
                "plan": "",
            }
        )


def read_steps(asked: Submission, context: Context) -> Steps:
    """Return the steps of a submission; of one recipe there is one.

    A recipe that is given what only another recipe's products could be (Science, given raw frames) has that recipe put
    before it. A parameter or a calibration goes to every step that knows it, or to one: ``Science.pixel_scale``.

    Raises
    ------
    UsageError
        An unknown recipe, parameter or role; or a recipe that takes nothing of what the one before it makes.
    """
    names = [name.strip() for name in asked.recipe.split(SEPARATOR)]
    recipes = [find_recipe_of(name, asked.code, context) for name in names]
    if len(recipes) > MAXIMUM_STEPS:
        raise UsageError(f"a chain of {len(recipes)} recipes is longer than {MAXIMUM_STEPS}")
    given = asked.inputs
    maker = _maker(recipes[0], given, context)
    if maker is not None:
        given = _for_maker(recipes[0], given)
        recipes = [maker, *recipes]
    for before, after in pairwise(recipes):
        if not _handed_on(before, after):
            raise UsageError(
                f"{after.name} takes nothing that {before.name} makes ({', '.join(before.outputs)})",
                hint=f"after {before.name} may come: {', '.join(followers(before)) or 'nothing'}",
            )
    if len(recipes) == 1:
        return Steps(recipes, [asked.parameters], [given])
    parameters = [_of_step(recipe, asked.parameters, _parameter_names(recipe)) for recipe in recipes]
    inputs = [_of_step(recipe, given, _role_names(recipe, first=place == 0)) for place, recipe in enumerate(recipes)]
    _refuse_unknown("parameter", asked.parameters, parameters, recipes)
    _refuse_unknown("input", given, inputs, recipes)
    for recipe, own in zip(recipes, parameters, strict=True):
        recipe.parse_parameters(own)  # a later step's wrong value is refused now, not when its turn has come
    return Steps(recipes, parameters, inputs)


def followers(recipe: Recipe) -> list[str]:
    """Return the recipes that may come after `recipe` in a chain."""
    return [other.name for other in all_recipes().values() if other is not recipe and _handed_on(recipe, other)]


def paths_from(recipe: Recipe, longest: int = 3) -> list[str]:
    """Return the chains that may follow on `recipe`, shortest first, each as it is written after the first ``>``."""
    found: list[list[str]] = []
    ends = [[recipe.name]]
    for _ in range(longest):
        ends = [[*end, name] for end in ends for name in followers(find_recipe(end[-1])) if name not in end]
        found += ends
    return [SEPARATOR.join(path[1:]) for path in found]


def begin(asked: Submission, steps: Steps, context: Context, key: str) -> Run:
    """Write a chain and its first run in one transaction; raises as ``submit``."""
    return submit_step(
        steps.submission(0, asked, {}), context, key, kept=asked, chain=lambda: write_chain(asked, steps)
    )


def write_chain(asked: Submission, steps: Steps) -> Chain:
    """Write a chain, of which the caller writes the first run in the same transaction."""
    return Chain.objects.create(
        recipes=[recipe.name for recipe in steps.recipes],
        directions=asked.model_dump(mode="json", exclude={"idempotency_key", "plan"}),
        created=database_now(),
    )


def continue_chains(run_ids: list[int] | None = None) -> int:
    """Submit the next step of each chain whose newest run has ended; return how many chains went on or ended."""
    waiting = Chain.objects.filter(ended__isnull=True)
    if run_ids is not None:
        waiting = waiting.filter(pk__in=Run.objects.filter(pk__in=run_ids).values("chain"))
    count = 0
    for chain in waiting:
        newest = chain.runs.select_related("user", "project", "batch").order_by("-chain_step").first()
        if newest is not None and newest.ended is not None:
            _go_on(chain, newest)
            count += 1
    return count


def end_chain(chain_id: int, reason: str) -> None:
    """Write why no more steps come; the first reason stays."""
    Chain.objects.filter(pk=chain_id, ended__isnull=True).update(ended=Now(), reason=reason[:1000])


def _go_on(chain: Chain, ended: Run) -> None:
    """Submit the step after `ended`, or write why there is none."""
    counts = job_counts_of([ended])[ended.pk]
    place = ended.chain_step + 1
    if ended.cancel_requested is not None:
        end_chain(chain.pk, f"{ended.recipe} (run {ended.pk}) was cancelled")
    elif place >= len(chain.recipes):
        end_chain(chain.pk, "")
    elif not counts[JobState.DONE]:
        end_chain(chain.pk, f"{ended.recipe} (run {ended.pk}) failed, so there is nothing for {chain.recipes[place]}")
    else:
        try:
            _submit_next(chain, ended, place)
            Chain.objects.filter(pk=chain.pk).exclude(reason="").update(reason="")
        except NotNow as problem:  # it goes on when that is over: the keeper's sweep asks again
            reason = f"{chain.recipes[place]} waits: {problem.message}"[:1000]
            Chain.objects.filter(pk=chain.pk, ended__isnull=True).exclude(reason=reason).update(reason=reason)
        except UsageError as problem:
            hint = f" ({problem.hint})" if problem.hint else ""
            end_chain(chain.pk, f"{chain.recipes[place]} could not be submitted: {problem.message}{hint}")


def _submit_next(chain: Chain, ended: Run, place: int) -> None:
    context = Context(ended.user, ended.project, ended.privilege)
    key = f"chain {chain.pk} step {place}"
    if reprocess.DIRECTIONS in chain.directions:
        reprocess.submit_next(chain, place, context, key)
        return
    asked = Submission.model_validate(chain.directions)
    asked = asked.model_copy(update={"recipe": SEPARATOR.join(chain.recipes), "privilege": None})
    steps = read_steps(asked, context)
    inputs = _made_for(steps.recipes[place], ended, context)
    wanted = steps.submission(place, asked, inputs)
    submit_step(wanted, context, key, kept=wanted, chain=lambda: chain, step=place, batch=ended.batch)


def _made_for(recipe: Recipe, run: Run, context: Context) -> dict[str, list[int]]:
    """Return what the run has made that the recipe's primary inputs take, by role."""
    inputs: dict[str, list[int]] = {}
    made = list(visible(context).filter(made_by_run=run.pk).order_by("date_obs", "pk").values_list("pk", "kind"))
    for entry in recipe.primary_inputs:
        # Of several kinds that would do (a frame before and after its astrometry) the first there is, as declared.
        kind = next((kind for kind in entry.kinds if any(has == kind for _, has in made)), None)
        if kind is not None:
            inputs[entry.role] = [number for number, has in made if has == kind]
    if not inputs:
        raise UsageError(f"run {run.pk} {run.recipe} made nothing that {recipe.name} takes")
    return inputs


def _maker(first: Recipe, inputs: dict[str, list[int]], context: Context) -> Recipe | None:
    """Return the recipe that makes what `first` takes from what it was given, where that is not what it takes."""
    taken = {kind for entry in first.primary_inputs for kind in entry.kinds}
    numbers = [number for role, products in inputs.items() if role in _primary_roles(first) for number in products]
    given: set[str] = set()
    for begin_at in range(0, len(numbers), _AT_ONCE):
        some = visible(context).filter(pk__in=numbers[begin_at : begin_at + _AT_ONCE])
        given |= set(some.order_by().values_list("kind", flat=True).distinct())
    if not given or given & taken:
        return None
    makers = [
        maker
        for maker in all_recipes().values()
        if _handed_on(maker, first) and given <= {kind for entry in maker.primary_inputs for kind in entry.kinds}
    ]
    return makers[0] if len(makers) == 1 else None


def _for_maker(first: Recipe, inputs: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return the inputs with those for the primary roles of `first` as the maker's own."""
    primary = _primary_roles(first)
    own = [number for role, numbers in inputs.items() if role in primary for number in numbers]
    return {"": own} | {role: numbers for role, numbers in inputs.items() if role not in primary}


def _primary_roles(recipe: Recipe) -> set[str]:
    return {"", *(entry.role for entry in recipe.primary_inputs)}


def _handed_on(before: Recipe, after: Recipe) -> set[str]:
    return set(before.outputs) & {kind for entry in after.primary_inputs for kind in entry.kinds}


def _parameter_names(recipe: Recipe) -> set[str]:
    return {parameter.name for parameter in recipe.parameters}


def _role_names(recipe: Recipe, *, first: bool) -> set[str]:
    """Return the roles that may be named for a step: what it gets from the step before is none."""
    return {entry.role for entry in recipe.inputs if first or not entry.primary} | ({""} if first else set())


def _of_step(recipe: Recipe, given: dict[str, Any], known: set[str]) -> dict[str, Any]:
    own = {name: value for name, value in given.items() if name in known}
    prefix = f"{recipe.name}."
    return own | {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}


def _refuse_unknown(what: str, given: dict[str, Any], taken: list[dict[str, Any]], recipes: list[Recipe]) -> None:
    used = {name for step in taken for name in step}
    used |= {f"{recipe.name}.{name}" for recipe, step in zip(recipes, taken, strict=True) for name in step}
    unknown = sorted(set(given) - used)
    if unknown:
        names = ", ".join(recipe.name for recipe in recipes)
        raise UsageError(f"none of {names} knows the {what} {unknown[0]!r}",
                         hint=f"write RECIPE.{what}, such as {recipes[-1].name}.NAME, for one step alone")  # fmt: skip
