"""Which jobs fit into the time that is left to a node of a queueing system, which ends it when its walltime is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from processing_units.contract import Claim, FaultKind
from processing_units.frontend.models import Attempt, ProcessingUnit

# How many of a recipe's last jobs on the unit say what is usual, and what is added to the longest of them.
_LAST_JOBS = 20
_MORE = 1.2
_STAGING_SECONDS = 5.0
# A node that has this share of all the time that its like ever have may take any job: no other would have more. A job
# that was stopped for the walltime is given more than it had.
_OF_ALL_TIME = 0.8
_MORE_THAN_IT_HAD = 1.25


@dataclass
class TimeLeft:
    """What a claim says of its node's time, held against what jobs need."""

    unit: ProcessingUnit
    seconds_left: float
    seconds_at_most: float
    _usual: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, unit: ProcessingUnit, message: Claim) -> TimeLeft | None:
        """Return it for a claim; None where a node may stay as long as it likes."""
        if message.seconds_left is None:
            return None
        return cls(unit, message.seconds_left, message.seconds_at_most or message.seconds_left)

    def fitting(self, recipe: str, jobs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return those of the jobs (number, attempt so far) of one recipe for which the time is enough."""
        longest = _OF_ALL_TIME * self.seconds_at_most
        if min(self._usual_seconds(recipe), longest) > self.seconds_left:
            return []
        had = self._time_had(job for job, attempt in jobs if attempt)
        return [row for row in jobs if min(_MORE_THAN_IT_HAD * had.get(row[0], 0.0), longest) <= self.seconds_left]

    def _usual_seconds(self, recipe: str) -> float:
        """Return what a job of a recipe takes on this unit [s]; as long as nothing is known, what it may take."""
        if recipe not in self._usual:
            done = Attempt.objects.filter(job__unit=self.unit, job__run__recipe=recipe, outcome="done")
            last = done.order_by("-pk").values_list("seconds", flat=True)[:_LAST_JOBS]
            known = [seconds for seconds in last if seconds is not None]
            usual = _MORE * max(known) + _STAGING_SECONDS if known else float(self.unit.wall_seconds)
            self._usual[recipe] = min(usual, float(self.unit.wall_seconds))
        return self._usual[recipe]

    @staticmethod
    def _time_had(jobs: Iterable[int]) -> dict[int, float]:
        """Return by job the longest time that an attempt had before its node was taken away [s]."""
        numbers = list(jobs)
        if not numbers:
            return {}
        stopped = Attempt.objects.filter(job__in=numbers, outcome=FaultKind.PREEMPTED)
        had: dict[int, float] = {}
        for job, started, ended in stopped.values_list("job", "started", "ended"):
            if ended is not None:
                had[job] = max(had.get(job, 0.0), (ended - started).total_seconds())
        return had
