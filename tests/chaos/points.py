"""The points at which the chaos suite breaks something, and the schedule that a seed gives."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

# Places in the code (`processing_units.named_points`): the process that reaches one is killed, or stopped for a while.
IN_THE_CODE = (
    "submit.planned", "submit.run-written", "submit.written", "submit.committed",
    "dispatch.begun", "dispatch.sent", "claim.written", "claim.committed", "heartbeat.renewed",
    "commit.begun", "commit.promoted", "commit.written", "commit.committed", "commit.closed",
    "fail.begun", "fail.written", "reap.written", "reap.committed", "cancel.requested", "cancel.written",
    "keeper.locked",
    "node.claimed", "node.staged-in", "node.started", "node.ended", "node.staged-out", "node.committed",
    "backend.key-written", "backend.brought-up", "backend.noted",
)  # fmt: skip

# Requests on their way: the answer is lost, the request itself, half of it, or all of it comes late or twice.
REQUESTS = {
    "submit": "POST /api/v1/runs ", "claim": "POST /unit/claim ", "heartbeat": "POST /unit/heartbeat ",
    "commit": "POST /unit/commit ", "fail": "POST /unit/fail ", "up": "POST /unit/up ",
    "stage-in": "GET /data/files/", "stage-out": "PUT /data/staging/",
}  # fmt: skip

# Processes, whatever they do at that moment.
KILLED = (
    "portal", "portal's worker", "frontend", "frontend's worker", "keeper", "backend", "cluster manager", "node",
    "fork server", "job", "Redis",
)  # fmt: skip
STOPPED = ("portal's worker", "frontend's worker", "keeper", "cluster manager", "node", "job", "Redis", "backend")
# Connections and stores.
OTHERS = (
    "Redis: FLUSHALL", "Redis: connections cut", "all connections: cut", "all connections: silent",
    "database: away", "database: connections cut",
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One fault of a schedule: after a pause [s], at a point, for so long [s]; `chance` chooses among victims."""

    number: int
    point: str
    pause: float
    seconds: float
    chance: float


def all_points() -> list[str]:
    """Return all points, as the table names them."""
    points = [f"{point}: killed" for point in IN_THE_CODE]
    points += [f"{point}: stopped" for point in IN_THE_CODE]
    points += [f"{name}: answer lost" for name in REQUESTS]
    points += [f"{name}: request lost" for name in REQUESTS]
    points += [f"{name}: answer late" for name in REQUESTS]
    points += [f"{name}: cut in the middle" for name in ("commit", "stage-in", "stage-out", "submit")]
    points += [f"{name}: sent twice" for name in ("claim", "commit", "fail", "heartbeat")]
    points += [f"{name} killed" for name in KILLED]
    points += [f"{name} stopped" for name in STOPPED]
    return points + list(OTHERS)


def schedule(seed: int, faults: int, points: Sequence[str] | None = None) -> list[Fault]:
    """Return the faults that a seed gives: all points in a random order, and again, so that none comes much oftener."""
    chosen = random.Random(seed)
    names: list[str] = []
    while len(names) < faults:
        round_of_points = list(points or all_points())
        chosen.shuffle(round_of_points)
        names += round_of_points
    return [
        Fault(number, name, chosen.uniform(0.0, 0.8), chosen.uniform(0.3, 3.5), chosen.random())
        for number, name in enumerate(names[:faults], start=1)
    ]
