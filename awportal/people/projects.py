"""Projects and who is in them: asking to join, letting in, roles, leaving. Each change stands in the log of changes.

A project's managers and administrators change it. The last manager of a project with other members cannot leave or
step down: somebody has to answer those who ask.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from archive.audit import of_project, record
from archive.context import Context, is_manager, is_member
from archive.models import Membership, Privilege, Profile, Project
from awportal.models import JoinRequest
from processing_units.frontend.permissions import is_administrator, type_of
from processing_units.frontend.refusals import NotAllowed, NotFound, TooLate
from recipes.errors import UsageError

MANAGER, MEMBER = "manager", "member"
ROLES = (MEMBER, MANAGER)
LONGEST_NAME, LONGEST_WORDS = 100, 500


def visible_projects(context: Context) -> QuerySet[Project]:
    """Return the projects this context may know of: the listed ones and its own; all, to administrators."""
    user = context.user
    if user is None or not user.is_active:
        return Project.objects.none()
    projects = Project.objects.order_by("name")
    if user.is_superuser:
        return projects
    mine = Membership.objects.filter(user=user).values("project")
    return projects.filter(Q(is_listed=True) | Q(pk__in=mine))


def find_project(name: str, context: Context) -> Project:
    """Return the project of that name, or raise NotFound."""
    found = visible_projects(context).filter(name=name.replace("\0", "")).first()
    if found is None:
        raise NotFound(
            f"there is no project {name[:LONGEST_NAME]!r}",
            hint="`awrecipe projects` and the page of projects list them",
        )
    return found


def may_look_inside(project: Project, context: Context) -> bool:
    """Whether this context sees members and use: members and administrators do."""
    return is_member(context.user, project) or is_administrator(context)


def may_manage(project: Project, context: Context) -> bool:
    """Whether this context lets people in, gives roles and changes the project."""
    return is_manager(context.user, project) or is_administrator(context)


def may_make_projects(context: Context) -> bool:
    """Whether this context makes projects: administrators, and users from the type on that a setting names."""
    user = context.user
    if user is None or not user.is_active:
        return False
    least = settings.PROJECTS_FROM_USER_TYPE
    return user.is_superuser or bool(least and type_of(user) >= least)


def requests_to_answer(context: Context) -> QuerySet[JoinRequest]:
    """Return the open requests that this context may answer, the oldest first."""
    user = context.user
    if user is None or not user.is_active:
        return JoinRequest.objects.none()
    waiting = JoinRequest.objects.filter(declined__isnull=True, user__is_active=True).order_by("pk")
    if user.is_superuser:
        return waiting
    return waiting.filter(project__in=Membership.objects.filter(user=user, is_manager=True).values("project"))


def make_project(
    name: str, description: str, context: Context, *, is_listed: bool = True, manager: str = ""
) -> Project:
    """Make a project; its first manager is who makes it, or whom an administrator names.

    Raises
    ------
    NotAllowed
        This user makes no projects, or names another as its manager without being an administrator.
    NotFound
        Nobody has the name of the manager.
    UsageError
        The name is taken or cannot be.
    """
    user = _user_of(context)
    if not may_make_projects(context):
        raise NotAllowed("you may not make projects", hint="an administrator does")
    if manager and manager != user.get_username() and not user.is_superuser:
        raise NotAllowed("a project that you make has you as its first manager", hint="make others managers then")
    first = _find_user(manager) if manager else user
    name = _checked_name(name)
    if Project.objects.filter(name__iexact=name).exists():
        raise UsageError(f"there is a project {name} already", hint="choose another name, or ask to join it")
    try:
        with transaction.atomic():
            project = Project.objects.create(name=name, description=description.strip(), is_listed=is_listed)
            record(user, of_project(project, "made"))
            place_in_project(project, first, MANAGER, user)
    except IntegrityError:
        raise UsageError(f"there is a project {name} already", hint="choose another name") from None
    return project


def change_project(project: Project, description: str, is_listed: bool, context: Context) -> None:
    """Change what a project says of itself, and whether all users know of it."""
    user = _manager_of(project, context)
    with transaction.atomic():
        row = Project.objects.select_for_update().get(pk=project.pk)
        pairs = (
            ("description", row.description, description.strip()),
            ("listed", _yes(row.is_listed), _yes(is_listed)),
        )
        record(user, *(of_project(row, what, before, after) for what, before, after in pairs if before != after))
        Project.objects.filter(pk=row.pk).update(description=description.strip(), is_listed=is_listed)


def ask_to_join(project: Project, words: str, context: Context) -> JoinRequest:
    """Ask the managers of a project to be let in; to ask anew after a no replaces what was asked."""
    user = _user_of(context)
    words = words.strip()[:LONGEST_WORDS]
    if is_member(user, project):
        raise UsageError(f"you are in {project} already")
    request, _ = JoinRequest.objects.update_or_create(
        project=project, user=user, defaults={"words": words, "made": Now(), "declined": None, "answer": ""}
    )
    return request


def withdraw(project: Project, context: Context) -> None:
    """Take one's own request back, or the note of its refusal away."""
    JoinRequest.objects.filter(project=project, user=_user_of(context)).delete()


