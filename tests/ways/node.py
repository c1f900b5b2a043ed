"""``make try-node``: a single node, and a cluster of nodes under one frontend, changed by a manager while it works.

Starts a portal and a unit whose frontend has an address of its own: a backend brings a cluster manager up beside it,
and two more nodes join (as root: network namespaces, which reach the head node alone). While a night is reduced, a
process manager drains the unit, changes what it takes, and lets it go on. Checks that each change held at once, that
nothing was started anew, and that every job was committed once; prints who did what; leaves nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from recipes.catalogue import all_recipes
from tests.night.installation import TREE, Installation, observe
from tests.ways.folder import run_in_folder
from tests.ways.gateway import gateway
from tests.ways.hosts import Host, Lan, what_is_missing
from tests.ways.machines import SCRIPTS, Machine, wait_for
from tests.ways.slurm import running
from tests.ways.workers import USUAL, serving

UNIT = "head"
NODES = ("node1", "node2")
ELSEWHERE = "MasterFlat"  # what the unit stops taking while it works
_COMMITTED = re.compile(r"job (\d+)\.\d+ committed")


class Manager:
    """A process manager at a terminal: changes the unit, and keeps what the change met."""

    def __init__(self, installation: Installation, began: float) -> None:
        self._installation = installation
        self._began = began
        self.did: list[str] = []
        self.last_run_before = 0

    def unit(self) -> dict[str, Any]:
        """How the unit stands."""
        return dict(json.loads(self._installation.awrecipe("units", "show", UNIT, "--json")))

    def runs(self) -> list[dict[str, Any]]:
        """All runs."""
        return list(json.loads(self._installation.awrecipe("status", "--limit", "500", "--json")))

    def change(self, *words: str) -> dict[str, Any]:
        """Run ``awrecipe units ...``; return how the unit stands then."""
        unit = json.loads(self._installation.awrecipe("units", words[0], UNIT, *words[1:], "--json"))
        shown = " ".join([words[0], *(word if len(word) < 40 else f"{word[:37]}..." for word in words[1:])])
        met = f"{unit['busy']} ran, {unit['waiting']} waited"
        self.did.append(f"{time.monotonic() - self._began:6.0f} s  {met:20}  {shown}")
        return dict(unit)

    def move_what_is_not_taken(self) -> None:
        """Send on what waited for the unit when it was told not to take it any more: nobody else does."""
        for run in self.runs():
            if (run["recipe"], run["unit"], run["state"]) == (ELSEWHERE, UNIT, "queued"):
                self._installation.awrecipe("units", "move", str(run["id"]), "local")
                self.did.append(f"{time.monotonic() - self._began:6.0f} s  {'':20}  move {run['id']} local")


def main() -> int:
    """Run it in a folder of its own."""
    return run_in_folder("try-node", lambda folder: try_node(folder, observe(folder / "night", *USUAL)))


def try_node(folder: Path, night: Path) -> str:
    """Reduce a night on a node, then on three, while the unit is changed; return the table."""
    began = time.monotonic()
    installation = Installation(folder / "portal")
    with running(installation), network(folder / "net", installation) as (address, before, routes):
        options = ("--alias", "Cluster in the dome", "--host", address, "--kind", "local", "--default", "*")
        with serving(installation, UNIT, installation.port + 3, *options) as (_, key_file), ExitStack() as stack:
            url = f"http://{address}:{installation.port + 3}"
            machines = [Machine(name, folder / name, url, key_file, command) for name, command in before.items()]
            for machine in machines:
                stack.callback(machine.stop)
            log = stack.enter_context(backend(installation, url, key_file))
            manager = Manager(installation, began)
            _reduce(installation, night, manager, machines, log, routes)
            committed = {f"{UNIT} itself": _committed(log)}
            for machine in machines:
                [worker] = machine.workers
                worker.drain()
                committed[machine.name] = worker.committed
            return _table(manager, address, committed, time.monotonic() - began)


@contextmanager
def network(folder: Path, installation: Installation) -> Iterator[tuple[str, dict[str, list[str]], list[str]]]:
    """Yield the frontend's address, by what command a program runs on each node, and how nodes reach the portal."""
    if what_is_missing():
        yield "127.0.0.1", {name: [] for name in NODES}, []
        return
    lan = Lan(folder)
    with ExitStack() as stack:
        stack.callback(lan.close)
        for name in NODES:
            lan.hosts.append(Host(lan, name))
            subprocess.run(
                ["ip", "-n", lan.hosts[-1].namespace, "route", "add", "default", "via", lan.hosts[-1].ours], check=True
            )
        address = lan.hosts[0].ours
        ports = installation.port, installation.port + 2  # the portal, Redis
        stack.enter_context(gateway(address, ports))
        routes = [
            word
            for scheme, port in zip(("http", "redis"), ports, strict=True)
            for word in ("--route", f"{scheme}://127.0.0.1:{port}={scheme}://{address}:{port}")
        ]
        yield address, {host.name: ["ip", "netns", "exec", host.namespace] for host in lan.hosts}, routes


