"""Partitions between nodes and the portal, of several lengths in each direction: what became of the work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tests.chaos.islands import PARTITIONS, Island
from tests.chaos.servers import Servers, wait_for

# A node that is not back by then does not come back.
BACK_WITHIN_SECONDS = 300.0


@dataclass
class Partition:
    """One partition: which, for how long [s], and what became of the attempts that were under way on its node."""

    kind: str
    seconds: float
    node: str
    began: float
    under_way: int = 0
    kept: int = 0
    elsewhere: int = 0
    back: float = 0.0


def divide(servers: Servers, lengths: Sequence[float]) -> list[Partition]:
    """Divide each island from the portal in its way, all at once, for each of the lengths [s] in turn."""
    from processing_units.frontend.models import ProcessingUnit

    # A unit made for this machine gives as many jobs at a time as it has cores: all nodes are to have work.
    ProcessingUnit.objects.update(slots=0)
    found = []
    for seconds in lengths:
        islands = list(zip(servers.islands, PARTITIONS, strict=True))
        for island, _ in islands:
            wait_for(lambda island=island: _under_way(island), f"work on {island.name}", BACK_WITHIN_SECONDS)
        began = time.time()
        running = {island.name: _under_way(island) for island, _ in islands}
        try:
            for island, kind in islands:
                island.divide(kind)
            time.sleep(seconds)
        finally:
            for island, kind in islands:
                island.join(kind)
        ended = time.time()
        for island, kind in islands:
            one = Partition(kind, seconds, island.name, began)
            one.back = _back(island, ended)
            _follow(one, running[island.name])
            found.append(one)
    return found


def rows(partitions: Sequence[Partition]) -> list[dict[str, object]]:
    """Return them as the report keeps them."""
    return [asdict(partition) for partition in partitions]


def _under_way(island: Island) -> set[int]:
    from processing_units.frontend.models import Attempt

    return set(Attempt.objects.filter(node=island.name, ended__isnull=True).values_list("pk", flat=True))


def _back(island: Island, ended: float) -> float:
    """Wait until the node does a job that it was given after the partition; return how long after [s] it got it."""
    from datetime import UTC, datetime

    from processing_units.frontend.models import Attempt

    moment = datetime.fromtimestamp(ended, UTC)
    fresh = Attempt.objects.filter(node=island.name, started__gte=moment, outcome="done").order_by("started")
    wait_for(fresh.exists, f"{island.name} comes back", BACK_WITHIN_SECONDS)
    return float(fresh[0].started.timestamp() - ended)


def _follow(one: Partition, attempts: set[int]) -> None:
    """Wait until the jobs of the attempts that were under way have ended; note who did them."""
    from processing_units.frontend.models import Attempt, Job

    one.under_way = len(attempts)
    jobs = Job.objects.filter(attempts__in=attempts)
    wait_for(lambda: not jobs.filter(state__in=("queued", "running")).exists(), "their jobs end", BACK_WITHIN_SECONDS)
    outcomes = list(Attempt.objects.filter(pk__in=attempts).values_list("outcome", flat=True))
    one.kept = outcomes.count("done")
    one.elsewhere = len(outcomes) - one.kept - outcomes.count("cancelled")


def show(partitions: Sequence[dict[str, object]], lost: int, double: int) -> None:
    """Print the table."""
    print("| partition | for | attempts under way | of them kept | lost, and run again | the node's next job after |")
    print("|-|-|-|-|-|-|")
    for row in partitions:
        print(f"| {row['kind']} | {row['seconds']:g} s | {row['under_way']} | {row['kept']} | {row['elsewhere']} | "
              f"{row['back']:.1f} s |")  # fmt: skip
    print(f"\n{lost} jobs lost, {double} done twice\n")
