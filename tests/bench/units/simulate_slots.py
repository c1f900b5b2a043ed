"""A thousand slots at one frontend and PostgreSQL: ``make simulate-slots SLOTS=1000``.

First what one frontend carries when its slots never sleep, then slots whose jobs take 20 to 60 s each.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.bench.recipes.table import BenchTable
from tests.bench.units.bench_units import USER, database_url
from tests.bench.units.measurements import CORES
from tests.bench.units.simulation import Outcome, simulate, tell
from tests.bench.units.unit_under_test import Portal, UnitUnderTest, make_biases, use_django
from tests.night.installation import Installation

SLOTS = int(os.environ.get("SLOTS", "1000"))
SECONDS = 60 * float(os.environ.get("MINUTES", "3"))
WORKERS = int(os.environ.get("WORKERS", "1"))
SLOTS_A_NODE = int(os.environ.get("SLOTS_A_NODE", "8"))
JOB_SECONDS = (20.0, 60.0)
MEAN_SECONDS = sum(JOB_SECONDS) / 2
JOBS_A_RUN = 500
UNRESTING = 32
UNRESTING_SECONDS = 20.0


def main() -> None:
    """Set a portal up on PostgreSQL, simulate, print the table."""
    load = os.getloadavg()[0]
    table = BenchTable(
        f"{SLOTS} simulated slots, {WORKERS} worker(s) of the frontend, {CORES} cores, load {load:.1f} before it began"
    )
    with tempfile.TemporaryDirectory() as name, database_url("PostgreSQL", Path(name)) as settings:
        installation = Installation(Path(name) / "home", AWPORTAL_CANARY_SECONDS="0", **settings)
        try:
            installation.start()
            portal = Portal.of(installation)
            use_django(portal.environment)
            unit = UnitUnderTest(portal, "bench", WORKERS)
            try:
                measure(table, unit)
            finally:
                unit.stop()
        finally:
            installation.stop()
    table.show()


def measure(table: BenchTable, unit: UnitUnderTest) -> None:
    """Add the rows of a unit: its ceiling, and the slots that were asked for."""
    inputs = make_biases(USER, JOBS_A_RUN)
    queue(unit, inputs, 4)
    ceiling = simulate(unit, UNRESTING, SLOTS_A_NODE, UNRESTING_SECONDS, (0.0, 0.0))
    table.tell(f"{UNRESTING} slots whose jobs take no time", f"{ceiling.jobs_a_second:.1f} jobs/s",
               f"{ceiling.jobs_a_second * MEAN_SECONDS:.0f} slots at {MEAN_SECONDS:.0f} s a job")  # fmt: skip
    tell(table, ceiling)
    queue(unit, inputs, math.ceil(SLOTS * (2 + SECONDS / MEAN_SECONDS) / JOBS_A_RUN))
    busy = simulate(unit, SLOTS, SLOTS_A_NODE, SECONDS, JOB_SECONDS)
    show_busy(table, busy)


def queue(unit: UnitUnderTest, inputs: Sequence[int], runs: int) -> None:
    """Let so many runs of the same inputs wait."""
    for _ in range(runs):
        unit.submit(inputs)


def show_busy(table: BenchTable, outcome: Outcome) -> None:
    """Add the rows of slots whose jobs take their time."""
    low, high = JOB_SECONDS
    what = f"{SLOTS} slots, jobs of {low:.0f} to {high:.0f} s, busy"
    table.at_least(what, 100 * outcome.busy, "%", bar=95)
    table.tell("  until all had work", f"{outcome.filled_after:.1f} s")
    table.tell(f"  done in {outcome.seconds:.0f} s", f"{outcome.done} jobs", f"{outcome.jobs_a_second:.1f} jobs/s")
    table.tell("  taken away from nodes", str(outcome.taken_away))
    tell(table, outcome)


if __name__ == "__main__":
    main()
