"""A submission with its user's ``Environment.cfg`` applied: context and parameters, where nothing else was said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from django.core.exceptions import PermissionDenied

from archive.context import Context, is_member, with_privilege
from archive.models import Privilege, Profile, Project
from processing_units.contract import Submission
from processing_units.frontend.permissions import find_unit, user_type
from processing_units.frontend.refusals import NotAllowed
from recipes.catalogue import all_recipes
from recipes.errors import UsageError
from recipes.recipe import Recipe

_WORDS = {"mydb": 1, "project": 2, "all": 3, "all users": 3, "world": 4, "vo": 5}


def with_environment(submission: Submission, context: Context) -> tuple[Submission, Context]:
    """Return the submission and the context as the environment that travels with it directs.

    Raises
    ------
    NotAllowed
        The project is none of the user's.
    UsageError
        The privilege is none.
    """
    entries = submission.environment
    if not entries:
        return submission, context
    project = entries.get("project")
    if project:
        context = replace(context, project=_project(project, context))
    changes: dict[str, object] = {}
    if submission.privilege is None and entries.get("privilege"):
        changes["privilege"] = _privilege(entries["privilege"])
    if submission.unit is None and entries.get("unit"):
        changes["unit"] = entries["unit"]
    given = submission.parameters
    steps = [name.strip() for name in submission.recipe.split(">")]
    own = {
        f"{step}.{name.partition('.')[2]}" if len(steps) > 1 else name.partition(".")[2]: value
        for step in steps
        for name, value in entries.items()
        if name.partition(".")[0].lower() == step.lower() and "." in name
    }
    defaults = {name: value for name, value in own.items() if name.rpartition(".")[2] not in given}
    changes["parameters"] = defaults | given
    return submission.model_copy(update=changes), context


def check_environment(entries: Mapping[str, str], context: Context) -> dict[str, str]:
    """Return the entries of an ``Environment.cfg`` that can matter to this user's runs; what is wrong is told now.

    Recipes that are not standard are kept for those who ship code of their own, and passed over for others.

    Raises
    ------
    NotAllowed
        A project, a privilege, a unit or a parameter that this user may not choose.
    UsageError
        A value that cannot be, or a parameter that the recipe does not have.
    """
    ships = user_type(context) >= Profile.UserType.SHIPS_CODE
    recipes = {name.lower(): recipe for name, recipe in all_recipes().items()}
    kept = {
        entry: text
        for entry, text in entries.items()
        if ships or "." not in entry or entry.partition(".")[0].lower() in recipes
    }
    asked, own = with_environment(Submission(recipe="", inputs={}, environment=kept), context)
    try:
        with_privilege(own, asked.privilege)
    except PermissionDenied as error:
        raise NotAllowed(f"Environment.cfg: {error}") from None
    if asked.unit:
        find_unit(asked.unit, context)
    chosen = next((entry for entry in kept if entry == "unit" or "." in entry), None)
    if chosen and user_type(context) < Profile.UserType.CHOOSES:
        raise NotAllowed(f"Environment.cfg: {chosen}: users of type 1 work with the managers' settings",
                         hint="leave it out; an administrator can change your type")  # fmt: skip
    for entry, text in kept.items():
        section, _, name = entry.partition(".")
        if name and section.lower() in recipes:
            _check_parameter(recipes[section.lower()], name, text, may_be_own=ships)
    return kept


def _check_parameter(recipe: Recipe, name: str, text: str, *, may_be_own: bool) -> None:
    parameter = next((each for each in recipe.parameters if each.name == name), None)
    if parameter is None:
        if may_be_own:
            return
        known = ", ".join(each.name for each in recipe.parameters)
        raise UsageError(f"Environment.cfg: [{recipe.name}] {name}: the recipe has no such parameter",
                         hint=f"it has: {known or 'none'}")  # fmt: skip
    try:
        parameter.parse(text)
    except UsageError as error:
        raise UsageError(f"Environment.cfg: [{recipe.name}] {error.message}", hint=error.hint) from None


def _project(name: str, context: Context) -> Project:
    project = Project.objects.filter(name=name).first()
    if project is None or not is_member(context.user, project):
        raise NotAllowed(
            f"Environment.cfg: you are in no project {name!r}", hint="write one of yours, or leave the entry out"
        )
    return project


def privilege_called(text: str) -> int:
    """Return the level that a word or a number says, 0 where it is none."""
    level = _WORDS.get(text.lower()) or (int(text) if text.isascii() and text.isdigit() else 0)
    return level if level in Privilege.values else 0


def _privilege(text: str) -> int:
    level = privilege_called(text)
    if not level:
        raise UsageError(f"Environment.cfg: {text[:40]!r} is no privilege", hint="write 1 (MyDB) to 5 (VO)")
    return level
