"""What a submission comes to: everything checked and chosen, nothing written. The dry run and the submit share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import PermissionDenied

from archive.context import Context, with_privilege
from archive.models import Privilege, Profile
from processing_units.contract import Submission
from processing_units.frontend.choosing import choose_inputs, primaries_of, told
from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.own_recipes import find_recipe_of
from processing_units.frontend.permissions import user_type
from processing_units.frontend.quotas import require_room
from processing_units.frontend.refusals import NotAllowed
from processing_units.frontend.splitting import Piece, fill_roles, split
from processing_units.frontend.unit_choice import choose_unit
from recipes.errors import UsageError
from recipes.recipe import Recipe


@dataclass(frozen=True)
class Resolved:
    """A submission with everything checked and chosen."""

    recipe: Recipe
    parameters: dict[str, Any]
    context: Context
    unit: ProcessingUnit
    unit_reason: str
    jobs: list[Piece]

    def require_no_problem(self) -> None:
        """Raise UsageError that names the first job with a problem, and how many more have one."""
        bad = [piece for piece in self.jobs if piece.problem]
        if bad:
            others = f" ({len(bad) - 1} more of {len(self.jobs)} jobs have a problem)" if len(bad) > 1 else ""
            raise UsageError(f"job {bad[0].label}: {bad[0].problem}{others}", hint=bad[0].hint)


def resolve(submission: Submission, context: Context, *, explain: bool = False) -> Resolved:
    """Check a submission and choose what it leaves open; raises as :func:`processing_units.frontend.submit.submit`.

    With `explain`, calibrations of other times are told as rivals, too: it costs two short queries each.
    """
    if context.user is None:
        raise NotAllowed("visitors can look, but not run recipes", hint="log in")
    recipe = find_recipe_of(submission.recipe, submission.code, context)
    parameters = parameters_for(recipe, submission.parameters, context)
    chosen = choose_unit(submission.unit, recipe.name, context)
    try:
        results = with_privilege(context, submission.privilege)
    except (PermissionDenied, ValueError) as error:
        raise NotAllowed(str(error)) from None
    # What a user's own unit or code makes is that user's alone.
    if chosen.unit.owner_id is not None or submission.code:
        results = replace(results, privilege=Privilege.MYDB)
    roles = fill_roles(recipe, submission, context)
    jobs = split(recipe, roles)
    require_room(context.user.pk, len(jobs))
    named = {entry.role: roles[entry.role] for entry in recipe.inputs if not entry.primary and entry.role in roles}
    parameters = _settled(recipe, parameters, jobs)
    choose_inputs(recipe, parameters, jobs, named, context, explain=explain)
    return Resolved(recipe, parameters, results, chosen.unit, chosen.reason, jobs)


def parameters_for(recipe: Recipe, given: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return all parameters of a recipe, those given checked; raise where this user may not choose them."""
    parameters = dict(recipe.parse_parameters(dict(given)))
    if user_type(context) < Profile.UserType.CHOOSES:
        for parameter in recipe.parameters:
            if parameters[parameter.name] != parameter.default:
                raise NotAllowed(
                    f"{parameter.name}: users of type 1 work with the managers' settings",
                    hint=f"leave it at {parameter.default}; an administrator can change your type",
                )
    return parameters


def _settled(recipe: Recipe, parameters: dict[str, Any], jobs: list[Piece]) -> dict[str, Any]:
    """Return the parameters with those settled that are to be the same for all jobs of the run."""
    if recipe.settle is None:
        return parameters
    settled = recipe.settle(dict(parameters), [told(product) for product in primaries_of(jobs)])
    return dict(recipe.parse_parameters(settled))
