"""Whatever is killed or goes away: nothing lost, nothing twice, nothing left behind."""

import os
import signal
import time
from pathlib import Path

import pytest
from fake_unit import eventually, gone

pytestmark = pytest.mark.processes


def job_process(worker, job):
    eventually(lambda: job.state == "running" and worker.job_processes(), what="its process runs")
    return worker.job_processes()[0]


def test_the_job_process_is_killed(unit, start_worker, done):
    worker = start_worker()
    job = unit.submit(["sleep", 20])
    job_process(worker, job).kill()
    done(job, "failed")
    assert job.failures[0].fault == "crashed"


def test_the_fork_server_is_killed_and_comes_back(unit, start_worker, done):
    worker = start_worker()
    job = unit.submit(["sleep", 1], ["product", "p.fits", 10])
    process = job_process(worker, job)
    worker.fork_server().kill()
    done(job)
    assert [failure.fault for failure in job.failures] == ["node_lost"]
    assert job.attempt == 2
    assert gone([process])


def test_the_cluster_manager_is_killed(unit, start_worker, done):
    worker = start_worker()
    job = unit.submit(["children", 1.5], ["product", "p.fits", 10])
    eventually(lambda: len(worker.job_processes()) == 2, what="the job and its child run")
    family = worker.descendants()
    socket_directory = Path(worker.fork_server().cmdline()[-1]).parent
    assert socket_directory.is_dir()
    worker.process.kill()
    assert gone(family, 2)
    killed_at = time.time()
    eventually(lambda: list(worker.scratch.iterdir()) == [], 5, "its files are gone")
    assert not socket_directory.exists()
    start_worker(scratch=worker.scratch)
    done(job)
    assert job.attempt == 2
    assert len(job.commits) == 1
    assert job.claimed_at - killed_at < 30
    assert [path.name for path in worker.scratch.iterdir()] == [f"awworker-{unit.ups[-1].cluster_manager}"]


def test_a_cluster_manager_that_was_stopped_comes_too_late(unit, start_worker, done):
    stopped = start_worker()
    job = unit.submit(["sleep", 1], ["product", "p.fits", 10], hint=False)
    unit.hint()
    eventually(lambda: job.state == "running")
    os.killpg(stopped.process.pid, signal.SIGSTOP)
    try:
        time.sleep(unit.lease + 0.5)
        start_worker()
        unit.hint()
        done(job)
    finally:
        os.killpg(stopped.process.pid, signal.SIGCONT)
    assert job.attempt == 2
    eventually(lambda: "is no longer ours" in stopped.said, what="the first attempt is dropped")
    eventually(lambda: stopped.leftovers() == [], what="nothing is left in scratch")
    assert {409} >= {status for _, status in unit.refused}
    assert len(job.commits) == 1


def test_the_frontend_goes_away_and_comes_back(unit, start_worker, done):
    worker = start_worker()
    running = unit.submit(["sleep", 1], ["say", "worked on"], ["product", "p.fits", 10])
    process = job_process(worker, running)
    unit.stop()
    waiting = unit.submit(["product", "q.fits", 20])
    assert gone([process], 10)
    time.sleep(1.5)  # it ended while nobody could be told, and its lease ran out
    assert running.state == "running"
    unit.start()
    done(running)
    done(waiting)
    assert (running.attempt, len(running.commits), running.failures) == (1, 1, [])
    assert running.log.count("worked on") == 1
    assert worker.process.poll() is None


def test_the_frontend_is_away_at_the_start(unit, start_worker, done):
    unit.stop()
    worker = start_worker(up=False)
    eventually(lambda: "is away" in worker.said, what="it says so")
    unit.start()
    done(unit.submit(["product", "p.fits", 10]))


def test_redis_loses_everything(unit, redis, start_worker, done):
    worker = start_worker(slots=1)
    jobs = [unit.submit(["sleep", 0.1]) for _ in range(5)]
    redis.command("FLUSHALL")
    for job in jobs:
        done(job)
    later = unit.submit(["sleep", 0.1], hint=False)
    done(later, seconds=10)  # no hint at all: the slow poll finds it
    assert [len(job.commits) for job in [*jobs, later]] == [1] * 6
    assert worker.process.poll() is None


def test_redis_is_killed_and_started_again(unit, redis, start_worker, done):
    worker = start_worker()
    done(unit.submit(["sleep", 0.1]), seconds=10)  # by a hint: the connection stands
    redis.kill()
    without = unit.submit(["sleep", 0.1], hint=False)
    done(without, seconds=15)
    redis.start()
    time.sleep(3)
    started = time.monotonic()
    job = unit.submit(["sleep", 0.1])
    done(job, seconds=10)
    assert time.monotonic() - started < 8
    assert "Traceback" not in worker.said
