"""R6: three failures of the job itself end it with the reason; the machine's faults are tried again, counted apart."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from archive.context import Context
from dataserver.store import Store
from processing_units.contract import Failure, FaultKind
from processing_units.frontend.attempts import staging_key
from processing_units.frontend.fail import fail
from processing_units.frontend.models import Attempt, Job, ProcessingUnit
from processing_units.frontend.reap import reap_all
from processing_units.frontend.refusals import TooLate
from processing_units.frontend.status import job_status
from tests.processing_units.frontend.conftest import claimed, expire, submitted

pytestmark = pytest.mark.django_db


def skip_pause() -> None:
    Job.objects.update(not_before=None)


@pytest.mark.parametrize("fault", [FaultKind.FATAL, FaultKind.CRASHED, FaultKind.OUT_OF_TIME])
def test_three_failures_of_the_job_itself_end_it(context: Context, unit: ProcessingUnit, fault: FaultKind) -> None:
    run = submitted(context)
    states = []
    for _ in range(3):
        one = claimed(unit)
        one.fail(fault, "no sense in it")
        states.append((one.job.state, one.job.failures))
    assert states == [("queued", 1), ("queued", 2), ("failed", 3)]
    job = run.jobs.get()
    assert job.reason.startswith("failed 3 times, at last: ")
    assert job.reason.endswith("no sense in it")
    assert list(Attempt.objects.order_by("ordinal").values_list("ordinal", "outcome")) == [
        (number, fault.value) for number in (1, 2, 3)
    ]
    run.refresh_from_db()
    assert run.ended is not None


def test_a_usage_error_fails_at_once(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    one = claimed(unit)
    one.fail(FaultKind.USAGE, "frames of two chips", hint="split them")
    assert (one.job.state, one.job.reason, one.job.hint) == ("failed", "frames of two chips", "split them")
    assert job_status(one.job).fault == FaultKind.USAGE


def test_out_of_memory_is_said_as_such(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    one = claimed(unit)
    one.fail(FaultKind.OUT_OF_MEMORY, "5000 MiB of 4096 used")
    assert one.job.reason == "out of memory: 5000 MiB of 4096 used"
    assert one.job.failures == 1


def test_faults_of_the_machine_are_tried_again_after_a_pause(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    pauses = []
    for fault in (FaultKind.DISK_FULL, FaultKind.TRANSIENT, FaultKind.STAGE_OUT):
        one = claimed(unit)
        one.fail(fault)
        job = one.job
        assert (job.state, job.failures) == ("queued", 0)
        pauses.append(round((job.not_before - timezone.now()).total_seconds()))
        skip_pause()
    assert pauses == pytest.approx([5, 10, 20], abs=1)
    assert job.lost_nodes == 3


def test_ten_faults_of_the_machine_end_it(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context)
    for _ in range(10):
        claimed(unit).fail(FaultKind.DISK_FULL, "no room on node1")
        skip_pause()
    job = run.jobs.get()
    assert (job.state, job.lost_nodes) == ("failed", 10)
    assert job.reason == "nodes failed 10 times under it, at last: disk full: no room on node1"


def test_pre_emption_counts_not_at_all(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    for _ in range(12):
        one = claimed(unit)
        one.fail(FaultKind.PREEMPTED)
    job = one.job
    assert (job.state, job.failures, job.lost_nodes, job.not_before) == ("queued", 0, 0, None)


def test_a_repeated_report_counts_once(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    one = claimed(unit)
    one.fail(FaultKind.CRASHED)
    one.fail(FaultKind.CRASHED)
    assert one.job.failures == 1


def test_a_late_report_is_refused_but_its_log_is_kept(context: Context, unit: ProcessingUnit, store: Store) -> None:
    submitted(context)
    one = claimed(unit)
    staged = one.stage(store)
    expire(one.job)
    reap_all()
    claimed(unit, node="node2")
    message = Failure(job=one.spec.job, attempt=1, fault=FaultKind.CRASHED, message="m", log="last words\n")
    with pytest.raises(TooLate):
        fail(one.attempt, message)
    assert (one.job.state, one.job.failures) == ("running", 0)
    assert one.attempt.log_bytes == 11
    assert store.staged(staging_key(one.attempt)) == []
    assert not store.has(staged.sha256)


def test_a_failure_after_an_expiry_that_nobody_claimed_counts_as_the_jobs(
    context: Context, unit: ProcessingUnit
) -> None:
    submitted(context)
    one = claimed(unit)
    expire(one.job)
    reap_all()
    one.fail(FaultKind.CRASHED)
    assert (one.job.state, one.job.failures, one.job.lost_nodes) == ("queued", 1, 0)


def test_what_a_failed_attempt_staged_is_dropped(context: Context, unit: ProcessingUnit, store: Store) -> None:
    submitted(context)
    one = claimed(unit)
    one.stage(store)
    one.fail(FaultKind.STAGE_OUT)
    assert store.staged(staging_key(one.attempt)) == []


def test_a_new_attempt_does_not_wait_for_the_lease(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    one = claimed(unit)
    one.fail(FaultKind.CRASHED)
    assert one.job.lease_until is None
    again = claimed(unit)
    assert again.spec.attempt == 2
    assert again.job.lease_until > timezone.now() + timedelta(seconds=18)
