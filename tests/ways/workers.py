"""``make try-workers``: workers come and go while a night is reduced, on machines with nothing but a Python.

Starts a portal and a unit, lets workers join, kills one in mid-job, drains one, lets others join late; checks that the
night is complete and every job was committed once; prints who did what; leaves nothing.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.night.installation import TREE, Installation, observe
from tests.ways.folder import run_in_folder
from tests.ways.machines import Machine, Worker, lend_kernels, wait_for

UNIT = "workers"
SMALL = ("--chips", "1", "--size", "256x256", "--filters", "r", "--science", "2", "--standards", "0")
USUAL = ("--chips", "2", "--size", "256x256", "--filters", "r", "--science", "4", "--standards", "0")


def main() -> int:
    """Run it in a folder of its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seed", type=int, default=1, help="decides who is killed when (1)")
    given = arguments.parse_args()
    return run_in_folder(
        "try-workers",
        lambda folder: try_workers(folder, observe(folder / "night", *USUAL), given.seed, install=True),
    )


def try_workers(folder: Path, night: Path, seed: int, *, install: bool) -> str:
    """Reduce a night by workers that come and go; return the table. ``install``: one machine gets all by pip."""
    began = time.monotonic()
    installation = Installation(folder / "portal")
    installation.start()
    try:
        with serving(installation, UNIT, installation.port + 3) as (url, key_file):
            machines = [Machine(name, folder / name, url, key_file) for name in ("dome", "barn")]
            try:
                _reduce(installation, night, machines, random.Random(seed), install=install)
                return _table(installation, machines, began)
            finally:
                for machine in machines:
                    machine.stop()
    finally:
        installation.stop()


@contextmanager
def serving(installation: Installation, unit: str, port: int, *options: str) -> Iterator[tuple[str, Path]]:
    """Make a unit and run its frontend; yield its address and its key's file."""
    key_file = installation.home / "secrets" / f"unit-{unit}"
    manage = [sys.executable, str(TREE / "manage.py")]
    environment = {**installation.environment, **installation.servers}
    subprocess.run(
        [*manage, "unit", "create", unit, "--port", str(port), *options],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    with (installation.home / f"frontend-{unit}.log").open("wb") as log:
        frontend = subprocess.Popen([*manage, "frontend", unit], env=environment, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}", key_file
    finally:
        frontend.terminate()
        frontend.wait(100)


def _reduce(
    installation: Installation, night: Path, machines: list[Machine], chance: random.Random, *, install: bool
) -> None:
    dome, barn = machines
    wait_for(lambda: _downloaded(dome), "the frontend")
    lend_kernels(dome.folder / "cache" / "awportal" / "software")
    with installation.running("night", str(night), "--unit", UNIT):
        # The barn has this checkout, the dome nothing: its Python, and what pip brings.
        first = barn.start(installed=True)
        joining = dome.start(*([] if install else ["--system-python"]))
        wait_for(lambda: first.is_up, "the first worker's joining")
        wait_for(lambda: len(first.committed) > chance.randrange(3), "its first jobs", 180)
        wait_for(first.has_a_job, "another job", 60)
        first.kill()
        wait_for(lambda: joining.is_up, "the joining of a machine with nothing but a Python", 170)
        late = barn.start(installed=True)
        wait_for(lambda: late.is_up, "a late worker's joining")
        wait_for(lambda: len(joining.committed) > chance.randrange(3), "jobs of the first machine", 170)
        joining.drain()
        dome.start(*([] if install else ["--system-python"]))
    for worker in _all(machines):
        if worker.process.poll() is None:
            worker.drain()


def _downloaded(machine: Machine) -> bool:
    try:
        machine.download()
    except OSError:
        return False
    return True


def _all(machines: list[Machine]) -> list[Worker]:
    return [worker for machine in machines for worker in machine.workers]


def _table(installation: Installation, machines: list[Machine], began: float) -> str:
    workers = _all(machines)
    counted = Counter(number for worker in workers for number in worker.committed)
    assert counted, "the workers have done nothing"
    assert max(counted.values()) == 1, f"committed twice: {counted.most_common(3)}"
    products = [(product["run"], product["name"]) for product in installation.products() if product["run"]]
    assert products
    assert len(products) == len(set(products)), "a job has its products twice"
    for machine in machines:
        assert machine.left_in_scratch() == [], f"{machine.name} has files of jobs left"
    lines = [f"{'worker':8} {'joined':>8} {'left':>8}  {'jobs':>4}  how it left"]
    for worker in sorted(workers, key=lambda each: each.began):
        lines.append(
            f"{worker.name:8} {worker.began - began:6.0f} s {worker.ended - began:6.0f} s"
            f"  {len(worker.committed):4}  {worker.how}"
        )
    lines.append(
        f"{len(counted)} jobs, each committed once; {len(products)} products; {time.monotonic() - began:.0f} s in all"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
