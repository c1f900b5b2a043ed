"""A unit's backend reports how its cluster managers stand, and learns what the process manager wants of it."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from processing_units.contract import CANARY, BackendDirections, BackendReport, JobState
from processing_units.frontend.models import BackendState, Job, ProcessingUnit


def report(unit: ProcessingUnit, message: BackendReport) -> BackendDirections:
    """Keep a backend's report; return its directions, which hold from now on."""
    places = [place.model_dump(mode="json") for place in message.places]
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


def _to_be_reached(unit: ProcessingUnit) -> list[str]:
    """Return the addresses of broker and data servers, without the broker's password."""
    found = []
    for url in (settings.BROKER_URL, settings.DATA_URL, unit.data_server_url):
        parts = urlsplit(url)
        if parts.hostname:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            found.append(f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else ""))
    return list(dict.fromkeys(found))
