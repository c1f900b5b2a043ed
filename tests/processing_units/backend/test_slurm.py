"""Cluster managers as queue jobs of a real Slurm: started here, two nodes, both on this machine."""

import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fake_unit import FakeUnit, eventually

from tests.slurm import PROGRAMS, Slurm

pytestmark = [pytest.mark.processes, *(pytest.mark.program(*program) for program in PROGRAMS)]

SETTINGS = {"poll_seconds": 0.5, "idle_seconds": 2, "walltime_minutes": 5, "slots": 2}


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    slurm = Slurm()
    slurm.start()
    yield slurm
    slurm.stop()


@pytest.fixture(autouse=True)
def an_empty_queue(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLURM_CONF", str(slurm.configuration))
    yield
    slurm.resume_nodes()
    slurm.cancel_all()


@pytest.fixture
def start(start_backend: Callable, unit: FakeUnit) -> Callable:
    """Start a backend of kind Slurm, whose unit wants so many cluster managers."""
    unit.wanted = unit.wanted.model_copy(update={"kind": "slurm", "settings": SETTINGS})

    def start(cluster_managers: int = 1, up: int = 0, **settings: object):
        unit.wanted = unit.wanted.model_copy(
            update={"cluster_managers": cluster_managers, "settings": {**SETTINGS, **settings}}
        )
        return start_backend("--kind", "slurm", up=up, fixed=())

    return start


def places(unit: FakeUnit) -> list[tuple[str, str]]:
    """Return state and reason of all places, as the unit's page shows them."""
    return [(place.state.value, place.reason) for place in unit.reports[-1].places] if unit.reports else []


def before(unit: FakeUnit) -> list[str]:
    """Return how those before ended."""
    return [place.before for place in unit.reports[-1].places] if unit.reports else []


def running(slurm: Slurm) -> list[str]:
    return [number for number, *_ in slurm.jobs("running")]


def test_there_are_queue_jobs_as_long_as_there_is_work(unit, start, slurm):
    backend = start(cluster_managers=2)
    eventually(lambda: unit.reports)
    assert (slurm.jobs(), unit.reports[0].places) == ([], [])
    jobs = [unit.submit(["sleep", 0.1], ["say", "said"], ["product", f"{n}.fits", 10], hint=False) for n in range(30)]
    eventually(lambda: all(job.state == "done" for job in jobs), 60)
    assert {len(job.commits) for job in jobs} == {1}
    assert all("said" in job.log for job in jobs)
    assert len(slurm.jobs()) == 2
    assert sorted(up.slots for up in unit.ups) == [2, 2]
    eventually(lambda: slurm.jobs("running,completing") == [], 20, "they leave")
    eventually(lambda: unit.reports[-1].places == [], 20)
    assert {down.reason for down in unit.downs} == {"drained"}
    assert [state for _, state, *_ in slurm.jobs()] == ["COMPLETED", "COMPLETED"]
    eventually(lambda: " up as " in (backend.state / "logs" / "test-1.log").read_text())
    assert list((backend.state / "queue").glob("test-*")) == []
    assert [path for path in (backend.state / "queue").rglob("*") if path.is_file()] == []


def test_scancel_and_pre_emption_lose_nothing_and_count_nothing(unit, start, slurm):
    job = unit.submit(["sleep", 8], ["product", "p.fits", 10], hint=False)
    start()
    eventually(lambda: job.state == "running", 30)
    slurm.run("scancel", *running(slurm))
    eventually(lambda: job.failures, 10)
    eventually(lambda: any("cancelled in the queue" in text for text in before(unit)), 20, lambda: unit.reports[-1])
    eventually(lambda: job.state == "running", 30)
    slurm.run("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--wrap=sleep 1", "--output=/dev/null")
    eventually(
        lambda: any("was pre-empted by the queue" in text for text in before(unit)), 30, lambda: unit.reports[-1]
    )
    assert [failure.fault for failure in job.failures] == ["preempted", "preempted"]
    eventually(lambda: job.state == "done", 40)
    assert (job.attempt, len(job.commits)) == (3, 1)


def test_what_waits_says_why_and_keeps_its_key_to_itself(unit, start, slurm):
    slurm.drain_nodes()
    job = unit.submit(["sleep", 0.5], hint=False)
    backend = start()
    eventually(lambda: [state for state, _ in places(unit)] == ["queued"], 20)
    eventually(lambda: "(Resources)" in places(unit)[0][1] or "DRAINED" in places(unit)[0][1], 20, lambda: places(unit))
    [key] = unit.keys.values()
    [key_file] = (backend.state / "queue").glob("*/key")
    assert key_file.read_text().strip() == key
    assert [stat.S_IMODE(path.stat().st_mode) for path in (key_file, key_file.parent)] == [0o600, 0o700]
    others = [path for path in (backend.state / "queue").rglob("*") if path.is_file() and path != key_file]
    assert any("#SBATCH" in path.read_text() for path in others)
    assert not any(key in path.read_text() for path in others)
    [[number, *_]] = slurm.jobs()
    assert key not in slurm.run("scontrol", "show", "job", number)
    slurm.run("scontrol", "uhold", number)
    eventually(lambda: [state for state, _ in places(unit)] == ["held"], 20)
    assert places(unit)[0][1] == "held by its user: scontrol release JOB (JobHeldUser)"
    slurm.resume_nodes()
    slurm.run("scontrol", "release", number)
    eventually(lambda: job.state == "done", 30)
    assert not key_file.exists()


def test_refusals_and_what_can_never_run_are_told_where_the_unit_is_looked_at(unit, start, slurm):
    unit.submit(["sleep", 0.1], hint=False)
    backend = start(queue="nope")
    eventually(lambda: "invalid partition specified: nope" in str(places(unit)), 20, lambda: places(unit))
    assert places(unit)[0][0] == "waiting"
    assert "slurm refuses the queue job" in backend.said
    assert slurm.jobs() == []
    unit.wanted = unit.wanted.model_copy(update={"settings": {**SETTINGS, "walltime_minutes": 120}})
    eventually(lambda: [state for state, _ in places(unit)] == ["held"], 30, lambda: places(unit))
    assert "walltime is longer than the partition allows" in places(unit)[0][1]
    unit.wanted = unit.wanted.model_copy(update={"cluster_managers": 0})
    eventually(lambda: unit.reports[-1].places == [], 20, lambda: unit.reports[-1])
    assert [state for _, state, *_ in slurm.jobs()] == ["CANCELLED"]
    settings = {**SETTINGS, "python": "/no/such/python"}
    unit.wanted = unit.wanted.model_copy(update={"cluster_managers": 1, "settings": settings})
    eventually(lambda: "failed with exit code 127" in str(before(unit)), 30, lambda: unit.reports[-1])
    assert "/no/such/python: No such file or directory" in before(unit)[0]


def test_a_node_that_fails_is_told_and_its_jobs_run_on_another(unit, start, slurm):
    job = unit.submit(["sleep", 8], ["product", "p.fits", 10], hint=False)
    start()
    eventually(lambda: job.state == "running", 30)
    [[_, _, _, node]] = slurm.jobs("running")
    assert places(unit)[0][0] == "queued" or unit.reports[-1].places[0].node == node
    manager = psutil.Process(int(unit.ups[0].cluster_manager.split("-")[-2]))
    slurm.kill_node(node)
    manager.kill()
    slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        eventually(lambda: any("the node failed" in text for text in before(unit)), 20, lambda: unit.reports[-1])
        eventually(lambda: job.state == "done", 40)
        assert (job.attempt, len(job.commits)) == (2, 1)
    finally:
        slurm.start_node(node)


def test_what_the_queue_forgets_has_vanished(unit, start, slurm):
    job = unit.submit(["sleep", 8], ["product", "p.fits", 10], hint=False)
    start()
    eventually(lambda: job.state == "running", 30)
    slurm.stop_controller()
    eventually(lambda: "squeue does not answer" in str(places(unit)), 30, lambda: places(unit))
    for process in reversed(family_of(unit)):
        process.kill()
    slurm.start_controller("-c")
    eventually(lambda: any("vanished" in text for text in before(unit)), 40, lambda: unit.reports[-1])
    eventually(lambda: job.state == "done", 40)
    assert len(job.commits) == 1


def family_of(unit: FakeUnit) -> list[psutil.Process]:
    """Return the processes of the first queue job: Slurm's own, the shells, the cluster manager."""
    manager = psutil.Process(int(unit.ups[0].cluster_manager.split("-")[-2]))
    return [
        *[each for each in manager.parents() if each.name() in ("bash", "slurmstepd", "slurm_script")][::-1],
        manager,
    ]


def test_a_backend_that_died_knows_its_queue_jobs_again_and_the_end_of_one_drains(unit, start, slurm):
    job = unit.submit(["sleep", 8], ["product", "p.fits", 10], hint=False)
    first = start()
    eventually(lambda: job.state == "running", 30)
    first.process.kill()
    first.process.wait()
    second = start()
    eventually(lambda: "is still up" in second.said)
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(100) == 0
    assert (job.state, job.attempt, len(job.commits)) == ("done", 1, 1)
    assert len(unit.ups) == 1
    assert slurm.jobs("pending,running") == []
    assert list(Path(second.state / "queue").glob("test-*")) == []
