"""A cluster of which nothing but ssh to its login host is reached: real Slurm, sshd and relay, no way out."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_unit import FakeUnit, eventually

from processing_units.backend.kind import Check, Directions
from processing_units.backend.kinds.slurm import Slurm
from processing_units.backend.queue_settings import QueueSettings
from processing_units.backend.ssh_connection import SSH_CONFIG
from processing_units.contract import BackendDirections
from tests.slurm import PROGRAMS
from tests.ways.cluster import PROGRAMS as MORE_PROGRAMS
from tests.ways.cluster import Cluster, inside, running_cluster
from tests.ways.hosts import PORT, needs_hosts

TREE = Path(__file__).parents[3]
FORK_SERVER = Path(__file__).parents[1] / "cluster_manager" / "fake_fork_server.py"
pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(400),
    *(pytest.mark.program(*each) for each in (*PROGRAMS, *MORE_PROGRAMS)),
]


@pytest.fixture
def unit(unit_with_code: FakeUnit) -> FakeUnit:
    return unit_with_code


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    needs_hosts()
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def settings(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setenv(SSH_CONFIG, str(cluster.lan.configuration))
    return {
        "login": f"root@{cluster.login.address}:{PORT}", "login_python": sys.executable, "python": sys.executable,
        "relay_address": cluster.address, "work_directory": str(cluster.login.home / "aw"), "system_python": True,
        "walltime_minutes": 5, "slots": 1, "poll_seconds": 0.5, "idle_seconds": 90,
        "node_directory": str(cluster.login.home / "node"),
    }  # fmt: skip


def relay_of(cluster: Cluster) -> int:
    """Return the process of the relay on the login host; 0 while there is none."""
    lock = cluster.login.home / "aw" / "relay-test"
    number = int(lock.read_text() or 0) if lock.exists() else 0
    return number if number in cluster.login.processes() else 0


def test_jobs_run_where_no_way_leads_out_whatever_breaks(unit, cluster, settings, start_backend):
    assert cluster.what_reaches_out() == []
    unit.wanted = unit.wanted.model_copy(update={"kind": "slurm", "settings": settings})
    backend = start_backend("--kind", "slurm", up=0, fixed=(), worker=("--python", sys.executable))

    def submit():
        return unit.submit(["say", "begun"], ["sleep", 2], ["say", "ended"], ["product", "p.fits", 10], hint=False)

    first = submit()
    eventually(lambda: first.state == "running", 90, lambda: backend.said)
    cluster.login.stop_sshd()
    eventually(lambda: "what was known before holds" in backend.said, 90, lambda: backend.said)
    eventually(lambda: not relay_of(cluster), 90)
    cluster.login.start()
    eventually(lambda: first.state == "done", 90, lambda: backend.said)
    before = relay_of(cluster)
    second = submit()
    os.kill(before, signal.SIGKILL)
    eventually(lambda: relay_of(cluster) not in (0, before), 90, lambda: backend.said)
    eventually(lambda: second.state == "done", 90, lambda: backend.said)
    assert len(unit.ups) == 1  # one queue job went through all of it
    third = submit()
    eventually(lambda: third.state == "running", 90)
    cluster.slurm.run("scancel", cluster.slurm.jobs("running")[0][0])
    eventually(lambda: third.state == "done", 90, lambda: backend.said)
    assert [failure.fault for failure in third.failures] == ["preempted"]
    for job in (first, second, third):
        assert len(job.commits) == 1
        assert [job.log.count(word) for word in ("begun", "ended")] == [1, 1]
    backend.process.send_signal(signal.SIGTERM)
    assert backend.process.wait(90) == 0
    eventually(lambda: not relay_of(cluster), 90)
    assert cluster.slurm.jobs("pending,running") == []
    assert "was cancelled in the queue (scancel)" in (backend.state / "logs" / "test-1.log").read_text()
    assert list((cluster.login.home / "aw").glob("test-*")) == []


@pytest.fixture
def kind_with(unit, tmp_path: Path, settings: dict) -> Iterator[Callable[..., Slurm]]:
    """Make a kind with these settings, as a backend does."""
    kinds: list[Slurm] = []

    def make(**changed: object) -> Slurm:
        kind = Slurm()
        kinds.append(kind)
        kind.begin(Directions(0, "test", unit.url, tmp_path / "key", tmp_path / "log", tmp_path / "state", 1))
        kind.configure(QueueSettings.model_validate({**settings, **changed}))
        kind.wanted(BackendDirections(unit="test", kind="slurm", cluster_managers=1, slots=1))
        return kind

    yield make
    for kind in kinds:
        kind.close()


@pytest.fixture
def look(kind_with: Callable[..., Slurm], unit, tmp_path: Path) -> Callable[..., dict[str, Check]]:
    """Have a kind look; return what it found, by what it looked at."""
    directions = Directions(0, "test", unit.url, tmp_path / "key", tmp_path / "log", tmp_path / "state", 1)
    return lambda **changed: {check.what: check for check in kind_with(**changed).test(directions)}


# Listens at a port until its standard input ends.
LISTENER = """
import socket, sys
listening = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("taken", flush=True)
sys.stdin.read()
"""


def test_queue_jobs_whose_port_others_took_are_given_up(kind_with, unit, cluster, tmp_path):
    """It is on their command lines."""
    directions = Directions(1, "test", unit.url, tmp_path / "key", tmp_path / "log", tmp_path / "state", 1)
    directions.key_file.write_text("a key")
    cluster.slurm.drain_nodes()
    kind = kind_with()
    handle = kind.bring_up(directions)
    script = cluster.slurm.run("scontrol", "write", "batch_script", handle, "-")
    [port] = {word.rpartition(":")[2] for word in script.split() if word.startswith(f"http://{cluster.address}:")}
    os.kill(relay_of(cluster), signal.SIGKILL)
    listener = [*inside(cluster.login.namespace), sys.executable, "-c", LISTENER, cluster.address, port]
    with subprocess.Popen(listener, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"taken\n"
        eventually(lambda: handle in kind.ended([handle]), 90)
        other.communicate()
    assert [state for number, state, *_ in cluster.slurm.jobs() if number == handle] == ["CANCELLED"]
    cluster.slurm.resume_nodes()


def test_a_login_host_that_is_well(look, unit, cluster):
    found = look()
    assert {what: check.says for what, check in found.items() if not check.is_well} == {}
    assert list(found) == ["key", "Python", "disk", "clock", "relay", "queue"]
    assert found["relay"].says.startswith(f"{unit.url} at http://{cluster.address}:")
    assert not relay_of(cluster)


def test_login_hosts_that_are_not(look, unit, cluster, tmp_path):
    [no_way_in] = look(login=f"root@{cluster.login.ours}:1").values()
    assert f"{cluster.login.ours} is not reached" in no_way_in.says
    assert "set its path in the unit's settings (login_python)" in look(login_python="/no/python3")["Python"].says
    assert "set relay_address to the address" in look(relay_address="192.0.2.1")["relay"].says
    unit.stop()
    assert f"{unit.url} does not answer at http://{cluster.address}" in look()["relay"].says
    unit.start()


def test_a_queue_that_is_not_there(look, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "sh").symlink_to("/bin/sh")
    found = look(login="")
    assert list(found) == ["queue"]
    assert "there is no sbatch, scancel, squeue here: run awbackend on a login host" in found["queue"].says
