"""``make try-slurm-afar``: a night is reduced on a cluster of which nothing but ssh to its login host is reached.

Sets a portal up on this machine, and in network namespaces a login host and compute nodes with a real Slurm, from which
no way leads out. The unit's backend runs beside the portal. While jobs go on the connection is cut, the relay on the
login host killed and a queue job cancelled; every job must be committed once, with its log. Leaves nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from processing_units.backend.ssh_connection import SSH_CONFIG
from tests.night.installation import Installation, observe
from tests.slurm import PROGRAMS, Slurm
from tests.ways.cluster import PROGRAMS as CLUSTER_PROGRAMS
from tests.ways.cluster import Cluster, running_cluster
from tests.ways.folder import run_in_folder
from tests.ways.hosts import PORT, what_is_missing
from tests.ways.machines import lend_kernels, wait_for
from tests.ways.slurm import UNIT, backend, queue_jobs, running, running_jobs, table_of
from tests.ways.workers import USUAL, serving

Fault = Callable[[], None]


def main() -> int:
    """Run it in a folder of its own."""
    if missing := what_is_missing(*PROGRAMS, *CLUSTER_PROGRAMS):
        print(f"try-slurm-afar: {missing}", file=sys.stderr)
        return 2
    return run_in_folder("try-slurm-afar", _play)


def _play(folder: Path) -> str:
    installation = Installation(folder / "portal")
    with running(installation):
        night = observe(folder / "night", *USUAL)
        return try_slurm_afar(installation, folder, ["night", str(night)])


def try_slurm_afar(installation: Installation, folder: Path, command: list[str]) -> str:
    """Run a command of ``awrecipe`` through a cluster that is far away; return the table."""
    began = time.monotonic()
    with running_cluster(folder / "cluster") as cluster:
        assert cluster.what_reaches_out() == []
        home = cluster.login.home / "aw"
        lend_kernels(home / "software")
        options = ("--kind", "slurm", "--slots", "2", "--kind-settings", json.dumps(_settings(cluster, home)))
        with serving(installation, UNIT, installation.port + 4, *options) as (url, key_file):
            installation.awrecipe("units", "set", UNIT, "cluster_managers=2")
            with backend(folder, url, key_file, **{SSH_CONFIG: str(cluster.lan.configuration)}):
                tested = _tested(installation)
                _reduce_with_faults(installation, cluster, home, command, folder / "backend.log")
            left = [line for line in cluster.login.command_lines() if "stream_relay" in line]
            assert not left, f"left on the login host: {left}"
        table = table_of(installation, queue_jobs(cluster.slurm, folder / "backend" / "logs"), time.monotonic() - began)
        _check_logs(installation)
        return f"{tested}{table}"


def _settings(cluster: Cluster, home: Path) -> dict[str, object]:
    return {
        "login": f"root@{cluster.login.address}:{PORT}", "relay_address": cluster.address, "work_directory": str(home),
        "login_python": sys.executable, "python": sys.executable, "system_python": True,
        "node_directory": str(home / "nodes"), "walltime_minutes": 30, "slots": 1,
        "poll_seconds": 0.5, "idle_seconds": 3,
    }  # fmt: skip


def _tested(installation: Installation) -> str:
    """Return what the backend found when it looked at the login host."""
    said: list[str] = []

    def is_up() -> bool:
        try:
            said.append(installation.awrecipe("units", "test", UNIT))
        except AssertionError:
            return False
        return True

    wait_for(is_up, "a backend that is well", 180)
    return said[-1]


def _reduce_with_faults(
    installation: Installation, cluster: Cluster, home: Path, command: list[str], log: Path
) -> None:
    with installation.running(*command, "--unit", UNIT) as client:
        for fault in (
            lambda: _cut(cluster, log),
            lambda: _kill_relay(home),
            lambda: _cancel(cluster.slurm),
        ):
            wait_for(lambda: client.poll() is not None or running_jobs(installation), "a job", 300)
            assert client.poll() is None, (
                f"it ended before all had gone wrong: {client.stdout and client.stdout.read()}"
            )
            fault()
    wait_for(lambda: not cluster.slurm.jobs("pending,running,completing"), "the queue jobs' leaving", 60)


def _cut(cluster: Cluster, log: Path) -> None:
    """Cut the connection until that is noticed, and a little longer."""
    before = log.read_text().count("what was known before holds")
    cluster.login.stop_sshd()
    wait_for(lambda: log.read_text().count("what was known before holds") > before, "the cut's being noticed", 60)
    cluster.login.start()


def _kill_relay(home: Path) -> None:
    """Kill the relay on the login host, and wait for the next."""
    lock = home / f"relay-{UNIT}"
    before = lock.read_text()
    os.kill(int(before), signal.SIGKILL)
    wait_for(lambda: lock.read_text() not in ("", before), "another relay", 60)


def _cancel(slurm: Slurm) -> None:
    """Cancel a queue job from outside."""
    wait_for(lambda: slurm.jobs("running"), "a queue job", 60)
    slurm.run("scancel", slurm.jobs("running")[0][0])


def _check_logs(installation: Installation) -> None:
    """See that the log of each job that is done is there."""
    for run in json.loads(installation.awrecipe("status", "--limit", "500", "--json")):
        if run["counts"]["done"]:
            assert installation.awrecipe("logs", str(run["id"])).strip(), f"run {run['id']} has no log"


if __name__ == "__main__":
    sys.exit(main())
