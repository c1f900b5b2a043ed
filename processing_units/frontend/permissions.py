"""Who may see and change runs, and who may use a unit: all of it in this one file."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from archive.context import Context
from archive.models import Membership, Privilege, Profile
from processing_units.frontend.models import ProcessingUnit, Run
from processing_units.frontend.refusals import NotAllowed, NotFound


def visible_runs(context: Context) -> QuerySet[Run]:
    """Return the runs that this context sees: one's own, those of one's projects from privilege 2 on, all for staff."""
    user = context.user
    if user is None or not user.is_active:
        return Run.objects.none()
    if user.is_staff:
        return Run.objects.all()
    projects = Membership.objects.filter(user=user.pk).values("project")
    return Run.objects.filter(Q(user=user.pk) | Q(privilege__gte=Privilege.PROJECT, project__in=projects))


def find_run(run_id: int, context: Context) -> Run:
    """Return the run, or raise NotFound."""
    run = visible_runs(context).select_related("unit", "user", "project").filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"there is no run {run_id}", hint="`awrecipe status` and the page of runs list yours")
    return run


def may_change_run(run: Run, context: Context) -> bool:
    """Whether this context may cancel or retry the run: its user and staff may."""
    user = context.user
    return user is not None and user.is_active and (user.is_staff or run.user_id == user.pk)


def require_change_of_run(run: Run, context: Context) -> None:
    """Raise NotAllowed unless this context may change the run."""
    if not may_change_run(run, context):
        raise NotAllowed(f"run {run.pk} is {run.user}'s", hint="ask them, or an administrator")


def user_type(context: Context) -> int:
    """Return the user's type (1-4); an account without a profile is of the most restricted one, staff of the widest."""
    user = context.user
    if user is None or not user.is_active:
        raise NotAllowed("visitors can look, but not run recipes", hint="log in")
    if user.is_staff:
        return int(Profile.UserType.BRINGS_UNIT)
    profile = Profile.objects.filter(user=user.pk).first()
    return int(profile.user_type) if profile else int(Profile.UserType.STANDARD)


def why_not_on_unit(unit: ProcessingUnit, recipe: str, user_id: int, type_of_user: int) -> str:
    """Return why this user may not run this recipe on the unit, or ""."""
    if not unit.accepting:
        return f"unit {unit.name} accepts no jobs at the moment"
    if unit.recipes_allowed and recipe not in unit.recipes_allowed:
        return f"unit {unit.name} does not run {recipe}"
    if unit.owner_id is not None and unit.owner_id != user_id:
        return f"unit {unit.name} runs its owner's jobs only"
    if unit.user_types_allowed and type_of_user not in unit.user_types_allowed:
        return f"unit {unit.name} is not open to users of type {type_of_user}"
    return ""
