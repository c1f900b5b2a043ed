"""What the pages of units show."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.contrib.auth.models import User

from archive.audit import Subject, changes_of
from archive.context import Context
from archive.models import Change
from awportal.unit_throughput import Throughput, throughput_of
from processing_units.contract import JobState
from processing_units.frontend.canary import CanaryLook
from processing_units.frontend.health import health_of
from processing_units.frontend.models import ClusterManagerRecord, Job, ProcessingUnit
from processing_units.frontend.permissions import manages_units, may_manage_unit, visible_runs
from processing_units.frontend.unit_machines import KINDS
from processing_units.frontend.unit_settings import shown
from processing_units.frontend.waiting import UnitLoad, UserLoad, live_cluster_managers, unit_load

_COMMITS_SHOWN = 15
_GONE_SHOWN = 5
_CHANGES_SHOWN = 10
_USERS_SHOWN = 30


@dataclass
class UnitLook:
    """A unit now: whether it works, in a word and a sentence."""

    unit: ProcessingUnit
    load: UnitLoad
    state: str
    sentence: str
    managers: list[ClusterManagerRecord] = field(default_factory=list)
    gone: list[ClusterManagerRecord] = field(default_factory=list)
    last_done: list[Job] = field(default_factory=list)
    waiting: list[Job] = field(default_factory=list)
    running: list[Job] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    may_manage: bool = False
    has_machines: bool = False
    wants_machines: bool = False  # it has none yet, and cannot work without
    canary: CanaryLook | None = None
    throughput: Throughput | None = None
    by_user: list[tuple[str, UserLoad]] = field(default_factory=list)

    @property
    def busy_share(self) -> int:
        """Busy slots in per mille."""
        return min(1000, round(1000 * self.load.running / self.load.slots)) if self.load.slots else 0


def look_at_unit(unit: ProcessingUnit, context: Context, *, in_full: bool = False) -> UnitLook:
    """Return how a unit stands; `in_full` with its cluster managers and those of its jobs that this user may see."""
    load = unit_load(unit)
    health = health_of(unit, load)
    look = UnitLook(unit, load, health.state, health.sentence, canary=health.canary)
    if not in_full:
        return look
    look.may_manage = may_manage_unit(unit, context)
    look.has_machines = unit.kind in KINDS and manages_units(context)
    look.wants_machines = look.has_machines and not unit.kind_settings.get("hosts")
    look.throughput = throughput_of(unit, load.now)
    look.by_user = _by_user(load, context, everybody=look.may_manage)
    look.settings = shown(unit)
    look.changes = list(changes_of(Subject.UNIT, unit.pk).order_by("-pk")[:_CHANGES_SHOWN])
    look.managers = list(live_cluster_managers(unit).order_by("node", "key"))
    up = [manager.pk for manager in look.managers]
    look.gone = list(unit.cluster_managers.exclude(pk__in=up).order_by("-seen_at")[:_GONE_SHOWN])
    jobs = Job.objects.filter(unit=unit, run__in=visible_runs(context)).select_related("run", "run__user")
    look.last_done = list(jobs.filter(state=JobState.DONE).order_by("-ended")[:_COMMITS_SHOWN])
    look.running = list(jobs.filter(state=JobState.RUNNING).select_related("cluster_manager").order_by("started")[:50])
    look.waiting = list(jobs.filter(state=JobState.QUEUED).order_by("run", "ordinal")[:_COMMITS_SHOWN])
    return look


def _by_user(load: UnitLoad, context: Context, *, everybody: bool) -> list[tuple[str, UserLoad]]:
    """Return what each user has there; to whom does not manage the unit, others are one line without names."""
    own = context.user.pk if context.user else 0
    names = dict(User.objects.filter(pk__in=load.users).values_list("pk", "username"))
    rows = [(names.get(pk, "?"), user) for pk, user in load.users.items() if everybody or pk == own]
    others = [user for pk, user in load.users.items() if pk != own]
    if others and not everybody:
        many = f"{len(others)} other user{'s' if len(others) > 1 else ''}"
        rows.append((many, UserLoad(sum(each.running for each in others), sum(each.queued for each in others), 0)))
    return sorted(rows, key=lambda row: (-row[1].running, -row[1].queued, row[0]))[:_USERS_SHOWN]
