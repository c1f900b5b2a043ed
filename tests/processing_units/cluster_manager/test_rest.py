"""A node that fails job after job does not empty the queue of its unit."""

import time

import pytest
from fake_unit import eventually

from processing_units.cluster_manager.rest import Rest
from processing_units.contract import FaultKind


def failing(rest, fault=FaultKind.STAGE_IN, times=1):
    for _ in range(times):
        rest.note(time.monotonic(), fault)


def test_it_rests_after_the_third_failure_of_its_own_and_a_good_job_ends_that():
    rest = Rest()
    failing(rest, times=2)
    assert rest.reason() == ""
    failing(rest)
    assert rest.reason() == "no jobs are claimed for a while: the last 3 failed because of this node"
    rest.note(time.monotonic(), None)
    assert rest.reason() == ""


def test_what_fails_in_all_slots_at_once_counts_once():
    rest = Rest()
    began = time.monotonic()
    for _ in range(16):
        rest.note(began, FaultKind.NODE_LOST)
    assert rest.reason() == ""


def test_the_jobs_own_faults_and_pre_emption_do_not_count():
    rest = Rest()
    failing(rest, FaultKind.CRASHED, 5)
    failing(rest, FaultKind.PREEMPTED, 5)
    assert rest.reason() == ""


@pytest.mark.processes
def test_a_node_whose_scratch_is_broken_leaves_the_queue_to_others(unit, start_worker):
    worker = start_worker(slots=1)
    own = next(worker.scratch.iterdir())
    lock = own / "lock"
    lock.rename(worker.scratch / "lock")
    own.rmdir()
    own.touch()  # no directory of an attempt can be made
    for _ in range(30):
        unit.submit(["sleep", 0.1])
    eventually(lambda: "no jobs are claimed for a while" in worker.said, what="it rests")
    time.sleep(1.0)
    assert unit.claims <= 8
