"""Parameters of a recipe under a name: kept by their owner, or shared with a project; checked again at every use.

A set fills in a form or a command. The run keeps the parameters themselves, so it does not change with the set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet

from archive.context import Context, is_member
from archive.models import Membership, Profile
from processing_units.frontend.clock import database_now
from processing_units.frontend.models import ParameterSet
from processing_units.frontend.permissions import user_type
from processing_units.frontend.refusals import NotAllowed, NotFound
from recipes.errors import UsageError
from recipes.recipe import Recipe

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,59}")
_MOST = 200


def visible_sets(context: Context) -> QuerySet[ParameterSet]:
    """Return the sets that this context sees: one's own, and those shared with one's projects."""
    if context.user is None or not context.user.is_active:
        return ParameterSet.objects.none()
    projects = Membership.objects.filter(user=context.user).values("project")
    seen = ParameterSet.objects.filter(Q(owner=context.user) | Q(project__in=projects))
    return seen.select_related("owner", "project").order_by("recipe", "name", "owner")


def reference_of(kept: ParameterSet, context: Context) -> str:
    """Return how this user names the set: NAME for one's own, OWNER/NAME for another's."""
    own = context.user is not None and kept.owner_id == context.user.pk
    return kept.name if own else f"{kept.owner.get_username()}/{kept.name}"


def find_set(recipe: Recipe, reference: str, context: Context) -> ParameterSet:
    """Return the set that is called NAME, one's own before a project's, or OWNER/NAME.

    Raises
    ------
    NotFound
        There is none that this user may see.
    UsageError
        Several are shared under that name by others.
    """
    owner, slash, name = reference.rpartition("/")
    seen = visible_sets(context).filter(recipe=recipe.name)
    found = list(seen.filter(name=name, **({"owner__username": owner} if slash else {})))
    own = [kept for kept in found if context.user is not None and kept.owner_id == context.user.pk]
    found = own or found
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} parameter sets of {recipe.name} are called {name!r}",
            hint="say whose: " + ", ".join(reference_of(kept, context) for kept in found),
        )
    if not found:
        names = ", ".join(reference_of(kept, context) for kept in seen[:20])
        raise NotFound(
            f"{recipe.name} has no parameter set {reference[:80]!r}", hint=f"there are: {names or 'none yet'}"
        )
    return found[0]


def problems_of(kept: ParameterSet, recipe: Recipe) -> dict[str, str]:
    """Return by parameter what the recipe, as it is today, does not take of a set; empty where all of it holds."""
    known = {parameter.name: parameter for parameter in recipe.parameters}
    problems: dict[str, str] = {}
    for name, value in kept.entries.items():
        if name not in known:
            problems[name] = f"{recipe.name} {recipe.version} has no parameter {name}"
            continue
        try:
            known[name].parse(value)
        except UsageError as refused:
            problems[name] = f"{refused.message} in {recipe.name} {recipe.version}"
    return {name: f"{problem} (kept for version {kept.recipe_version})" for name, problem in problems.items()}


def keep_set(
    recipe: Recipe, name: str, entries: Mapping[str, Any], context: Context, project: bool = False
) -> ParameterSet:
    """Keep parameters under a name, in place of what this user has kept under it; with `project`, for all its members.

    Raises
    ------
    NotAllowed
        The user's type does not choose parameters, or there is no project to share with.
    UsageError
        A name or a value that cannot be.
    """
    if user_type(context) < Profile.UserType.CHOOSES:
        raise NotAllowed(
            "users of type 1 work with the managers' settings", hint="an administrator can change your type"
        )
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be the name of a parameter set",
            hint="begin with a letter or digit; then letters, digits, blanks and . _ + - only, 60 at most",
        )
    if project and (context.project is None or not is_member(context.user, context.project)):
        raise NotAllowed("you work in no project to share the set with", hint="choose one in your context")
    parsed = recipe.parse_parameters(dict(entries))
    own = ParameterSet.objects.filter(owner=context.user)
    if own.count() >= _MOST and not own.filter(recipe=recipe.name, name=name).exists():
        raise UsageError(f"you keep {_MOST} parameter sets already", hint="remove some first")
    kept, _ = ParameterSet.objects.update_or_create(
        owner=context.user,
        recipe=recipe.name,
        name=name,
        defaults={
            "project": context.project if project else None,
            "recipe_version": recipe.version,
            "entries": {entry: parsed[entry] for entry in entries},
            "kept_at": database_now(),
        },
    )
    return kept


def remove_set(kept: ParameterSet, context: Context) -> None:
    """Remove one's own set; runs keep the parameters that they had from it."""
    if context.user is None or kept.owner_id != context.user.pk:
        raise NotAllowed(f"the parameter set {kept.name} is {kept.owner}'s", hint="keep one of your own")
    kept.delete()
