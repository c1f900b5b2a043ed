"""Who may see and change runs, and who may use a unit: all of it in this one file."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from archive.context import Context
from archive.models import Membership, Privilege, Profile
from processing_units.contract import CANARY
from processing_units.frontend.models import Batch, ProcessingUnit, Run
from processing_units.frontend.refusals import NotAllowed, NotFound


def visible_runs(context: Context) -> QuerySet[Run]:
    """Return the runs that this context sees: one's own, those of one's projects from privilege 2 on, all for staff."""
    user = context.user
    if user is None or not user.is_active:
        return Run.objects.none()
    if user.is_staff:
        return Run.objects.exclude(recipe=CANARY)
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


def visible_batches(context: Context) -> QuerySet[Batch]:
    """Return the batches that this context sees: one's own, all for staff."""
    user = context.user
    if user is None or not user.is_active:
        return Batch.objects.none()
    return Batch.objects.all() if user.is_staff else Batch.objects.filter(user=user.pk)


def find_batch(number: int, context: Context) -> Batch:
    """Return the batch, or raise NotFound."""
    batch = visible_batches(context).select_related("user").filter(pk=number).first()
    if batch is None:
        raise NotFound(f"there is no batch {number}", hint="`awrecipe batches` and the page of batches list yours")
    return batch


def user_type(context: Context) -> int:
    """Return the user's type (1-4); an account without a profile is of the most restricted one, staff of the widest."""
    user = context.user
    if user is None or not user.is_active:
        raise NotAllowed("visitors can look, but not run recipes", hint="log in")
    return type_of(user)


def type_of(user: User) -> int:
    """Return a user's type, whoever asks."""
    if user.is_staff:
        return int(Profile.UserType.BRINGS_UNIT)
    profile = Profile.objects.filter(user=user.pk).first()
    return int(profile.user_type) if profile else int(Profile.UserType.STANDARD)


def manages_units(context: Context) -> bool:
    """Whether this context is a process manager's, who changes every unit: staff."""
    user = context.user
    return user is not None and user.is_active and user.is_staff


def is_administrator(context: Context) -> bool:
    """Whether this context is an administrator's, who hands out what opens everything."""
    user = context.user
    return user is not None and user.is_active and user.is_superuser


def visible_units(context: Context) -> QuerySet[ProcessingUnit]:
    """Return the units that this context may know of: all but those that other users brought for themselves."""
    units = ProcessingUnit.objects.select_related("owner")
    if context.user is None or not context.user.is_active:
        return units.none()
    return units if context.user.is_staff else units.filter(Q(owner__isnull=True) | Q(owner=context.user))


def find_unit(name: str, context: Context) -> ProcessingUnit:
    """Return the unit, or raise NotFound."""
    unit = visible_units(context).filter(name=name).first()
    if unit is None:
        names = ", ".join(visible_units(context).order_by("name").values_list("name", flat=True))
        raise NotFound(f"there is no unit {name!r}", hint=f"the units are: {names or 'none yet'}")
    return unit


def may_manage_unit(unit: ProcessingUnit, context: Context) -> bool:
    """Whether this context may change the unit: a process manager, or the user who brought it."""
    user = context.user
    return manages_units(context) or (user is not None and user.is_active and unit.owner_id == user.pk)


def require_management_of_unit(unit: ProcessingUnit, context: Context) -> None:
    """Raise NotAllowed unless this context may change the unit."""
    if not may_manage_unit(unit, context):
        raise NotAllowed(
            f"only a process manager changes unit {unit.name}",
            hint="ask one; `manage.py user set NAME --process-manager yes` makes one",
        )


def runs_allowed_on(unit: ProcessingUnit) -> Q:
    """Return the filter of runs by what :func:`why_not_on_unit` says of a unit that accepts jobs."""
    allowed = Q()
    if unit.recipes_allowed:
        allowed &= Q(recipe__in=unit.recipes_allowed)
    if unit.owner_id is not None:
        allowed &= Q(user=unit.owner_id)
    if unit.user_types_allowed:
        types = Q(user__is_staff=False, user__profile__user_type__in=unit.user_types_allowed)
        if Profile.UserType.BRINGS_UNIT in unit.user_types_allowed:
            types |= Q(user__is_staff=True)
        if Profile.UserType.STANDARD in unit.user_types_allowed:
            types |= Q(user__is_staff=False, user__profile__isnull=True)
        allowed &= types
    return allowed | Q(recipe=CANARY) if allowed else allowed


def why_not_on_unit(unit: ProcessingUnit, recipe: str, user_id: int, type_of_user: int) -> str:
    """Return why this user may not run this recipe on the unit, or ""."""
    if not unit.accepting:
        return f"unit {unit.name} accepts no jobs at the moment"
    return why_not_allowed(unit, recipe, user_id, type_of_user)


def why_not_allowed(unit: ProcessingUnit, recipe: str, user_id: int, type_of_user: int) -> str:
    """Return which of the unit's rules is against this recipe of this user, or ""."""
    if unit.recipes_allowed and recipe not in unit.recipes_allowed:
        return f"unit {unit.name} does not run {recipe}"
    if unit.owner_id is not None and unit.owner_id != user_id:
        return f"unit {unit.name} runs its owner's jobs only"
    if unit.user_types_allowed and type_of_user not in unit.user_types_allowed:
        return f"unit {unit.name} is not open to users of type {type_of_user}"
    return ""
