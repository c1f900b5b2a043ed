"""Light stand-ins for many nodes: one process that speaks to a unit's frontend as cluster managers do, jobs that sleep.

Each node joins, beats every few seconds with all its jobs and their logs' tails, asks with all its free slots while
there is work and every five seconds when there is none, and obeys what the heartbeat brings back. Nothing is computed,
staged or hinted at: what is measured is what a frontend and its database carry.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from processing_units.contract import (
    Claim,
    ClusterManagerDown,
    ClusterManagerUp,
    Commit,
    Heartbeat,
    HeartbeatReply,
    JobBeat,
    JobSpec,
    Welcome,
)
from tests.bench.units.keep_alive import Connections

POLL_SECONDS = 5.0
# A node names that many of the files in its cache when it claims.
CACHED = [f"{number:064x}" for number in range(200)]


@dataclass
class Seen:
    """What all nodes together have seen: how long answers took, by path; jobs done; how long slots were busy [s]."""

    answers: dict[str, list[float]] = field(default_factory=dict)
    done: int = 0
    taken_away: int = 0
    busy_seconds: float = 0.0
    counts_from: float = float("inf")

    def begin_to_count(self) -> None:
        """Forget what was: all slots have work from now on."""
        self.answers.clear()
        self.done = self.taken_away = 0
        self.counts_from = time.monotonic()

    def worked(self, began: float, ended: float) -> None:
        """Note a job's own time, as far as it is counted."""
        self.busy_seconds += max(0.0, ended - max(began, self.counts_from))


class Node:
    """One cluster manager with its slots."""

    def __init__(
        self, port: int, key: str, name: str, slots: int, job_seconds: tuple[float, float], seen: Seen
    ) -> None:
        self._connections = Connections(port)
        self._key = key
        self._name = name
        self._slots = slots
        self._job_seconds = job_seconds
        self._seen = seen
        self._jobs: dict[int, tuple[JobSpec, int]] = {}
        self._logs: dict[int, str] = {}
        self._free = slots
        self._random = random.Random(name)

    async def run(self) -> None:
        """Join and work until cancelled, then leave: what runs goes back to the queue."""
        up = ClusterManagerUp(cluster_manager=self._name, node=self._name, slots=self._slots)
        welcome = Welcome.model_validate_json((await self._ask("up", up))[1])
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._beat(welcome.heartbeat_seconds))
                while True:
                    while self._free and (spec := await self._claim()) is not None:
                        tasks.create_task(self._work(spec))
                    await asyncio.sleep(POLL_SECONDS * self._random.uniform(0.8, 1.2))
        finally:
            await self._ask("down", ClusterManagerDown(cluster_manager=self._name, node=self._name, reason="over"))
            await self._connections.close()

    async def _claim(self) -> JobSpec | None:
        """Take a slot and a job for it; give the slot back where there is none."""
        self._free -= 1
        message = Claim(cluster_manager=self._name, node=self._name, slot=self._free, cached=CACHED)
        status, body = await self._ask("claim", message)
        if status == 204:
            self._free += 1
            return None
        return JobSpec.model_validate_json(body)

    async def _work(self, spec: JobSpec | None) -> None:
        while spec is not None:
            await self._run_one(spec)
            self._free += 1
            spec = await self._claim()

    async def _run_one(self, spec: JobSpec) -> None:
        self._jobs[spec.job] = spec, 0
        self._logs[spec.job] = f"{spec.recipe} of {len(spec.inputs)} inputs\n"
        began = time.monotonic()
        try:
            await asyncio.sleep(self._random.uniform(*self._job_seconds))
        finally:
            self._seen.worked(began, time.monotonic())
        _, arrived = self._jobs.pop(spec.job)
        message = Commit(
            job=spec.job, attempt=spec.attempt, products=[], seconds=1.0, peak_memory_mib=100.0,
            log_offset=arrived, log=self._logs.pop(spec.job)[arrived:],
        )  # fmt: skip
        status, _ = await self._ask("commit", message, spec.token)
        if status == 200:
            self._seen.done += 1
        else:
            self._seen.taken_away += 1

    async def _beat(self, every: float) -> None:
        while True:
            await asyncio.sleep(every * self._random.uniform(0.8, 1.2))
            jobs = []
            for job, (spec, arrived) in self._jobs.items():
                self._logs[job] += "still at it\n"
                log = self._logs[job][arrived:]
                jobs.append(
                    JobBeat(job=job, attempt=spec.attempt, progress=0.5, stage="work", log_offset=arrived, log=log)
                )
            message = Heartbeat(
                cluster_manager=self._name, node=self._name, slots=self._slots, busy=len(jobs), load=1.0, jobs=jobs
            )
            _, body = await self._ask("heartbeat", message)
            reply = HeartbeatReply.model_validate_json(body)
            self._seen.taken_away += len(reply.stop)
            for job, arrived in reply.log_offsets.items():
                if job in self._jobs:
                    self._jobs[job] = self._jobs[job][0], arrived

    async def _ask(self, path: str, message: object, token: str = "") -> tuple[int, bytes]:
        body = message.model_dump_json().encode()  # type: ignore[attr-defined]
        began = time.monotonic()
        status, answer = await self._connections.post(f"/unit/{path}", body, token or self._key)
        assert status in (200, 204, 409), (path, status, answer[:300])
        self._seen.answers.setdefault(path, []).append(time.monotonic() - began)
        return status, answer
