"""U1: a state always has a reason. The log reaches the user while the job runs, whole, and cannot do anything."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from archive.context import Context, context_of
from dataserver.store import Store
from processing_units.contract import FaultKind, JobState
from processing_units.frontend.cancel import cancel_run
from processing_units.frontend.heartbeat import keep_log
from processing_units.frontend.logs import log_of, log_of_run, neutralised
from processing_units.frontend.models import ClusterManagerRecord, ProcessingUnit, Run
from processing_units.frontend.status import job_counts_of, job_status, run_status
from processing_units.frontend.waiting import ordinal
from tests.processing_units.frontend.conftest import claimed, make_user, submitted

pytestmark = pytest.mark.django_db


def manager_up(unit: ProcessingUnit, slots: int = 1, node: str = "node1") -> ClusterManagerRecord:
    now = timezone.now()
    return ClusterManagerRecord.objects.create(
        unit=unit, key=f"manager of {node}", node=node, slots=slots, up_at=now, seen_at=now
    )


def test_a_full_unit_says_the_place_in_line(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context, jobs=5)
    manager_up(unit)
    claimed(unit)
    status = run_status(run)
    assert status.state == "running"
    assert status.reason == "1 of 5 jobs run, 4 wait; unit local is full"
    assert [job.reason for job in status.jobs] == [
        "",
        "waiting: unit local is full, 1st in line",
        "waiting: unit local is full, 2nd in line",
        "waiting: unit local is full, 3rd in line",
        "waiting: unit local is full, 4th in line",
    ]
    assert (status.jobs[0].node, status.jobs[0].attempt) == ("node1", 1)


def test_the_line_is_by_fair_share(unit: ProcessingUnit) -> None:
    ann, bob = (context_of(make_user(name)) for name in ("ann", "bob"))
    hers, his = submitted(ann, jobs=10), submitted(bob, jobs=2)
    manager_up(unit, slots=1)
    claimed(unit)
    assert run_status(his).reason == "waiting: unit local is full, 1st in line"
    lines = [job.reason.rsplit(", ", 1)[1] for job in run_status(hers).jobs[1:4]]
    assert lines == ["2nd in line", "4th in line", "5th in line"]
    # What it says is what happens.
    taken = [claimed(unit).job.run_id for _ in range(4)]
    assert taken == [his.pk, hers.pk, his.pk, hers.pk]


@pytest.mark.parametrize(
    ("change", "slots", "why"),
    [
        ({}, 2, "unit local has a free slot, 1st in line"),
        ({}, 0, "unit local has no cluster manager up, 1st in line"),
        ({"alive_at": None}, 2, "the frontend of unit local has not been started yet, 1st in line"),
        (
            {"alive_at": timezone.now() - timedelta(hours=1)},
            2,
            "the frontend of unit local has not been heard of since",
        ),
    ],
)
def test_what_a_job_waits_for_is_told(
    context: Context, unit: ProcessingUnit, change: dict[str, Any], slots: int, why: str
) -> None:
    run = submitted(context)
    if slots:
        manager_up(unit, slots)
    ProcessingUnit.objects.filter(pk=unit.pk).update(**change)
    run = Run.objects.get(pk=run.pk)
    status = run_status(run)
    assert status.state == "queued"
    assert status.reason.startswith(f"waiting: {why}")
    assert job_status(run.jobs.get()).reason == status.reason


def test_a_pause_says_how_long_and_why(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context)
    claimed(unit).fail(FaultKind.DISK_FULL, "no room on node1")
    assert run.jobs.get().not_before is not None
    run.jobs.update(not_before=timezone.now() + timedelta(seconds=1000))  # longer than any machine is held up
    reason = run_status(run).jobs[0].reason
    assert re.fullmatch(r"waiting: tried again in (9\d\d|1000) s, after disk full: no room on node1", reason)


def test_ended_runs_say_how(context: Context, unit: ProcessingUnit, store: Store) -> None:
    run = submitted(context, jobs=2)
    products = claimed(unit).commit(store)
    claimed(unit).fail(FaultKind.USAGE, "these will not do", hint="take others")
    run.refresh_from_db()
    status = run_status(run)
    assert (status.state, status.reason) == ("failed", "1 of 2 jobs failed: these will not do")
    assert [job.state for job in status.jobs] == ["done", "failed"]
    assert status.jobs[0].products == products
    assert status.jobs[0].progress == 1.0
    assert status.jobs[1].reason == "these will not do (take others)"
    assert status.ended is not None
    assert status.counts == {**dict.fromkeys(JobState, 0), JobState.DONE: 1, JobState.FAILED: 1}
    other = submitted(context)
    cancel_run(other, context)
    assert (run_status(other).state, run_status(other).reason) == ("cancelled", "1 of 1 job cancelled by ann")
    third = submitted(context)
    claimed(unit).commit(store)
    assert (run_status(third).state, run_status(third).reason) == ("done", "")


def test_long_runs_are_listed_in_pieces_with_few_queries(
    context: Context, unit: ProcessingUnit, django_assert_max_num_queries: Any
) -> None:
    run = submitted(context, jobs=60)
    claimed(unit)
    with django_assert_max_num_queries(16):
        status = run_status(run, offset=10, limit=20)
    assert [job.number for job in status.jobs] == list(range(11, 31))
    assert sum(status.counts.values()) == 60
    assert [job.number for job in run_status(run, state=JobState.RUNNING).jobs] == [1]
    assert run_status(run, with_jobs=False).jobs == []
    assert job_counts_of([run])[run.pk] == status.counts


def test_ordinals() -> None:
    numbers = (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)
    told = ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]
    assert [ordinal(number) for number in numbers] == told


def test_a_log_arrives_in_pieces_and_is_whole(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    attempt = (one := claimed(unit)).attempt
    assert keep_log(attempt, 0, "ä first\n") == 9
    assert keep_log(one.attempt, 0, "ä first\n") == 9  # the answer was lost: sent again
    assert keep_log(one.attempt, 3, "first\nsecond\n") == 16  # begins in the middle of what is there
    assert keep_log(one.attempt, 20, "after a gap\n") == 16  # refused: the sender learns where to begin
    assert keep_log(one.attempt, 16, "third \x00\n") == 24
    log = log_of(one.job)
    assert log.text == "ä first\nsecond\nthird ?\n"
    assert (log.start, log.following, log.complete, log.node) == (0, 24, False, "node1")
    assert log_of(one.job, since=9).text == "second\nthird ?\n"
    assert log_of(one.job, since=12).text == "ond\nthird ?\n"
    assert log_of(one.job, since=24).text == ""


def test_the_log_of_a_run_is_all_attempts_in_order(context: Context, unit: ProcessingUnit, store: Store) -> None:
    run = submitted(context, jobs=2)
    first = claimed(unit)
    keep_log(first.attempt, 0, "dies")
    first.fail(FaultKind.CRASHED, "killed")
    second = claimed(unit, node="node2")
    keep_log(second.attempt, 0, "lives\n")
    second.commit(store)
    claimed(unit)
    assert "".join(log_of_run(run)) == (
        f"=== job {run.pk}/1 0001, attempt 1 on node1\n"
        "dies\n"
        "=== crashed: killed\n"
        f"=== job {run.pk}/1 0001, attempt 2 on node2\n"
        "lives\n"
        "=== done\n"
        f"=== job {run.pk}/2 0002, attempt 1 on node1\n"
    )
    assert log_of(second.job).attempt == 2
    assert log_of(second.job, attempt=1).text == "dies"
    assert log_of(second.job).complete is True


def test_a_log_cannot_do_anything() -> None:
    hostile = "a\x1b[2J\x07\tb\r\n\x9b31m\x7f\u202eend"
    assert neutralised(hostile) == "a␛[2J␇\tb␍\n\ufffd31m␡\ufffdend"
