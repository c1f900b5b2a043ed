"""Many simulated slots at a real frontend: how busy they are kept, how long answers take, where the ceiling is."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.bench.recipes.table import BenchTable
from tests.bench.units.simulated_nodes import Node, Seen
from tests.bench.units.unit_under_test import UnitUnderTest

FILL_SECONDS = 600.0


@dataclass(frozen=True)
class Outcome:
    """What was seen from the moment when all slots had work to the end; ``busy`` is the share of the slots' time."""

    filled_after: float
    seconds: float
    busy: float
    done: int
    taken_away: int
    answers: dict[str, list[float]]
    frontend_cpu_seconds: float

    @property
    def jobs_a_second(self) -> float:
        """Jobs committed a second."""
        return self.done / self.seconds


def simulate(
    unit: UnitUnderTest, slots: int, slots_a_node: int, seconds: float, job_seconds: tuple[float, float]
) -> Outcome:
    """Let so many slots work for so many seconds after all have begun; the jobs must wait already."""
    with ThreadPoolExecutor(1) as one:  # our own thread may have a loop already: Playwright leaves one behind
        return one.submit(lambda: asyncio.run(_simulate(unit, slots, slots_a_node, seconds, job_seconds))).result()


async def _simulate(
    unit: UnitUnderTest, slots: int, slots_a_node: int, seconds: float, job_seconds: tuple[float, float]
) -> Outcome:
    seen = Seen()
    sizes = [min(slots_a_node, slots - first) for first in range(0, slots, slots_a_node)]
    began = time.monotonic()
    nodes = [
        asyncio.create_task(Node(unit.port, unit.key, f"node{number:04d}", size, job_seconds, seen).run())
        for number, size in enumerate(sizes)
    ]
    await _until(lambda: len(seen.answers.get("claim", ())) >= slots or any(node.done() for node in nodes))
    seen.begin_to_count()
    used = unit.frontend_cpu_seconds()
    await asyncio.sleep(seconds)
    counted = time.monotonic() - seen.counts_from
    used = unit.frontend_cpu_seconds() - used
    done, answers = seen.done, {path: list(took) for path, took in seen.answers.items()}
    for node in nodes:
        node.cancel()
    await asyncio.gather(*nodes, return_exceptions=True)
    for node in nodes:
        if not node.cancelled():
            node.result()  # raises what ended it
    busy = min(1.0, seen.busy_seconds / (slots * counted))
    return Outcome(seen.counts_from - began, counted, busy, done, seen.taken_away, answers, used)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(FILL_SECONDS):
        while not condition():
            await asyncio.sleep(0.05)


def tell(table: BenchTable, outcome: Outcome) -> None:
    """Add the rows of an outcome: answers by kind, and what the frontend used."""
    for path in ("claim", "commit", "heartbeat"):
        took = [1000 * each for each in outcome.answers.get(path, [])]
        if len(took) > 1:
            slowest = statistics.quantiles(took, n=100, method="inclusive")[98]
            table.tell(
                f"  {len(took)} answers to {path}, p50 and p99", f"{statistics.median(took):.0f}, {slowest:.0f} ms"
            )
    cpu = outcome.frontend_cpu_seconds
    table.tell("  CPU time of the frontend", f"{100 * cpu / outcome.seconds:.0f} % of a core")
