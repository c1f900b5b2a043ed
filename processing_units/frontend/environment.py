"""A submission with its user's ``Environment.cfg`` applied: context and parameters, where nothing else was said."""

from __future__ import annotations

from dataclasses import replace

from archive.context import Context, is_member
from archive.models import Privilege, Project
from processing_units.contract import Submission
from processing_units.frontend.refusals import NotAllowed
from recipes.errors import UsageError

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


def _project(name: str, context: Context) -> Project:
    project = Project.objects.filter(name=name).first()
    if project is None or not is_member(context.user, project):
        raise NotAllowed(
            f"Environment.cfg: you are in no project {name!r}", hint="write one of yours, or leave the entry out"
        )
    return project


def _privilege(text: str) -> int:
    level = _WORDS.get(text.lower()) or (int(text) if text.isascii() and text.isdigit() else 0)
    if level not in Privilege.values:
        raise UsageError(f"Environment.cfg: {text[:40]!r} is no privilege", hint="write 1 (MyDB) to 5 (VO)")
    return level