def answer_request(project: Project, name: str, accept: bool, words: str, context: Context) -> User:
    """Let somebody in who asked, or not, with a word about why; return who it is.

    Raises
    ------
    NotAllowed
        Only managers of the project and administrators answer.
    TooLate
        It was answered or taken back already.
    """
    manager = _manager_of(project, context)
    with transaction.atomic():
        waiting = JoinRequest.objects.filter(project=project, user__username=name, declined__isnull=True)
        request = next(iter(waiting.select_for_update(of=("self",)).select_related("user")), None)
        if request is None:
            raise TooLate(
                f"{name[:150]} does not ask to join {project} any more", hint="somebody answered, or they did"
            )
        if accept:
            place_in_project(project, request.user, MEMBER, manager)
        else:
            words = words.strip()[:LONGEST_WORDS]
            JoinRequest.objects.filter(pk=request.pk).update(declined=Now(), answer=words)
            record(manager, of_project(project, "request declined", request.user.get_username(), words))
    return request.user


def add_member(project: Project, name: str, role: str, context: Context) -> None:
    """Let somebody in by name.

    Managers read and accept the code of who is in their project, so they let in those who asked (also if it was
    declined); administrators anybody.

    Raises
    ------
    NotAllowed
        This user lets nobody in, or nobody who did not ask.
    NotFound
        Nobody has that name.
    """
    manager = _manager_of(project, context)
    user = _find_user(name)
    if is_member(user, project):
        raise UsageError(f"{user} is in {project} already", hint="change the role in the list of members")
    if not (is_administrator(context) or JoinRequest.objects.filter(project=project, user=user).exists()):
        raise NotAllowed(
            f"{user} has not asked to join {project}",
            hint="they ask on its page, or by `awrecipe projects join`; an administrator lets in who did not",
        )
    with transaction.atomic():
        place_in_project(project, user, _checked_role(role), manager)


def set_role(project: Project, name: str, role: str, context: Context) -> None:
    """Make a member a manager, or a manager a member."""
    manager = _manager_of(project, context)
    with transaction.atomic():
        member = _locked_member(project, name)
        before = role_of(member)
        if before == _checked_role(role):
            return
        if role == MEMBER:
            _require_another_manager(project, member)
        Membership.objects.filter(pk=member.pk).update(is_manager=role == MANAGER)
        record(manager, of_project(project, f"role of {name}", before, role))


def remove_member(project: Project, name: str, context: Context) -> None:
    """Take a member out, or leave oneself; their products stay where they are."""
    user = _user_of(context)
    if name != user.get_username():
        _manager_of(project, context)
    with transaction.atomic():
        member = _locked_member(project, name)
        _require_another_manager(project, member)
        # Where nobody may go on working, the context goes back to where everybody may.
        gone = Profile.objects.filter(user=member.user, project=project)
        gone.update(project=None, privilege=Privilege.MYDB)
        member.delete()
        record(user, of_project(project, f"role of {name}", role_of(member), ""))


def place_in_project(project: Project, user: User, role: str, by: User | None, who: str = "") -> None:
    """Give somebody a role in a project, inside the caller's transaction; the caller has checked who asks.

    Who works in no project works in this one from now on.
    """
    before = Membership.objects.filter(project=project, user=user).first()
    was = role_of(before) if before else ""
    Membership.objects.update_or_create(project=project, user=user, defaults={"is_manager": role == MANAGER})
    JoinRequest.objects.filter(project=project, user=user).delete()
    Profile.objects.filter(user=user, project__isnull=True).update(project=project)
    if was != role:
        record(by, of_project(project, f"role of {user.get_username()}", was, role), who=who)


def _locked_member(project: Project, name: str) -> Membership:
    """Return a member; all memberships of the project are locked, so that two managers cannot leave at once."""
    list(Membership.objects.select_for_update().filter(project=project).values_list("pk"))
    found = Membership.objects.select_related("user").filter(project=project, user__username=name).first()
    if found is None:
        raise NotFound(f"{name[:150]} is not in {project}")
    return found


def _require_another_manager(project: Project, member: Membership) -> None:
    others = project.memberships.exclude(pk=member.pk)
    if member.is_manager and others.exists() and not others.filter(is_manager=True).exists():
        raise TooLate(f"{member.user} is the last manager of {project}", hint="make another member its manager first")


def _manager_of(project: Project, context: Context) -> User:
    user = _user_of(context)
    if not may_manage(project, context):
        raise NotAllowed(f"only a manager of {project} or an administrator does this", hint="ask one")
    return user


def _find_user(name: str) -> User:
    user = User.objects.filter(username=name.strip(), is_active=True).first()
    if user is None:
        raise NotFound(f"there is no user {name.strip()[:150]!r}", hint="write the name that they log in with")
    return user


def _user_of(context: Context) -> User:
    if context.user is None or not context.user.is_active:
        raise NotAllowed("visitors are in no projects", hint="log in")
    return context.user


def role_of(member: Membership) -> str:
    """Return what somebody is in a project."""
    return MANAGER if member.is_manager else MEMBER


def _checked_role(role: str) -> str:
    if role not in ROLES:
        raise UsageError(f"there is no role {role[:40]!r}", hint="member or manager")
    return role


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or "/" in name:
        raise UsageError(
            f"{name[:40]!r} is no name of a project", hint=f"one line of 1 to {LONGEST_NAME} characters, no /"
        )
    return name


def _yes(value: bool) -> str:
    return "yes" if value else "no"
