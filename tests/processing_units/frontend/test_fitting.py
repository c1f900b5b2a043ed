"""A node of a queueing system gets the jobs that fit into what is left of its walltime, and no others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from archive.context import Context
from dataserver.store import Store
from processing_units.contract import Claim, FaultKind
from processing_units.frontend.claim import claim
from processing_units.frontend.models import Attempt, ProcessingUnit
from tests.processing_units.frontend.conftest import Claimed, claimed, submitted

pytestmark = pytest.mark.django_db


def given(unit: ProcessingUnit, seconds_left: float, at_most: float = 10_000.0) -> Claimed | None:
    message = Claim(cluster_manager="m", node="n", seconds_left=seconds_left, seconds_at_most=at_most)
    spec = claim(unit, message)
    return None if spec is None else Claimed(spec)


def test_the_usual_time_of_a_recipe_decides(context: Context, unit: ProcessingUnit, store: Store) -> None:
    submitted(context, jobs=4)
    for seconds in (30.0, 100.0):
        one = claimed(unit)
        one.commit(store)
        Attempt.objects.filter(job=one.spec.job).update(seconds=seconds)
    assert given(unit, 120.0) is None  # 1.2 × 100 s, and 5 s to bring the files
    assert given(unit, 126.0) is not None


def test_as_long_as_nothing_is_known_the_wall_limit_decides(context: Context, unit: ProcessingUnit) -> None:
    submitted(context, jobs=2)
    ProcessingUnit.objects.update(wall_seconds=600)
    unit.refresh_from_db()
    assert given(unit, 599.0) is None
    assert given(unit, 600.0) is not None


def test_a_walltime_shorter_than_the_wall_limit_stops_nobody_at_its_beginning(
    context: Context, unit: ProcessingUnit
) -> None:
    submitted(context, jobs=2)
    assert unit.wall_seconds == 3600
    assert given(unit, 700.0, at_most=1000.0) is None
    assert given(unit, 800.0, at_most=1000.0) is not None


def test_a_job_that_was_stopped_gets_more_time_than_it_had(
    context: Context, unit: ProcessingUnit, store: Store
) -> None:
    submitted(context, jobs=2)
    quick = claimed(unit)
    quick.commit(store)  # 1.5 s, and so the recipe is thought quick
    slow = given(unit, 100.0)
    assert slow is not None
    Attempt.objects.filter(job=slow.job).update(started=timezone.now() - timedelta(seconds=90))
    slow.fail(FaultKind.PREEMPTED)
    assert (slow.job.failures, slow.job.lost_nodes) == (0, 0)
    assert given(unit, 100.0) is None
    assert given(unit, 115.0) is not None


def test_one_that_needs_more_than_there_ever_is_is_given_to_the_freshest(
    context: Context, unit: ProcessingUnit
) -> None:
    submitted(context)
    slow = given(unit, 1000.0, at_most=1000.0)
    assert slow is not None
    Attempt.objects.update(started=F("started") - timedelta(seconds=900))
    slow.fail(FaultKind.PREEMPTED)
    assert given(unit, 799.0, at_most=1000.0) is None
    assert given(unit, 801.0, at_most=1000.0) is not None


def test_a_node_without_an_end_gets_any(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    assert claimed(unit).spec.limits.wall_seconds == 3600
