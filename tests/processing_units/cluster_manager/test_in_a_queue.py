"""What a cluster manager does as a job of a queueing system: its time ends, its key file goes, SIGTERM is the end."""

import time

import pytest
from fake_unit import eventually, gone

pytestmark = pytest.mark.processes

WALLTIME = 12  # of which 10 are for jobs


def test_at_the_end_of_its_walltime_jobs_go_back_but_for_those_that_had_all_of_it(unit, start_worker):
    long_one = unit.submit(["say", "at work"], ["sleep", 60], hint=False)  # before: the first poll finds it
    began = time.monotonic()
    worker = start_worker("--walltime", str(WALLTIME))
    eventually(lambda: long_one.state == "running")
    time.sleep(WALLTIME / 2)
    late_one = unit.submit(["sleep", 60])
    eventually(lambda: late_one.state == "running")
    family = worker.descendants()
    assert worker.wait() == 1
    assert WALLTIME - 2 < time.monotonic() - began < WALLTIME + 6  # the process starts a moment after we do
    assert [failure.fault for failure in long_one.failures] == ["out_of_time"]
    assert "all that the walltime of the queue allows" in long_one.failures[0].message
    assert "at work" in long_one.log
    assert [failure.fault for failure in late_one.failures] == ["preempted"]
    assert unit.downs[-1].reason == "stopped"
    assert gone(family, 2)
    assert list(worker.scratch.iterdir()) == []


def test_it_tells_how_long_it_still_has(unit, start_worker):
    start_worker("--walltime", "1000")
    eventually(lambda: unit.last_claim is not None)
    claim = unit.last_claim
    assert 880 < claim.seconds_left <= claim.seconds_at_most <= 940
    began, first = time.monotonic(), claim.seconds_left
    unit.hint()
    eventually(lambda: unit.last_claim is not claim)
    assert first - unit.last_claim.seconds_left == pytest.approx(time.monotonic() - began, abs=3)


def test_where_there_is_no_walltime_it_says_nothing_of_it(unit, start_worker):
    start_worker()
    eventually(lambda: unit.last_claim is not None)
    assert unit.last_claim.seconds_left is None


def test_the_first_sigterm_of_a_queue_sends_jobs_and_logs_back_at_once(unit, start_worker):
    worker = start_worker("--preemptible")
    job = unit.submit(["say", "at work"], ["sleep", 60])
    eventually(worker.job_processes, what="its process runs")
    time.sleep(0.3)
    family = worker.descendants()
    asked = time.monotonic()
    # A queue signals all processes of its job in the same moment, whichever is first.
    for process in [*family, worker.process]:
        process.terminate()
    assert worker.wait() == 1
    assert time.monotonic() - asked < 30
    assert [failure.fault for failure in job.failures] == ["preempted"]
    assert "at work" in job.log
    assert gone(family, 2)


def test_a_file_asks_it_to_drain(unit, start_worker, tmp_path):
    drain = tmp_path / "drain"
    worker = start_worker("--preemptible", "--drain-file", str(drain))
    job = unit.submit(["sleep", 3], ["product", "p.fits", 10])
    eventually(lambda: job.state == "running")
    drain.touch()
    assert worker.wait() == 0
    assert (job.attempt, len(job.commits)) == (1, 1)


def test_its_key_file_is_gone_once_the_frontend_has_taken_the_key(unit, start_worker, tmp_path):
    key = tmp_path / "a.key"
    key.write_text(unit.key)
    unit.key = "another"
    refused = start_worker("--delete-key-file", str(key), up=False)
    assert refused.wait() == 3
    assert key.exists()
    unit.key = key.read_text()
    start_worker("--delete-key-file", str(key))
    assert not key.exists()