@contextmanager
def backend(installation: Installation, url: str, key_file: Path) -> Iterator[Path]:
    """Run the unit's backend beside its frontend, with a cluster manager of one slot; yield that one's log."""
    state = installation.home / "head-state"
    command = [str(SCRIPTS / "awbackend"), UNIT, "--url", url, "--key-file", str(key_file), "--state", str(state)]
    with (installation.home / "backend-head.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--slots", "1"], env=installation.environment, stdout=log, stderr=log, cwd=TREE,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield state / "logs" / f"{UNIT}-1.log"
    finally:
        process.terminate()
        process.wait(100)


def _reduce(
    installation: Installation, night: Path, manager: Manager, machines: list[Machine], log: Path, routes: list[str]
) -> None:
    with installation.running("night", str(night)):  # no unit is named: ours is the default
        wait_for(lambda: _committed(log), "the first job of the single node")
        workers = [machine.start(*routes, installed=True) for machine in machines]
        wait_for(lambda: all(worker.is_up for worker in workers), "the joining of the other nodes")
        servers = _servers(installation, manager)
        _change_on_the_fly(manager)
    assert _servers(installation, manager) == servers, "something was started anew"


def _change_on_the_fly(manager: Manager) -> None:
    """Drain, change what is taken, go on with one slot, then with all."""
    manager.change("drain")
    wait_for(lambda: manager.unit()["busy"] == 0, "the end of what ran")
    waited = manager.unit()["waiting"]
    taken = ",".join(name for name in all_recipes() if name != ELSEWHERE)
    changed = manager.change("set", f"recipes={taken}", "user_types=1,2,3,4", "memory=2G", "walltime=20m", "slots=1")
    assert (changed["settings"]["memory"], changed["settings"]["walltime"]) == ("2048", "1200")
    assert (changed["busy"], changed["waiting"] >= waited) == (0, True), "a drained unit began a job"
    manager.last_run_before = max(run["id"] for run in manager.runs())
    manager.move_what_is_not_taken()
    manager.change("accept")
    assert all(manager.unit()["busy"] <= 1 for _ in range(3)), "more jobs ran than the unit has slots"
    manager.change("set", "slots=0", "user_types=", "memory=4G")


def _servers(installation: Installation, manager: Manager) -> list[tuple[str, float]]:
    """Return the unit's cluster managers, and when its frontend's processes began."""
    managers = [(each["key"], 0.0) for each in manager.unit()["cluster_managers"]]
    frontends = [
        (str(each.pid), each.create_time())
        for each in psutil.process_iter(["cmdline", "environ"])
        if (each.info["cmdline"] or [])[-2:] == ["frontend", UNIT]
        and (each.info["environ"] or {}).get("AWPORTAL_HOME") == str(installation.home)
    ]
    assert frontends
    assert len(managers) == 1 + len(NODES), managers
    return sorted(managers) + sorted(frontends)


def _committed(log: Path) -> list[int]:
    return [int(number) for number in _COMMITTED.findall(log.read_text())] if log.exists() else []


def _table(manager: Manager, address: str, committed: dict[str, list[int]], seconds: float) -> str:
    runs = manager.runs()
    jobs = sum(sum(run["counts"].values()) for run in runs)
    ended = sum(run["counts"]["done"] + run["counts"]["failed"] for run in runs)
    counted = Counter(number for numbers in committed.values() for number in numbers)
    assert jobs == ended, f"{jobs} jobs, {ended} have ended"
    assert max(counted.values()) == 1, f"committed twice: {counted.most_common(3)}"
    elsewhere = {run["unit"] for run in runs if run["recipe"] == ELSEWHERE and run["id"] > manager.last_run_before}
    assert elsewhere <= {"local"}, f"{ELSEWHERE} ran on {elsewhere}"
    lines = [f"the unit's frontend at {address}, its manager meanwhile:", *manager.did, "", f"{'node':14}{'jobs':>5}"]
    lines += [f"{name:14}{len(numbers):5}" for name, numbers in committed.items()]
    others = sum(sum(run["counts"].values()) for run in runs if run["unit"] != UNIT)
    lines.append(f"{'unit local':14}{others:5}  what this unit did not take, {ELSEWHERE} among it")
    lines.append(f"{jobs} jobs, each committed once, lost 0; nothing was started anew; {seconds:.0f} s in all")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
