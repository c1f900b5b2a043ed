"""How a unit is doing, in a word and a sentence: red within three minutes of a wedge, with the reason (R9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from processing_units.contract import CANARY, JobState, PlaceState
from processing_units.frontend.canary import CanaryLook, newest_canary
from processing_units.frontend.models import BackendState, Job, KeeperLock, ProcessingUnit
from processing_units.frontend.waiting import UnitLoad, live_cluster_managers, why_unit_is_slow
from processing_units.wording import counted

DOWN, WARNING, DRAINING, RUNNING, UP = "down", "warning", "draining", "running", "up"
_WEDGED_AFTER = timedelta(seconds=150)
_KEEPER_AWAY_AFTER = timedelta(seconds=60)
_BACKEND_AWAY_AFTER = timedelta(seconds=60)


@dataclass(frozen=True)
class Health:
    """A state (``down`` is red) and why."""

    state: str
    sentence: str
    canary: CanaryLook | None = None


def health_of(unit: ProcessingUnit, load: UnitLoad) -> Health:
    """Judge a unit by its frontend, the keeper, its last canary, and what waits and runs."""
    if not load.frontend_is_alive:
        return Health(DOWN, f"{why_unit_is_slow(load)}: jobs wait until it is started (manage.py frontend {unit.name})")
    if _keeper_is_away(load):
        return Health(DOWN, "no keeper runs: lost nodes are not noticed and no canary is sent (manage.py keeper)")
    if not unit.accepting:
        return Health(DRAINING, "it begins no jobs at the moment; those that run go on")
    canary = newest_canary(unit)
    if canary is not None and canary.trouble:
        return Health(DOWN, canary.trouble, canary)
    cache = unit.data_server
    if cache is not None and cache.trouble:
        return Health(DOWN, f"jobs wait for their frames: data server {cache}: {cache.trouble}", canary)
    if not load.nodes:
        return _without_nodes(unit, load)
    wedged = _why_nothing_begins(unit, load)
    if wedged:
        return Health(DOWN, wedged, canary)
    if not load.free_slots:
        waiting = f"{counted(load.queued, 'job')} wait{'s' if load.queued == 1 else ''}"
        return Health(RUNNING, f"all {load.slots} slots are busy, {waiting}", canary)
    return Health(UP, f"{load.free_slots} of {load.slots} slots are free", canary)


def _keeper_is_away(load: UnitLoad) -> bool:
    """Whether the keeper's lock has ended long ago; where there never was a keeper nothing is said."""
    lock = KeeperLock.objects.filter(held_until__isnull=False).order_by("-held_until").first()
    return lock is not None and lock.held_until is not None and lock.held_until < load.now - _KEEPER_AWAY_AFTER


def _without_nodes(unit: ProcessingUnit, load: UnitLoad) -> Health:
    backend = BackendState.objects.filter(unit=unit).first()
    if backend is not None and load.now - backend.seen_at < _BACKEND_AWAY_AFTER:
        told = [place for place in backend.places if place.get("reason") or place.get("state") == PlaceState.QUEUED]
        why = str(told[0].get("reason") or "it waits in the queueing system") if told else ""
        if told and any(place.get("state") in {PlaceState.QUEUED, PlaceState.UP} for place in backend.places):
            return Health(WARNING, f"no cluster manager is up yet: {why}")
        if not load.queued:
            return Health(UP if not why else WARNING, f"no cluster manager is up, and none is needed{_because(why)}")
        if _waits_long(unit, load):
            return Health(DOWN, f"jobs wait and its backend has brought no cluster manager up{_because(why)}")
        return Health(WARNING, f"no cluster manager is up; its backend is to bring one up{_because(why)}")
    state = DOWN if load.queued and _waits_long(unit, load) else WARNING
    return Health(state, f"no cluster manager is up: jobs wait until its backend brings one up (awbackend {unit.name})")


def _because(why: str) -> str:
    return f": {why}" if why else ""


def _why_nothing_begins(unit: ProcessingUnit, load: UnitLoad) -> str:
    """Return what is wrong where cluster managers are up, jobs wait, and none begins or ends."""
    if not load.queued or not _waits_long(unit, load):
        return ""
    mine = Job.objects.filter(unit=unit).exclude(run__recipe=CANARY)
    recent = load.now - _WEDGED_AFTER
    tried = mine.filter(state=JobState.QUEUED, lost_nodes__gte=2).order_by("-pk").first()
    if tried is not None and not mine.filter(ended__gt=recent, state=JobState.DONE).exists():
        return f"jobs fail on its nodes and are tried again: {tried.reason}"
    if load.running or mine.filter(ended__gt=recent).exists():
        return ""
    if not live_cluster_managers(unit).filter(drain=False).exists():
        return "jobs wait, and all its cluster managers drain"
    busy = sum(live_cluster_managers(unit).values_list("busy", flat=True))
    if busy:
        return f"its cluster managers say that {busy} slots are busy, but no job of the unit runs"
    return ""


def _waits_long(unit: ProcessingUnit, load: UnitLoad) -> bool:
    """Whether a job that nothing holds back has waited for so long that it ought to have begun, were a slot free."""
    ready = Job.objects.filter(unit=unit, state=JobState.QUEUED, not_before__isnull=True).exclude(run__recipe=CANARY)
    first = ready.order_by("run", "ordinal").first()
    return first is not None and first.created < load.now - _WEDGED_AFTER
