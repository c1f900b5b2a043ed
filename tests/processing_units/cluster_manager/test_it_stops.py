"""Cancel, drain, stop: the process group is gone, nothing is left, and the frontend knows why."""

import signal
import time

import pytest
from fake_unit import eventually, gone

pytestmark = pytest.mark.processes


def test_cancel_kills_the_whole_group(unit, start_worker):
    worker = start_worker()
    job = unit.submit(["children", 60])
    eventually(lambda: len(worker.job_processes()) == 2, what="the job and its child run")
    family = worker.job_processes()
    unit.cancel(job)
    assert gone(family, 10)
    eventually(lambda: worker.leftovers() == [], what="nothing is left in scratch")
    assert (job.state, job.failures, job.commits) == ("cancelled", [], [])
    assert worker.process.poll() is None


def test_the_first_signal_drains(unit, start_worker):
    worker = start_worker()
    job = unit.submit(["sleep", 1.5], ["product", "p.fits", 10])
    eventually(lambda: job.state == "running")
    worker.process.terminate()
    time.sleep(0.4)
    later = unit.submit(["sleep", 0.1])
    assert worker.wait() == 0
    assert len(job.commits) == 1
    assert later.state == "queued"
    assert unit.downs[-1].reason == "drained"
    assert list(worker.scratch.iterdir()) == []


def test_the_second_signal_stops_at_once(unit, start_worker):
    worker = start_worker()
    job = unit.submit(["sleep", 60])
    eventually(worker.job_processes, what="its process runs")
    family = worker.descendants()
    worker.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert worker.process.poll() is None
    asked = time.monotonic()
    worker.process.send_signal(signal.SIGINT)
    assert worker.wait() == 1
    assert time.monotonic() - asked < 30
    assert [failure.fault for failure in job.failures] == ["preempted"]
    assert gone(family, 2)
    assert list(worker.scratch.iterdir()) == []


def test_the_frontend_can_ask_it_to_drain(unit, start_worker):
    worker = start_worker()
    unit.drain = True
    assert worker.wait() == 0


def test_it_leaves_when_it_was_idle_for_long(unit, start_worker, done):
    worker = start_worker("--quit-when-idle", "1")
    done(unit.submit(["sleep", 0.1]))
    assert worker.wait() == 0


def test_it_drains_while_redis_is_away(unit, redis, start_worker):
    worker = start_worker()
    redis.kill()
    time.sleep(0.5)
    worker.process.terminate()
    assert worker.wait() == 0
    redis.start()


def test_when_the_unit_gets_a_new_key_it_gives_its_jobs_back_and_leaves(unit, start_worker):
    worker = start_worker()
    job = unit.submit(["sleep", 60])
    eventually(worker.job_processes, what="its process runs")
    family = worker.descendants()
    unit.key = "another"
    assert worker.wait() == 3
    assert [failure.fault for failure in job.failures] == ["preempted"]
    assert gone(family)
    assert list(worker.scratch.iterdir()) == []
    assert "refuses this cluster manager: this is not the unit's key" in worker.said
