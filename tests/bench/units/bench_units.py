"""Units beside bare Celery on the same Redis with the same slots: ``make bench-units``.

No-op jobs through submit, claim, run in a process of their own, commit, on SQLite and on PostgreSQL; submit of 300
jobs; submit to start on an idle unit; two slots beside one on a real recipe.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.bench.recipes.table import BenchTable
from tests.bench.units.unit_under_test import UnitUnderTest, make_biases, use_django, write_environment
from tests.night.installation import SCRIPTS, TREE, Installation, observe

JOBS = int(os.environ.get("JOBS", "1000"))
SLOTS = os.cpu_count() or 2
IDLE_RUNS = min(100, JOBS)
DATABASES = ("SQLite", "PostgreSQL")


def main() -> None:
    """Measure each database in a process of its own (Django knows one a process), print one table."""
    if len(sys.argv) == 3:
        measure(Path(sys.argv[2]), sys.argv[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        for database in DATABASES:
            subprocess.run([sys.executable, __file__, database, folder], check=True)


def measure(folder: Path, database: str) -> None:
    """Print the table of one database."""
    table = BenchTable(f"Units on {database}, {SLOTS} slots, {os.cpu_count()} cores")
    with database_url(database, folder) as settings:
        installation = Installation(folder / database, **settings)
        installation.start()
        unit = None
        try:
            environment = write_environment(installation)
            models = use_django(environment)
            unit = UnitUnderTest(installation, "bench", SLOTS)
            no_op_jobs(
                table, unit, models, environment["AWPORTAL_BROKER_URL"], at_least=25 if database != "SQLite" else 12.5
            )
            idle_unit(table, unit, models)
            two_slots(table, unit, models, folder)
        finally:
            if unit is not None:
                unit.stop()
            installation.stop()
    table.show()


def no_op_jobs(table: BenchTable, unit: UnitUnderTest, models: Any, broker: str, at_least: float) -> None:
    """Time 1,000 jobs that do nothing, and as many tasks of Celery."""
    table_of_inputs = make_biases(JOBS)
    unit.start_cluster_manager(SLOTS, no_op=True)
    wait(lambda: models.ClusterManagerRecord.objects.filter(unit__name=unit.name).exists(), 60)
    _, seconds = unit.submit(make_biases(300, JOBS))
    table.bound("submit of 300 jobs through the portal", seconds, "s", at_most=1.0)
    wait(lambda: not open_jobs(models, unit), 300)
    began = time.perf_counter()
    run, submitting = unit.submit(table_of_inputs)
    wait(lambda: not open_jobs(models, unit), 600)
    ours = JOBS / (time.perf_counter() - began)
    done = models.Job.objects.filter(run=run, state="done").count()
    assert done == JOBS, f"{done} of {JOBS} jobs are done"
    celery = bare_celery(broker)
    table.at_least("no-op jobs, submit to last commit, a core", ours / (os.cpu_count() or 1), "jobs/s", bar=at_least)
    table.tell(
        "  in all, beside bare Celery", f"{ours:.1f} jobs/s", f"Celery {celery:.0f} tasks/s, 1 / {celery / ours:.1f}"
    )
    table.tell("  of which submit", f"{submitting:.2f} s")


def bare_celery(broker: str) -> float:
    """Return no-op tasks a second of a Celery worker with as many processes as we have slots."""
    import redis

    environment = os.environ | {"BARE_BROKER_URL": broker, "PYTHONPATH": str(TREE)}
    command = [str(SCRIPTS / "celery"), "-A", "tests.bench.units.bare_celery", "worker", "-P", "prefork", "-c",
               str(SLOTS), "-l", "ERROR", "--without-gossip", "--without-mingle"]  # fmt: skip
    os.environ["BARE_BROKER_URL"] = broker
    from tests.bench.units import bare_celery as peer

    client = redis.Redis.from_url(broker)
    worker = subprocess.Popen(command, env=environment, cwd=TREE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        peer.app.conf.broker_url = broker
        peer.nothing.delay()
        wait(lambda: int(client.get(peer.COUNTER) or 0) == 1, 60)
        began = time.perf_counter()
        for _ in range(JOBS):
            peer.nothing.delay()
        wait(lambda: int(client.get(peer.COUNTER) or 0) == JOBS + 1, 120)
        return JOBS / (time.perf_counter() - began)
    finally:
        worker.terminate()
        worker.wait(30)


def idle_unit(table: BenchTable, unit: UnitUnderTest, models: Any) -> None:
    """Time submit to start on an idle unit."""
    waits = []
    for number in range(IDLE_RUNS):
        began = time.time()
        run, _ = unit.submit(make_biases(1, 3 * JOBS + number))
        wait(lambda run=run: models.Job.objects.filter(run=run, state="done").exists(), 30)
        waits.append(1000 * (models.Job.objects.get(run=run).attempts.get().started.timestamp() - began))
    table.bound("submit to start on an idle unit, p50", statistics.median(waits), "ms", at_most=150)
    slowest = statistics.quantiles(waits, n=100, method="inclusive")[98]
    table.bound("submit to start on an idle unit, p99", slowest, "ms", at_most=500)
    unit.stop_cluster_managers()


def two_slots(table: BenchTable, unit: UnitUnderTest, models: Any, folder: Path) -> None:
    """Time a real recipe with one slot that has one core, and with two."""
    night = folder / "night"
    if not night.exists():
        observe(night, "--chips", "4", "--size", "1024x1024", "--filters", "r")
    unit.installation.awrecipe("ingest", str(night))
    frames = [frame["id"] for frame in unit.installation.products("--kind", "RawScience")]
    seconds = []
    for slots in (1, 2):
        unit.start_cluster_manager(slots, no_op=False, one_core=slots == 1)
        up = models.ClusterManagerRecord.objects.filter(unit__name=unit.name, down_at=None)
        wait(lambda slots=slots, up=up: sum(record.slots for record in up.all()) == slots, 60)
        unit.submit(frames[:2], "Reduce")  # once to warm up: kernels loaded, files in the cache
        wait(lambda: not open_jobs(models, unit), 300)
        began = time.perf_counter()
        unit.submit(frames, "Reduce")
        wait(lambda: not open_jobs(models, unit), 600)
        seconds.append(time.perf_counter() - began)
        unit.stop_cluster_managers()
    table.at_least(f"two slots beside one, Reduce of {len(frames)} frames", seconds[0] / seconds[1], "×", bar=1.9)


def open_jobs(models: Any, unit: UnitUnderTest) -> int:
    """Return how many jobs of the unit have not ended."""
    return int(models.Job.objects.filter(unit__name=unit.name, state__in=("queued", "running")).count())


def wait(condition: Any, seconds: float) -> None:
    """Wait until a condition holds; fail after so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)


@contextmanager
def database_url(database: str, folder: Path) -> Iterator[dict[str, str]]:
    """Give the settings that name a database, made for the time of the bench."""
    if database == "SQLite":
        yield {}
        return
    script = [str(TREE / "tests" / "postgresql" / "cluster.sh")]
    folder.chmod(0o755)
    directory = folder / "postgresql"
    subprocess.run(["bash", *script, "start", str(directory), "54377"], check=True)
    try:
        yield {"AWPORTAL_DATABASE_URL": "postgresql://app@127.0.0.1:54377/postgres"}
    finally:
        subprocess.run(["bash", *script, "stop", str(directory)], check=True)


if __name__ == "__main__":
    main()
