"""Why a job waits, in one line: what its unit is doing, and how many are before it in line (U1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, QuerySet, Sum

from processing_units.contract import CANARY, JobState
from processing_units.frontend.changes import OPEN_STATES
from processing_units.frontend.clock import database_now, lease_seconds, seconds_from_now
from processing_units.frontend.models import ClusterManagerRecord, Job, ProcessingUnit


@dataclass(frozen=True)
class UserLoad:
    """How many jobs of a user run and wait on a unit; ``first`` is the oldest run that waits."""

    running: int
    queued: int
    first: int


@dataclass(frozen=True)
class UnitLoad:
    """What a unit is doing; ``slots`` are those that count: its cluster managers' together, its own number at most."""

    unit: ProcessingUnit
    now: datetime
    nodes: int
    slots: int
    users: dict[int, UserLoad] = field(default_factory=dict)

    @property
    def running(self) -> int:
        """Jobs that run."""
        return sum(user.running for user in self.users.values())

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        return sum(user.queued for user in self.users.values())

    @property
    def free_slots(self) -> int:
        """Slots of cluster managers that are up, less the jobs that run."""
        return max(0, self.slots - self.running)

    @property
    def frontend_is_alive(self) -> bool:
        """Whether its frontend has said so within a lease."""
        alive_at = self.unit.alive_at
        return alive_at is not None and alive_at >= self.now - timedelta(seconds=lease_seconds())

    def place_in_line(self, user_id: int, own_before: int) -> int:
        """Return the place in line (1 is next) of a user's job with `own_before` of the user's own jobs before it.

        By the rule of the claim: the next job is one of the user with the fewest running ones, so until this job's turn
        every other user gets up to as many as this user has by then.
        """
        own = self.users.get(user_id, UserLoad(0, 0, 0))
        level = own.running + own_before
        before = own_before
        for other_id, other in self.users.items():
            if other_id != user_id:
                goes_first = 1 if other.queued and other.first < own.first else 0
                before += min(other.queued, max(0, level - other.running + goes_first))
        return before + 1


def unit_load(unit: ProcessingUnit) -> UnitLoad:
    """Look at what a unit is doing: three queries."""
    up = live_cluster_managers(unit).aggregate(nodes=Count("pk"), slots=Sum("slots"))
    rows = (
        Job.objects.filter(unit=unit, state__in=OPEN_STATES)
        .exclude(run__recipe=CANARY)
        .values("run__user")
        .annotate(
            running=Count("pk", filter=Q(state=JobState.RUNNING)),
            queued=Count("pk", filter=Q(state=JobState.QUEUED)),
            first=Min("run", filter=Q(state=JobState.QUEUED)),
        )
        .order_by()
    )
    users = {row["run__user"]: UserLoad(row["running"], row["queued"], row["first"] or 0) for row in rows}
    return UnitLoad(unit, database_now(), up["nodes"] or 0, slots_in_use(unit, up["slots"] or 0), users)


def slots_in_use(unit: ProcessingUnit, brought: int) -> int:
    """Return how many slots count of those that cluster managers have brought: the unit's own number is the most."""
    return min(unit.slots, brought) if unit.slots else brought


def takes_shipped_code(unit: ProcessingUnit) -> bool:
    """Whether a cluster manager of the unit is up whose sandbox works."""
    return live_cluster_managers(unit).filter(sandbox=True).exists()


def live_cluster_managers(unit: ProcessingUnit) -> QuerySet[ClusterManagerRecord]:
    """Return the cluster managers of a unit that are up and were heard of within a lease."""
    return ClusterManagerRecord.objects.filter(
        unit=unit, down_at__isnull=True, seen_at__gte=seconds_from_now(-lease_seconds())
    )


def why_it_waits(load: UnitLoad, job: Job, user_id: int, own_before: int, why_not: str = "", when: str = "") -> str:
    """Return the reason why a queued job has not started.

    `why_not` is the rule or limit that is against it, `when` says when it is likely to begin.
    """
    if why_not:
        return _shortened(f"waiting: {why_not}")
    if job.not_before is not None and job.not_before > load.now:
        seconds = (job.not_before - load.now).total_seconds()
        return _shortened(f"waiting: tried again in {seconds:.0f} s, after {job.reason or 'a fault of the machine'}")
    place = f"{ordinal(load.place_in_line(user_id, own_before))} in line"
    place = f"{place}, {when}" if when else place
    again = f" (tried again after: {job.reason})" if job.reason and job.attempt else ""
    return _shortened(f"waiting: {why_unit_is_slow(load)}, {place}{again}")


def why_unit_is_slow(load: UnitLoad) -> str:
    """Return what keeps a unit's queue from moving at once."""
    name = load.unit.name
    if not load.unit.accepting:
        return f"unit {name} is drained: it begins no jobs until a process manager lets it accept them"
    if load.unit.alive_at is None:
        return f"the frontend of unit {name} has not been started yet"
    if not load.frontend_is_alive:
        return f"the frontend of unit {name} has not been heard of since {load.unit.alive_at:%H:%M:%S} UT"
    if not load.nodes:
        return f"unit {name} has no cluster manager up"
    if not load.free_slots:
        return f"unit {name} is full"
    return f"unit {name} has a free slot"


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, ..."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else text[:297] + "..."
