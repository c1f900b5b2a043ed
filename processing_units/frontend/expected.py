"""When a waiting job is likely to begin: from the seconds that each recipe took of late on the same unit."""

from __future__ import annotations

import heapq
import statistics
from collections import defaultdict
from collections.abc import Sequence

from django.core.cache import cache
from django.db.models import Count

from processing_units.contract import CANARY, JobState
from processing_units.frontend.clock import seconds_from_now
from processing_units.frontend.models import Job
from processing_units.frontend.waiting import UnitLoad

_LOOKED_AT = 200
_LATE_SECONDS = 7 * 24 * 3600.0
_KEPT_SECONDS = 30
_LONGEST_SIMULATED = 10_000


def recent_seconds(unit_id: int) -> dict[str, float]:
    """Return the median seconds from claim to commit, by recipe, of a unit's last jobs; looked up twice a minute."""
    name = f"recent-seconds-of-unit-{unit_id}"
    found: dict[str, float] | None = cache.get(name)
    if found is None:
        done = Job.objects.filter(unit=unit_id, ended__gte=seconds_from_now(-_LATE_SECONDS), state=JobState.DONE)
        done = done.exclude(run__recipe=CANARY)
        taken = defaultdict(list)
        for recipe, started, ended in done.order_by("-ended").values_list("run__recipe", "started", "ended")[
            :_LOOKED_AT
        ]:
            if started is not None and ended is not None:
                taken[recipe].append((ended - started).total_seconds())
        found = {recipe: statistics.median(seconds) for recipe, seconds in taken.items()}
        cache.set(name, found, _KEPT_SECONDS)
    return found


class Queue:
    """What runs and waits on a unit, as far as it tells when a job begins; asks the database once."""

    def __init__(self, load: UnitLoad) -> None:
        self._load = load
        self._recent = recent_seconds(load.unit.pk)
        self._usual = statistics.fmean(self._recent.values()) if self._recent else 0.0
        self._free_in: list[float] = []
        self._seconds_a_job = self._usual
        if self._recent and load.slots:
            self._look()

    def seconds_to_start(self, place: int) -> float | None:
        """Return in how many seconds the job at a place in line is likely to begin; None where nothing tells.

        Each slot ends what it runs and takes the next in line; recipes that never ran here count as the mean of the
        others.
        """
        if not self._free_in or not self._load.unit.accepting or not self._load.frontend_is_alive:
            return None
        return start_of(place, self._free_in, self._seconds_a_job)

    def _look(self) -> None:
        load = self._load
        open_jobs = Job.objects.filter(unit=load.unit).order_by()
        running = open_jobs.filter(state=JobState.RUNNING).values_list("run__recipe", "started")[: load.slots]
        self._free_in = [
            max(0.0, self._of(recipe) - (load.now - started).total_seconds()) if started else self._usual
            for recipe, started in running
        ]
        self._free_in += [0.0] * (load.slots - len(self._free_in))
        waiting = open_jobs.filter(state=JobState.QUEUED).values_list("run__recipe").annotate(Count("pk"))
        number = sum(count for _, count in waiting)
        if number:
            self._seconds_a_job = sum(self._of(recipe) * count for recipe, count in waiting) / number

    def _of(self, recipe: str) -> float:
        return self._recent.get(recipe, self._usual)


def start_of(place: int, slots_free_in: Sequence[float], seconds_a_job: float) -> float:
    """Return when the job at a place in line (1 is next) begins, if each slot takes the next when it is free [s].

    Parameters
    ----------
    place : int
        1 or more.
    slots_free_in : sequence of float
        Of each slot, in how many seconds it is free.
    seconds_a_job : float
        How long each job before it takes.
    """
    rounds = max(0, (place - _LONGEST_SIMULATED) // len(slots_free_in))
    free = [seconds + rounds * seconds_a_job for seconds in slots_free_in]
    heapq.heapify(free)
    for _ in range(place - 1 - rounds * len(free)):
        heapq.heapreplace(free, free[0] + seconds_a_job)
    return free[0]


def told(seconds: float) -> str:
    """Return a time to come for a person, no finer than it can be known."""
    if seconds < 10:
        return "any moment"
    if seconds < 90:
        return f"about {round(seconds, -1):.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"about {seconds / 3600:.0f} h"
    return f"about {seconds / 86400:.0f} days"
