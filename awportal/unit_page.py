"""What the pages of units show."""

from __future__ import annotations

from dataclasses import dataclass, field

from archive.context import Context
from processing_units.contract import JobState
from processing_units.frontend.canary import CanaryLook
from processing_units.frontend.health import health_of
from processing_units.frontend.models import ClusterManagerRecord, Job, ProcessingUnit, UnitChange
from processing_units.frontend.permissions import may_manage_unit, visible_runs
from processing_units.frontend.unit_settings import shown
from processing_units.frontend.waiting import UnitLoad, live_cluster_managers, unit_load

_COMMITS_SHOWN = 15
_GONE_SHOWN = 5
_CHANGES_SHOWN = 10


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
    changes: list[UnitChange] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    may_manage: bool = False
    canary: CanaryLook | None = None

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
    look.settings = shown(unit)
    look.changes = list(unit.changes.order_by("-pk")[:_CHANGES_SHOWN])
    look.managers = list(live_cluster_managers(unit).order_by("node", "key"))
    up = [manager.pk for manager in look.managers]
    look.gone = list(unit.cluster_managers.exclude(pk__in=up).order_by("-seen_at")[:_GONE_SHOWN])
    jobs = Job.objects.filter(unit=unit, run__in=visible_runs(context)).select_related("run", "run__user")
    look.last_done = list(jobs.filter(state=JobState.DONE).order_by("-ended")[:_COMMITS_SHOWN])
    look.running = list(jobs.filter(state=JobState.RUNNING).select_related("cluster_manager").order_by("started")[:50])
    look.waiting = list(jobs.filter(state=JobState.QUEUED).order_by("run", "ordinal")[:_COMMITS_SHOWN])
    return look
