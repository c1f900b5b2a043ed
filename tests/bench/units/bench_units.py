"""Units beside bare Celery on the same Redis with the same slots: ``make bench-units``.

No-op jobs through submit, claim, run in a process of their own, commit, on SQLite and on PostgreSQL; submit of 300
jobs; submit to start on an idle unit; two slots beside one on a real recipe; a user's code sent twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.bench.recipes.table import BenchTable
from tests.bench.units.measurements import CORES, idle_unit, no_op_jobs, sent_code, two_slots
from tests.bench.units.unit_under_test import Portal, UnitUnderTest, use_django
from tests.local_servers import free_port
from tests.night.installation import TREE, Installation, observe

JOBS = int(os.environ.get("JOBS", "1000"))
# Jobs a second a core that are asked for.
BARS = {"PostgreSQL": 25.0, "SQLite": 12.5}
USER = "astronomer"


def main() -> None:
    """Measure each database in a process of its own (Django knows one a process), print a table each."""
    if len(sys.argv) == 3:
        measure(Path(sys.argv[2]), sys.argv[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        for database in BARS:
            subprocess.run([sys.executable, __file__, database, folder], check=True)


def measure(folder: Path, database: str) -> None:
    """Print the table of one database."""
    load = os.getloadavg()[0]
    table = BenchTable(f"Units on {database}: {CORES} cores, {CORES} slots, load {load:.1f} before it began")
    with database_url(database, folder) as settings:
        installation = Installation(folder / database, **settings)
        try:
            installation.start()
            portal = Portal.of(installation)
            use_django(portal.environment)
            unit = UnitUnderTest(portal, "bench")
            try:
                no_op_jobs(table, unit, USER, JOBS, CORES, a_core=BARS[database])
                idle_unit(table, unit, USER, min(100, JOBS))
                unit.stop_cluster_managers()
                sent_code(table, portal, folder / f"{database}-tree")
                two_slots(table, unit, science_frames(installation, folder / "night"))
            finally:
                unit.stop()
        finally:
            installation.stop()
    table.show()


def science_frames(installation: Installation, night: Path) -> list[int]:
    """Let the simulated observatory take a night, once, and ingest it; return its science frames."""
    if not night.exists():
        observe(night, "--chips", "4", "--size", "1024x1024", "--filters", "r")
    installation.awrecipe("ingest", str(night))
    return [frame["id"] for frame in installation.products("--kind", "RawScience")]


@contextmanager
def database_url(database: str, folder: Path) -> Iterator[dict[str, str]]:
    """Give the settings that name a database, made for the time of the bench."""
    if database == "SQLite":
        yield {}
        return
    script, port = str(TREE / "tests" / "postgresql" / "cluster.sh"), str(free_port())
    folder.chmod(0o755)
    directory = folder / "postgresql"
    subprocess.run(["bash", script, "start", str(directory), port], check=True)
    try:
        yield {"AWPORTAL_DATABASE_URL": f"postgresql://app@127.0.0.1:{port}/postgres"}
    finally:
        subprocess.run(["bash", script, "stop", str(directory)], check=True)


if __name__ == "__main__":
    main()
