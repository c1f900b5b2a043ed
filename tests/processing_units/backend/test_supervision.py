"""A backend keeps its cluster managers up, knows them again after its own death, and takes them down in order."""

import signal
import time

import psutil
import pytest
from fake_unit import eventually, gone

from processing_units.backend.main import all_kinds

pytestmark = pytest.mark.processes


def manager_processes(unit):
    return [psutil.Process(int(up.cluster_manager.split("-")[-2])) for up in unit.ups]


def test_the_kinds_are_found():
    assert sorted(all_kinds()) == ["local"]


def test_it_brings_up_the_wanted_number_with_their_logs(unit, start_backend):
    backend = start_backend("--cluster-managers", "2", up=2)
    assert [up.slots for up in unit.ups] == [2, 2]
    logs = sorted(path.name for path in (backend.state / "logs").iterdir())
    assert logs == ["test-1.log", "test-2.log"]
    eventually(lambda: " up as " in (backend.state / "logs" / "test-1.log").read_text())


def test_one_that_dies_is_brought_up_anew_and_its_job_runs_again(unit, start_backend):
    job = unit.submit(["sleep", 2], ["product", "p.fits", 10], hint=False)  # before: the first poll finds it
    start_backend()
    eventually(lambda: job.state == "running")
    family = [manager_processes(unit)[0], *manager_processes(unit)[0].children(recursive=True)]
    family[0].kill()
    assert gone(family)
    eventually(lambda: job.state == "done", 20)
    assert (job.attempt, len(job.commits), len(unit.ups)) == (2, 1, 2)


def test_a_backend_that_died_goes_on_with_what_is_there(unit, start_backend):
    first = start_backend()
    eventually((first.state / "test.cluster-managers.json").exists)
    first.process.kill()
    first.process.wait()
    [manager] = manager_processes(unit)
    second = start_backend(up=0)
    eventually(lambda: "is still up" in second.said)
    time.sleep(1)
    assert len(unit.ups) == 1
    second.process.terminate()
    assert second.process.wait(20) == 0
    assert gone([manager])


def test_the_end_drains(unit, start_backend):
    job = unit.submit(["sleep", 1.5], hint=False)
    backend = start_backend()
    eventually(lambda: job.state == "running")
    managers = manager_processes(unit)
    backend.process.terminate()
    assert backend.process.wait(20) == 0
    assert len(job.commits) == 1
    assert gone(managers, 0.5)
    assert [down.reason for down in unit.downs] == ["drained"]


@pytest.mark.parametrize("how", ["a second signal", "the end of its patience"])
def test_what_takes_too_long_is_stopped(unit, start_backend, how):
    job = unit.submit(["sleep", 60], hint=False)
    backend = start_backend(*(["--drain-seconds", "1"] if how == "the end of its patience" else []))
    eventually(lambda: job.state == "running")
    managers = manager_processes(unit)
    asked = time.monotonic()
    backend.process.terminate()
    if how == "a second signal":
        time.sleep(1)
        backend.process.send_signal(signal.SIGTERM)
    assert backend.process.wait(20) == 0
    assert time.monotonic() - asked < 8
    assert [failure.fault for failure in job.failures] == ["preempted"]
    assert gone(managers, 0.5)


def test_a_second_backend_of_a_unit_is_refused(unit, start_backend):
    start_backend()
    second = start_backend(up=0)
    assert second.process.wait(10) == 2
    assert "another backend of unit test runs" in second.said
