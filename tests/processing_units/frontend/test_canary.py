"""R9: a canary goes the whole road once a minute, leaves nothing, and a wedged unit is red within three minutes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from archive.context import Context, context_of
from archive.models import Product
from processing_units.contract import CANARY, BackendReport, Claim, ClusterManagerUp, FaultKind, JobState
from processing_units.frontend import backends, keeping
from processing_units.frontend.canary import keep_canaries, newest_canary, remove_old_canaries
from processing_units.frontend.claim import claim
from processing_units.frontend.cluster_managers import up
from processing_units.frontend.commit import commit
from processing_units.frontend.health import Health, health_of
from processing_units.frontend.models import ClusterManagerRecord, Job, KeeperLock, ProcessingUnit, Run
from processing_units.frontend.permissions import visible_runs
from processing_units.frontend.unit_settings import apply_changes
from processing_units.frontend.waiting import unit_load
from tests.processing_units.frontend.conftest import claimed, submitted

pytestmark = pytest.mark.django_db
MANAGER = ClusterManagerUp(cluster_manager="manager of node1", node="node1", slots=2)
ASK = Claim(cluster_manager="manager of node1", node="node1")


def health(unit: ProcessingUnit) -> Health:
    return health_of(unit, unit_load(unit))


def later(seconds: float) -> None:
    """Let so much time have gone by since runs and jobs were written."""
    for model, columns in ((Run, ("submitted", "ended")), (Job, ("created", "started", "ended"))):
        for row in model.objects.all():
            for column in columns:
                moment = getattr(row, column)
                model.objects.filter(pk=row.pk).update(
                    **{column: moment - timedelta(seconds=seconds) if moment else None}
                )
    for run in Run.objects.all():  # a key names the second in which a canary was sent
        Run.objects.filter(pk=run.pk).update(idempotency_key=f"{run.idempotency_key}, {seconds} s before")


def test_it_goes_the_whole_road_and_leaves_nothing(context: Context, unit: ProcessingUnit) -> None:
    up(unit, MANAGER)
    assert keep_canaries() == 1
    assert keep_canaries() == 0, "one at a time"
    taken = claimed(unit)
    assert (taken.spec.recipe, taken.spec.inputs) == (CANARY, [])
    assert commit(taken.attempt, taken.commit_message()) == []
    look = newest_canary(unit)
    assert look is not None
    assert (look.state, look.node, look.trouble) == ("done", "node1", "")
    assert health(unit).state == "up"
    assert not Product.objects.exists()
    assert keep_canaries() == 0, "not before a minute has gone by"
    later(61)
    assert keep_canaries() == 1
    staff = context_of(User.objects.create_user("staff", is_staff=True))
    assert not visible_runs(staff).exists()
    later(25 * 3600)
    Run.objects.filter(ended__isnull=True).delete()
    assert remove_old_canaries() == 1
    assert not Job.objects.exists()


def test_it_goes_before_others_and_past_all_rules(user: User, context: Context, unit: ProcessingUnit) -> None:
    up(unit, MANAGER)
    submitted(context, jobs=3)
    claimed(unit)
    apply_changes(unit, {"owner": "ann", "recipes": "ReadNoise", "user_types": "2"}, by=None, who="t")
    assert keep_canaries() == 1
    assert claimed(unit).spec.recipe == CANARY


def test_none_is_sent_where_nobody_could_take_it(context: Context, unit: ProcessingUnit) -> None:
    assert keep_canaries() == 0, "no cluster manager is up: it starts none"
    up(unit, MANAGER)
    ClusterManagerRecord.objects.update(busy=2)
    assert keep_canaries() == 0
    ClusterManagerRecord.objects.update(busy=0, seen_at=timezone.now() - timedelta(minutes=5))
    assert keep_canaries() == 0
    ClusterManagerRecord.objects.update(seen_at=timezone.now())
    apply_changes(unit, {"accepting": "no"}, by=None, who="t")
    assert keep_canaries() == 0
    apply_changes(unit, {"accepting": "yes", "slots": "1"}, by=None, who="t")
    submitted(context)
    claimed(unit)
    assert keep_canaries() == 0


def test_it_is_taken_back_when_the_last_slot_is_gone(unit: ProcessingUnit) -> None:
    up(unit, MANAGER)
    keep_canaries()
    report = BackendReport(backend="b", kind="local")
    assert backends.report(unit, report).open_jobs == 0, "no backend brings anything up for it"
    assert (unit_load(unit).queued, unit_load(unit).running) == (0, 0)
    ClusterManagerRecord.objects.update(down_at=timezone.now())
    keep_canaries()
    assert Job.objects.get().state == JobState.CANCELLED
    assert claim(unit, ASK) is None
    later(300)
    assert health(unit).state == "up"


def test_a_node_that_takes_nothing_is_red(unit: ProcessingUnit) -> None:
    up(unit, MANAGER)
    keep_canaries()
    later(80)
    assert health(unit).state == "up"
    later(30)  # with the minute before it was sent: under three minutes since the wedge
    assert health(unit).state == "down"
    assert "a canary job waits since" in health(unit).sentence
    assert keep_canaries() == 0
    taken = claimed(unit)
    assert "runs on node1 still" in health(unit).sentence
    taken.fail(FaultKind.DISK_FULL, "no room on /scratch")
    later(91)
    assert "a canary job could not be done since" in health(unit).sentence
    assert "no room on /scratch" in health(unit).sentence
    Job.objects.update(not_before=None)
    taken = claimed(unit)
    commit(taken.attempt, taken.commit_message())
    assert health(unit).state == "up"


def test_a_canary_that_fails_is_red(unit: ProcessingUnit) -> None:
    up(unit, MANAGER)
    keep_canaries()
    claimed(unit).fail(FaultKind.USAGE, "there is no recipe 'canary'")
    assert health(unit).sentence == "the last canary job failed: there is no recipe 'canary'"


def test_without_a_free_slot_the_queue_is_the_judge(context: Context, unit: ProcessingUnit) -> None:
    up(unit, MANAGER)
    run = submitted(context, jobs=3)
    claimed(unit), claimed(unit)
    later(600)
    assert health(unit).state == "running", "what runs may take its time"
    ClusterManagerRecord.objects.update(busy=2)
    run.jobs.filter(state=JobState.RUNNING).update(state=JobState.QUEUED)
    assert health(unit).state == "down"
    assert "say that 2 slots are busy, but no job of the unit runs" in health(unit).sentence


def test_jobs_that_wait_for_a_backend_that_is_gone_are_red(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    assert health(unit).state == "warning"
    later(170)
    assert health(unit).state == "down"
    assert "no cluster manager is up" in health(unit).sentence
    backends.report(unit, BackendReport.model_validate({
        "backend": "b", "kind": "slurm",
        "places": [{"number": 1, "state": "queued", "reason": "Resources", "handle": "77"}],
    }))  # fmt: skip
    assert (health(unit).state, health(unit).sentence) == ("warning", "no cluster manager is up yet: Resources")


def test_a_keeper_that_is_gone_is_red(unit: ProcessingUnit) -> None:
    up(unit, MANAGER)
    keeping.hold_lock("me")
    assert health(unit).state == "up"
    KeeperLock.objects.update(held_until=timezone.now() - timedelta(seconds=70))
    assert "no keeper runs" in health(unit).sentence
