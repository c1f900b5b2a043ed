"""A unit's backend reports how its cluster managers stand, and learns what the process manager wants of it."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import F, Q
from django.db.models.functions import Now

from processing_units.contract import CANARY, BackendDirections, BackendReport, CheckReport, JobState
from processing_units.frontend.clock import seconds_from_now
from processing_units.frontend.models import BackendState, Job, ProcessingUnit
from recipes.errors import UsageError

SILENT_SECONDS = 20  # a backend reports every 5 s


def report(unit: ProcessingUnit, message: BackendReport) -> BackendDirections:
    """Keep a backend's report; return its directions, which hold from now on."""
    places = [place.model_dump(mode="json") for place in message.places]
    if message.tested:
        checks = [check.model_dump() for check in message.checks]
        done = BackendState.objects.filter(unit=unit, test_done__lt=message.tested)
        done.update(test_done=message.tested, checks=checks)
    if not message.only_asks:
        BackendState.objects.update_or_create(
            unit=unit, defaults={"backend": message.backend, "kind": message.kind, "places": places, "seen_at": Now()}
        )
    return BackendDirections(
        unit=unit.name,
        kind=unit.kind,
        cluster_managers=unit.cluster_managers_wanted,
        slots=unit.slots or max(1, unit.cluster_managers_wanted),  # no number of its own: one each
        settings=unit.kind_settings,
        accepting=unit.accepting,
        reach=_to_be_reached(unit),
        test=0 if message.only_asks else _test_wanted(unit),
        open_jobs=_open_jobs(unit),
    )


def _open_jobs(unit: ProcessingUnit) -> int:
    """Count what runs and what could run now: nothing on a unit that drains, no job in its pause after a fault."""
    ready = Q(state=JobState.QUEUED) & (Q(not_before__isnull=True) | Q(not_before__lte=Now()))
    running = Q(state=JobState.RUNNING)
    return (
        Job.objects.filter(running | ready if unit.accepting else running, unit=unit)
        .exclude(run__recipe=CANARY)
        .count()
    )


def _test_wanted(unit: ProcessingUnit) -> int:
    wanted = BackendState.objects.filter(unit=unit, test_wanted__gt=F("test_done")).values_list(
        "test_wanted", flat=True
    )
    return wanted.first() or 0


def ask_for_test(unit: ProcessingUnit) -> int:
    """Have the unit's backend look at what its cluster managers need; return the number of the test."""
    up = BackendState.objects.filter(unit=unit, seen_at__gt=seconds_from_now(-SILENT_SECONDS))
    if not up.update(test_wanted=F("test_wanted") + 1):
        raise UsageError(
            f"no backend of unit {unit.name} is running that could look",
            hint=f"start awbackend {unit.name}, or run it with --test where it will run",
        )
    return up.values_list("test_wanted", flat=True)[0]


def outcome_of_test(unit: ProcessingUnit, number: int) -> list[CheckReport] | None:
    """Return what a test found; None while it goes on."""
    state = BackendState.objects.filter(unit=unit, test_done__gte=number).first()
    return None if state is None else [CheckReport.model_validate(check) for check in state.checks]


def _to_be_reached(unit: ProcessingUnit) -> list[str]:
    """Return the addresses of broker and data servers, without the broker's password."""
    found = []
    for url in (settings.BROKER_URL, settings.DATA_URL, unit.data_server.address if unit.data_server else ""):
        parts = urlsplit(url)
        if parts.hostname:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            found.append(f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else ""))
    return list(dict.fromkeys(found))
