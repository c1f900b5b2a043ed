"""A backend keeps its cluster managers up, knows them again after its own death, and takes them down in order."""

import signal
import time

import psutil
import pytest
from fake_unit import eventually, gone

from processing_units.backend.catalogue import all_kinds

pytestmark = pytest.mark.processes


def manager_processes(unit):
    return [psutil.Process(int(up.cluster_manager.split("-")[-2])) for up in unit.ups]


def test_the_kinds_are_found():
    assert "local" in all_kinds()


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
    eventually(lambda: job.state == "done", 90)
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
    assert second.process.wait(100) == 0
    assert gone([manager])


def test_the_end_drains(unit, start_backend):
    job = unit.submit(["sleep", 1.5], hint=False)
    backend = start_backend()
    eventually(lambda: job.state == "running")
    managers = manager_processes(unit)
    backend.process.terminate()
    assert backend.process.wait(100) == 0
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
    assert backend.process.wait(100) == 0
    assert time.monotonic() - asked < 40
    assert [failure.fault for failure in job.failures] == ["preempted"]
    assert gone(managers, 0.5)


def test_a_second_backend_of_a_unit_is_refused(unit, start_backend):
    start_backend()
    second = start_backend(up=0)
    assert second.process.wait(100) == 2
    assert "another backend of unit test runs" in second.said


def test_a_test_that_is_wanted_is_made_once_and_told(unit, start_backend):
    start_backend(fixed=())
    unit.wanted = unit.wanted.model_copy(update={"test": 3})
    eventually(lambda: unit.reports[-1].tested == 3, 20)
    unit.wanted = unit.wanted.model_copy(update={"test": 0})
    known = len(unit.reports)
    eventually(lambda: len(unit.reports) > known, 20)
    assert unit.reports[-1].tested == 0


def test_what_the_manager_wants_holds_while_all_goes_on(unit, start_backend):
    job = unit.submit(["sleep", 4], ["product", "p.fits", 10], hint=False)
    start_backend(fixed=())
    eventually(lambda: job.state == "running")
    assert unit.ups[0].slots == 2
    unit.wanted = unit.wanted.model_copy(update={"cluster_managers": 2, "slots": 6})
    eventually(lambda: len(unit.ups) == 3, 40, "one with more slots beside the old one, and another")
    assert sorted(up.slots for up in unit.ups[1:]) == [3, 3]
    eventually(lambda: job.state == "done", 90)
    assert (job.attempt, len(job.commits)) == (1, 1)  # the old one drained
    eventually(lambda: len(unit.downs) == 1)
    unit.wanted = unit.wanted.model_copy(update={"cluster_managers": 0})
    eventually(lambda: len(unit.downs) == 3, 20)
    eventually(lambda: unit.reports[-1].places == [], 20)


def test_each_has_a_key_of_its_own_which_dies_with_it(unit, start_backend):
    backend = start_backend(fixed=())
    [key] = unit.keys.values()
    assert (backend.state / "test-1.key").read_text().strip() == key
    assert (backend.state / "test-1.key").stat().st_mode & 0o777 == 0o600
    manager_processes(unit)[0].kill()
    eventually(lambda: len(unit.ups) == 2, 30)
    assert list(unit.keys.values()) == [(backend.state / "test-1.key").read_text().strip()]
    assert key not in unit.keys.values()
    eventually(lambda: unit.reports[-1].places[0].state == "up")


def test_settings_that_are_not_understood_are_told_and_the_old_ones_hold(unit, start_backend):
    backend = start_backend(fixed=())
    unit.wanted = unit.wanted.model_copy(update={"settings": {"nicenes": 5}, "cluster_managers": 2})
    eventually(lambda: len(unit.ups) == 2, 30)
    assert "the unit's settings: nicenes: Extra inputs are not permitted; settings of kind local: niceness" in (
        backend.said
    )


def test_settings_hold_for_those_brought_up_from_now_on(unit, start_backend):
    unit.wanted = unit.wanted.model_copy(update={"settings": {"niceness": 7}})
    start_backend(fixed=())
    assert manager_processes(unit)[0].nice() == 7


def test_while_the_frontend_is_away_what_is_up_goes_on(unit, start_backend):
    job = unit.submit(["sleep", 3], ["product", "p.fits", 10], hint=False)
    backend = start_backend(fixed=())
    eventually(lambda: job.state == "running")
    unit.stop()
    eventually(lambda: "the frontend is away" in backend.said, 20)
    unit.start()
    eventually(lambda: "the frontend answers again" in backend.said, 20)
    eventually(lambda: job.state == "done", 90)
    assert len(unit.ups) == 1
