"""U1: why a job waits, its place in line, and when it is likely to begin."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from archive.context import Context, context_of
from processing_units.contract import JobState
from processing_units.frontend.expected import recent_seconds, start_of, told
from processing_units.frontend.models import ClusterManagerRecord, Job, ProcessingUnit, Run
from processing_units.frontend.status import run_status
from tests.processing_units.frontend.conftest import claimed, make_user, submitted

pytestmark = pytest.mark.django_db


def done_before(run: Run, unit: ProcessingUnit, *seconds: float) -> None:
    """Write jobs of a run that took so many seconds."""
    now = timezone.now()
    for number, taken in enumerate(seconds, 100):
        Job.objects.create(
            run=run, unit=unit, ordinal=number, label="x", state=JobState.DONE, created=now,
            started=now - timedelta(seconds=taken), ended=now,
        )  # fmt: skip


def test_the_reason_the_place_and_the_time(context: Context, unit: ProcessingUnit) -> None:
    unit.slots = 2
    unit.save()
    first = submitted(context, jobs=6)
    claimed(unit), claimed(unit)
    ClusterManagerRecord.objects.update(slots=8)  # more than the unit's own number, which holds
    assert run_status(first).jobs[2].reason == "waiting: unit local is full, 1st in line"
    done_before(first, unit, 170, 180, 190)
    cache.clear()
    jobs = run_status(first).jobs
    assert [job.reason for job in jobs[2:6]] == [
        "waiting: unit local is full, 1st in line, about 3 min",
        "waiting: unit local is full, 2nd in line, about 3 min",
        "waiting: unit local is full, 3rd in line, about 6 min",
        "waiting: unit local is full, 4th in line, about 6 min",
    ]
    Job.objects.filter(state=JobState.RUNNING, ordinal=1).update(started=timezone.now() - timedelta(seconds=150))
    assert run_status(first).jobs[2].reason.endswith("1st in line, about 30 s")


def test_another_users_job_is_placed_by_fair_share(context: Context, unit: ProcessingUnit) -> None:
    unit.slots = 2
    unit.save()
    first = submitted(context, jobs=6)
    claimed(unit), claimed(unit)
    done_before(first, unit, 600)
    other = submitted(context_of(make_user("ben")))
    assert run_status(other).reason == "waiting: unit local is full, 1st in line, about 10 min"


def test_nothing_is_promised_where_nothing_tells(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context)
    done_before(run, unit, 600)
    assert run_status(run).reason == "waiting: unit local has no cluster manager up, 1st in line"
    Job.objects.filter(state=JobState.DONE).update(ended=timezone.now() - timedelta(days=30))
    cache.clear()
    assert recent_seconds(unit.pk) == {}


def test_slots_take_the_next_as_they_get_free() -> None:
    assert [start_of(place, [5.0, 20.0], 10.0) for place in (1, 2, 3, 4, 5)] == [5.0, 15.0, 20.0, 25.0, 30.0]
    # Two slots work off a million jobs of 10 s in five million seconds, to within a job.
    assert abs(start_of(1_000_000, [5.0, 20.0], 10.0) - 5_000_000) <= 20


def test_times_are_told_no_finer_than_they_are_known() -> None:
    assert [told(seconds) for seconds in (3, 44, 95, 725, 7300, 200_000)] == [
        "any moment", "about 40 s", "about 2 min", "about 12 min", "about 2 h", "about 2 days",
    ]  # fmt: skip
