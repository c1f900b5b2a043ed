"""R3, R4, R8: heartbeats renew, what is not renewed is queued again, and a frontend that was away reaps nothing."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from archive.context import Context
from dataserver.store import Store
from processing_units.contract import ClusterManagerDown, Heartbeat, JobBeat, JobState
from processing_units.frontend import cluster_managers
from processing_units.frontend.heartbeat import heartbeat
from processing_units.frontend.models import Attempt, ClusterManagerRecord, Job, ProcessingUnit
from processing_units.frontend.reap import reap_all, say_alive
from processing_units.frontend.refusals import TooLate
from tests.processing_units.frontend.conftest import Claimed, claimed, expire, in_process, submitted

pytestmark = pytest.mark.django_db


def beat(unit: ProcessingUnit, *jobs: Claimed, **more: Any) -> Any:
    beats = [JobBeat(job=one.spec.job, attempt=one.spec.attempt, **more) for one in jobs]
    message = Heartbeat(cluster_manager="manager of node1", node="node1", slots=4, busy=len(jobs), load=0.5, jobs=beats)
    return heartbeat(unit, message)


def test_a_heartbeat_renews_all_its_jobs(context: Context, unit: ProcessingUnit) -> None:
    submitted(context, jobs=2)
    jobs = [claimed(unit), claimed(unit)]
    Job.objects.update(lease_until=timezone.now() + timedelta(seconds=1))
    reply = beat(unit, *jobs, progress=0.25, stage="clipping")
    assert (reply.stop, reply.drain) == ([], False)
    for one in jobs:
        assert one.job.lease_until - timezone.now() > timedelta(seconds=18)
        assert (one.job.progress, one.job.stage) == (0.25, "clipping")
    manager = ClusterManagerRecord.objects.get()
    assert (manager.slots, manager.busy, manager.load) == (4, 2, 0.5)


def test_a_heartbeat_takes_few_queries(
    context: Context, unit: ProcessingUnit, django_assert_max_num_queries: Any
) -> None:
    submitted(context, jobs=20)
    jobs = [claimed(unit) for _ in range(20)]
    with django_assert_max_num_queries(6):
        beat(unit, *jobs, progress=0.5)


def test_it_brings_back_what_to_stop_and_to_drain(context: Context, unit: ProcessingUnit) -> None:
    submitted(context, jobs=2)
    kept, lost = claimed(unit), claimed(unit)
    Job.objects.filter(pk=lost.spec.job).update(attempt=2)
    ClusterManagerRecord.objects.update(drain=True)
    reply = beat(unit, kept, lost)
    assert reply.stop == [(lost.spec.job, 1)]
    assert reply.drain is True


def test_another_units_jobs_are_not_renewed(context: Context, unit: ProcessingUnit) -> None:
    other = ProcessingUnit.objects.create(name="other", port=8002, key_hash="x")
    submitted(context, unit="local")
    mine = claimed(unit)
    before = mine.job.lease_until
    assert beat(other, mine, log="intrusion").stop == [(mine.spec.job, 1)]
    assert mine.job.lease_until == before
    assert Attempt.objects.get().log_bytes == 0


def test_an_expired_lease_goes_back_to_the_queue(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    first = claimed(unit)
    assert reap_all() == 0
    expire(first.job)
    assert reap_all() == 1
    assert (first.job.state, first.job.attempt, first.job.lost_nodes, first.job.failures) == ("queued", 1, 1, 0)
    assert first.attempt.outcome == "expired"
    second = claimed(unit, node="node2")
    assert second.spec.attempt == 2
    assert beat(unit, first).stop == [(first.spec.job, 1)]


def test_an_expired_attempt_may_renew_until_its_job_is_claimed_anew(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    first = claimed(unit)
    expire(first.job)
    reap_all()
    assert beat(unit, first).stop == []
    job = first.job
    assert (job.state, job.attempt, job.lost_nodes) == ("running", 1, 0)
    assert job.cluster_manager == ClusterManagerRecord.objects.get()
    assert first.attempt.ended is None


def test_an_expired_attempt_may_commit_until_its_job_is_claimed_anew(
    context: Context, unit: ProcessingUnit, store: Store
) -> None:
    submitted(context)
    first = claimed(unit)
    expire(first.job)
    reap_all()
    assert len(first.commit(store)) == 1
    assert first.job.state == JobState.DONE


def test_ten_lost_nodes_end_a_job(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context)
    for number in range(10):
        one = claimed(unit, node=f"node{number}")
        expire(one.job)
        assert reap_all() == 1
    job = run.jobs.get()
    assert (job.state, job.lost_nodes, job.failures) == ("failed", 10, 0)
    assert job.reason == "10 nodes were lost under it, the last was node9"
    run.refresh_from_db()
    assert run.ended is not None


@pytest.mark.parametrize(
    ("alive_at", "alive_since", "reaped"),
    [
        (0, 3600, 1),  # alive for an hour
        (0, 10, 0),  # back for ten seconds after a gap: grace
        (0, 31, 1),  # the grace is over
        (60, 3600, 0),  # away now: its nodes cannot renew
        (15, 3600, 0),  # silent for less than a lease, but its nodes' leases end in just that time
        (None, None, 0),  # never started
    ],
)
def test_after_a_gap_of_its_own_nothing_is_reaped_for_a_while(
    context: Context, unit: ProcessingUnit, alive_at: int | None, alive_since: int | None, reaped: int
) -> None:
    submitted(context)
    expire(claimed(unit).job)
    now = timezone.now()
    moments = [None if seconds is None else now - timedelta(seconds=seconds) for seconds in (alive_at, alive_since)]
    ProcessingUnit.objects.update(alive_at=moments[0], alive_since=moments[1])
    assert reap_all() == reaped


def test_the_frontend_notices_a_gap_of_its_own(unit: ProcessingUnit) -> None:
    hour_ago = unit.alive_since
    say_alive(unit)
    unit.refresh_from_db()
    assert unit.alive_since == hour_ago
    ProcessingUnit.objects.update(alive_at=timezone.now() - timedelta(seconds=11))
    say_alive(unit)
    unit.refresh_from_db()
    assert unit.alive_since is not None
    assert timezone.now() - unit.alive_since < timedelta(seconds=5)
    assert unit.alive_at == unit.alive_since


def test_a_cluster_manager_that_leaves_gives_its_jobs_back_uncounted(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    one = claimed(unit)
    cluster_managers.down(unit, ClusterManagerDown(cluster_manager="manager of node1", node="node1", reason="SIGTERM"))
    assert (one.job.state, one.job.lost_nodes, one.job.failures) == ("queued", 0, 0)
    assert ClusterManagerRecord.objects.get().down_at is not None
    assert beat(unit, one).stop == [(one.spec.job, 1)]  # given back is not expired: it cannot return


def test_an_attempt_that_failed_cannot_come_back(context: Context, unit: ProcessingUnit, store: Store) -> None:
    from processing_units.contract import FaultKind

    submitted(context)
    one = claimed(unit)
    one.fail(FaultKind.CRASHED)
    assert beat(unit, one).stop == [(one.spec.job, 1)]
    with pytest.raises(TooLate):
        one.commit(store)


@pytest.mark.django_db(transaction=True)
def test_a_heartbeat_that_meets_a_new_claim_of_its_job_leaves_it_alone(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    first = claimed(unit)
    expire(first.job)
    reap_all()
    answers: list[Any] = []
    late = threading.Thread(target=lambda: (answers.append(beat(unit, first).stop), connections.close_all()))
    with transaction.atomic():
        claimed(unit, node="node2")
        late.start()
        time.sleep(0.5)  # it has seen the job waiting, and now waits itself for our end
    late.join()
    assert answers == [[(first.spec.job, 1)]]
    job = first.job
    assert (job.state, job.attempt, job.lost_nodes) == ("running", 2, 1)
    assert job.cluster_manager is not None
    assert job.cluster_manager.node == "node2"
    assert first.attempt.outcome == "expired"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("point", "left"), [("reap.written", "running"), ("reap.committed", "queued")])
def test_a_kill_while_reaping_counts_once(context: Context, unit: ProcessingUnit, point: str, left: str) -> None:
    submitted(context)
    one = claimed(unit)
    expire(one.job)
    # However long the process takes to come up, the frontend is alive by then.
    ProcessingUnit.objects.update(alive_at=timezone.now() + timedelta(hours=1))
    code = "from processing_units.frontend.reap import reap_all; reap_all()"
    assert in_process(code, AWPORTAL_FAULT=f"{point}:kill").returncode == -9
    assert one.job.state == left
    reap_all()
    assert (one.job.state, one.job.lost_nodes) == ("queued", 1)
