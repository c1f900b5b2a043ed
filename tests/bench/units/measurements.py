"""What is measured of a unit: no-op jobs beside bare Celery, submits, the way to an idle unit, two slots, sent code."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import redis

from tests.bench.recipes.table import BenchTable
from tests.bench.units.unit_under_test import Portal, UnitUnderTest, make_biases
from tests.local_servers import eventually
from tests.night.installation import TREE

CORES = os.cpu_count() or 1


def no_op_jobs(
    table: BenchTable, unit: UnitUnderTest, username: str, jobs: int, slots: int, *, a_core: float, submit_of: int = 300
) -> None:
    """Time jobs that do nothing from submit to the last commit, and as many tasks of bare Celery."""
    inputs, a_night = make_biases(username, jobs), make_biases(username, submit_of)
    unit.start_cluster_manager(slots, no_op=True)
    unit.wait_until_done(unit.submit(make_biases(username, slots)), slots)  # once to warm up
    began = time.perf_counter()
    run = unit.submit(a_night)
    table.bound(f"submit of {submit_of} jobs through the portal", time.perf_counter() - began, "s", at_most=1.0)
    unit.wait_until_done(run, submit_of)
    before = unit.cpu_seconds()
    began = time.perf_counter()
    run = unit.submit(inputs)
    submitting = time.perf_counter() - began
    unit.wait_until_done(run, jobs)
    ours = jobs / (time.perf_counter() - began)
    used = unit.cpu_seconds()
    celery = bare_celery(unit.portal.environment["AWPORTAL_BROKER_URL"], jobs, slots)
    table.at_least(f"{jobs} no-op jobs, submit to last commit, a core", ours / CORES, "jobs/s", bar=a_core)
    table.tell("  in all, beside bare Celery", f"{ours:.1f} jobs/s", f"{celery:.0f} tasks/s, {celery / ours:.1f} ×")
    table.tell("  of which submit", f"{submitting:.2f} s")
    for part, seconds in used.items():
        table.tell(f"  CPU time a job: {part}", f"{1000 * (seconds - before[part]) / jobs:.1f} ms")


def bare_celery(broker: str, tasks: int, slots: int) -> float:
    """Return no-op tasks a second of a Celery worker with as many processes as we have slots."""
    environment = os.environ | {"BARE_BROKER_URL": broker, "PYTHONPATH": str(TREE)}
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.units.bare_celery", "worker", "-P", "prefork",
               "-c", str(slots), "-l", "ERROR", "--without-gossip", "--without-mingle"]  # fmt: skip
    from tests.bench.units import bare_celery as peer

    peer.app.conf.broker_url = broker
    worker = subprocess.Popen(command, env=environment, cwd=TREE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with redis.Redis.from_url(broker) as client:
            client.delete(peer.COUNTER)
            peer.nothing.delay()
            eventually(lambda: int(client.get(peer.COUNTER) or 0) == 1, 120, "bare Celery")
            began = time.perf_counter()
            for _ in range(tasks):
                peer.nothing.delay()
            eventually(lambda: int(client.get(peer.COUNTER) or 0) == tasks + 1, 300, "the tasks of bare Celery")
            return tasks / (time.perf_counter() - began)
    finally:
        worker.terminate()
        worker.wait(30)
        peer.app.close()


def idle_unit(table: BenchTable, unit: UnitUnderTest, username: str, runs: int) -> None:
    """Time from the moment before a submit to the claim of its job, on a unit that has nothing else to do."""
    waits = []
    for _ in range(runs):
        inputs = make_biases(username, 1)
        began = time.time()
        run = unit.submit(inputs)
        unit.wait_until_done(run, 1, 60)
        waits.append(1000 * (unit.jobs.get(run=run).attempts.get().started.timestamp() - began))
    table.bound("submit to start on an idle unit, p50", statistics.median(waits), "ms", at_most=150)
    slowest = statistics.quantiles(waits, n=100, method="inclusive")[98]
    table.bound("submit to start on an idle unit, p99", slowest, "ms", at_most=500)


def two_slots(table: BenchTable, unit: UnitUnderTest, frames: Sequence[int], repeats: int = 2) -> None:
    """Time a real recipe with one slot that has one core, and with two; beside it two processes that only count.

    What the machine itself gives to two processes (shared memory bandwidth, other load) is the most that can be had.
    """
    seconds: dict[int, float] = {}
    for slots in (1, 2):
        unit.start_cluster_manager(slots, no_op=False, one_core=slots == 1)
        unit.wait_until_done(
            unit.submit(frames[:2], "Reduce"), 2
        )  # once to warm up: kernels loaded, files in the cache
        best = float("inf")
        for _ in range(repeats):
            began = time.perf_counter()
            unit.wait_until_done(unit.submit(frames, "Reduce"), len(frames))
            best = min(best, time.perf_counter() - began)
        seconds[slots] = best
        unit.stop_cluster_managers()
    allowed = 2 * _counting(1) / _counting(2)
    table.at_least(f"two slots beside one, Reduce of {len(frames)} frames", seconds[1] / seconds[2], "×", bar=1.9)
    table.tell("  two processes that count beside one", f"{allowed:.2f} ×")


def _counting(processes: int) -> float:
    code = "s = 0\nfor i in range(20_000_000): s += i"
    began = time.perf_counter()
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(processes)]
    for process in running:
        process.wait()
    return time.perf_counter() - began


def sent_code(table: BenchTable, portal: Portal, folder: Path, files: int = 500) -> None:
    """Time the first and the second send of a user's tree of so many files, as ``awrecipe run --code`` does it."""
    from awclient import client, configuration, shipping

    for number in range(files):
        place = folder / f"package{number % 20:02d}" / f"module{number:03d}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"value = {number}\n" + "# a line of a user's own program\n" * 100)
    chosen = configuration.Configuration(portal.url, portal.token)
    seconds = []
    with client.Portal(chosen) as connected:
        connected.whoami()
        for _ in range(2):
            began = time.perf_counter()
            shipping.ship(connected, folder)
            seconds.append(time.perf_counter() - began)
    table.bound(f"first send of a tree of {files} files", seconds[0], "s", at_most=1.0)
    table.bound("  the second time", seconds[1], "s", at_most=0.2)
