"""What the pages of projects show: who is in them, what is in them, and who asks to be let in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Q, Sum

from archive.context import Context
from archive.models import Change, Membership, Privilege, Product, Project
from awportal.models import JoinRequest
from awportal.people.projects import may_look_inside, may_manage, visible_projects
from processing_units.contract import JobState
from processing_units.frontend.models import Job, Run

SHARED_LEVELS = tuple(level for level in Privilege if level >= Privilege.PROJECT)
_CHANGES_SHOWN = 15
_KINDS_SHOWN = 17
_COUNTED_FOR = 60  # seconds: a large archive is not added up for each who looks


@dataclass(frozen=True)
class Held:
    """How many files there are of something, and their bytes."""

    name: str
    level: int
    files: int
    size: int


@dataclass(frozen=True)
class KindHeld:
    """What a project shares of one kind: how many files at each level from 2 on, and the bytes of all of them."""

    name: str
    by_level: tuple[tuple[int, int], ...]
    size: int


@dataclass(frozen=True)
class Member:
    """Somebody in a project, and what of theirs is in it."""

    membership: Membership
    files: int
    size: int
    waiting: int
    running: int


@dataclass
class Row:
    """A project as the list shows it, to one user."""

    project: Project
    members: int
    role: str = ""
    request: JoinRequest | None = None
    waiting: int = 0


@dataclass
class ProjectLook:
    """A project as its page shows it; all but the first four are empty to whom is not in it."""

    project: Project
    role: str
    request: JoinRequest | None
    managers: list[str]
    may_look: bool = False
    may_manage: bool = False
    members: list[Member] = field(default_factory=list)
    levels: list[Held] = field(default_factory=list)
    kinds: list[KindHeld] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    waiting: list[JoinRequest] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def files(self) -> int:
        """How many files it has in all."""
        return sum(level.files for level in self.levels)

    @property
    def size(self) -> int:
        """How many bytes these are."""
        return sum(level.size for level in self.levels)


def rows_of(projects: Sequence[Project], context: Context) -> list[Row]:
    """Return projects as the list shows them, in a fixed number of queries."""
    numbers = [project.pk for project in projects]
    members = dict(
        Membership.objects.filter(project__in=numbers, user__is_active=True)
        .values_list("project")
        .annotate(number=Count("pk"))
        .order_by()
    )
    roles = {
        row.project_id: "manager" if row.is_manager else "member"
        for row in Membership.objects.filter(project__in=numbers, user=context.user)
    }
    mine = {row.project_id: row for row in JoinRequest.objects.filter(project__in=numbers, user=context.user)}
    waiting = dict(
        JoinRequest.objects.filter(project__in=numbers, declined__isnull=True, user__is_active=True)
        .values_list("project")
        .annotate(number=Count("pk"))
        .order_by()
    )
    rows = []
    for project in projects:
        role = roles.get(project.pk, "")
        answers = role == "manager" or bool(context.user and context.user.is_superuser)
        rows.append(
            Row(
                project, members.get(project.pk, 0), role, mine.get(project.pk),
                waiting.get(project.pk, 0) if answers else 0,
            )
        )  # fmt: skip
    return rows


def listed_rows(context: Context) -> tuple[list[Row], list[Row]]:
    """Return the projects that this user is in, and the others that they may know of."""
    rows = rows_of(list(visible_projects(context)), context)
    return [row for row in rows if row.role], [row for row in rows if not row.role]


def look_at_project(project: Project, context: Context) -> ProjectLook:
    """Return a project as this user may see it."""
    (row,) = rows_of([project], context)
    active = project.memberships.filter(user__is_active=True)
    managers = active.filter(is_manager=True).order_by("user__username").values_list("user__username", flat=True)
    look = ProjectLook(project, row.role, row.request, list(managers))
    look.may_look, look.may_manage = may_look_inside(project, context), may_manage(project, context)
    if not look.may_look:
        return look
    use = _use_of(project)
    look.levels = [Held(Privilege(level).label, level, *use["levels"][level]) for level in sorted(use["levels"])]
    look.kinds = use["kinds"]
    look.jobs, look.runs = use["jobs"], use["runs"]
    look.members = _members(project, use)
    if look.may_manage:
        open_requests = project.join_requests.filter(declined__isnull=True, user__is_active=True)
        look.waiting = list(open_requests.select_related("user__profile").order_by("pk"))
        look.changes = list(Change.objects.filter(project=project).order_by("-pk")[:_CHANGES_SHOWN])
    return look


def _members(project: Project, use: dict[str, Any]) -> list[Member]:
    rows = project.memberships.select_related("user__profile").order_by("-is_manager", "user__username")
    return [Member(row, *use["people"].get(row.user_id, (0, 0)), *use["open"].get(row.user_id, (0, 0))) for row in rows]


def _use_of(project: Project) -> dict[str, Any]:
    """Return files and bytes by level, kind and person, and jobs, as they were at most a minute ago.

    What is in MyDB is its creator's alone: of it, a project is told number and size.
    """
    key = _key(project)
    kept: dict[str, Any] | None = cache.get(key)
    if kept is not None:
        return kept
    # One pass over its products, however they are told apart below.
    held = list(
        Product.objects.filter(project=project)
        .order_by()
        .values_list("privilege", "kind", "creator")
        .annotate(files=Count("pk"), size=Sum("file_size"))
    )
    jobs = Job.objects.filter(run__project=project, run__ended__isnull=True).order_by()
    waiting_or_running = jobs.values_list("run__user").annotate(
        waiting=Count("pk", filter=Q(state=JobState.QUEUED)), running=Count("pk", filter=Q(state=JobState.RUNNING))
    )
    kept = {
        "levels": _added((level, files, size) for level, _, _, files, size in held),
        "people": _added((person, files, size) for _, _, person, files, size in held),
        "kinds": _kinds([row for row in held if row[0] >= Privilege.PROJECT]),
        "open": {person: (waiting, running) for person, waiting, running in waiting_or_running},
        "jobs": dict(jobs.values_list("state").annotate(number=Count("pk"))),
        "runs": Run.objects.filter(project=project).count(),
    }
    cache.set(key, kept, _COUNTED_FOR)
    return kept


def count_anew(project: Project) -> None:
    """Let the next who looks see what was just changed."""
    cache.delete(_key(project))


def _key(project: Project) -> str:
    return f"project-use-{project.pk}"


def _added(rows: Iterable[tuple[int, int, int]]) -> dict[int, tuple[int, int]]:
    """Return files and bytes by number."""
    found: dict[int, tuple[int, int]] = {}
    for number, files, size in rows:
        before = found.get(number, (0, 0))
        found[number] = (before[0] + files, before[1] + size)
    return found


def _kinds(rows: Sequence[tuple[int, str, int, int, int]]) -> list[KindHeld]:
    """Return what is shared of each kind, the commonest first."""
    kinds: dict[str, dict[int, tuple[int, int]]] = {}
    for kind in {row[1] for row in rows}:
        kinds[kind] = _added((level, files, size) for level, name, _, files, size in rows if name == kind)
    common = sorted(kinds, key=lambda kind: (-sum(files for files, _ in kinds[kind].values()), kind))
    return [
        KindHeld(
            kind,
            tuple((level, kinds[kind].get(level, (0, 0))[0]) for level in SHARED_LEVELS),
            sum(size for _, size in kinds[kind].values()),
        )
        for kind in common[:_KINDS_SHOWN]
    ]
