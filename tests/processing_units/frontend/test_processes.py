"""The real processes: a unit's frontend, the keeper, Redis; killed, stopped and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery
from django.db import connection, connections
from kombu.entity import Exchange, Queue

from archive.context import Context
from archive.models import Product
from dataserver.store import Store
from processing_units.contract import Claim, ClusterManagerUp, Heartbeat, JobBeat, JobSpec
from processing_units.frontend.dispatch import HINT_TASK
from processing_units.frontend.models import Job, KeeperLock, Outbox, ProcessingUnit
from tests.local_servers import eventually, free_port
from tests.processing_units.frontend.conftest import (
    TREE,
    UNIT_KEY,
    Claimed,
    Redis,
    environment,
    manage,
    submitted,
    together,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

FAST = {"AWPORTAL_LEASE_SECONDS": "2", "AWPORTAL_HEARTBEAT_SECONDS": "0.5", "AWPORTAL_SWEEP_SECONDS": "0.3"}
FAST_AND_FORGIVING = {**FAST, "AWPORTAL_GRACE_SECONDS": "3"}


@pytest.fixture(autouse=True)
def two_slots(unit: ProcessingUnit) -> None:
    """The unit has a number of slots of its own, by which its queue is topped up."""
    unit.slots = 2
    unit.save()


@contextmanager
def running(*arguments: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    process = manage(*arguments, **more)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(100)


class Node:
    """A cluster manager's side of the wire."""

    def __init__(self, unit: ProcessingUnit) -> None:
        self._url = f"http://{unit.host}:{unit.port}/unit"

    def post(self, path: str, message: Any, key: str = UNIT_KEY, seconds: float = 20) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(f"{self._url}/{path}", content=message.model_dump_json(), headers=headers, timeout=seconds)

    def is_served(self) -> bool:
        try:
            message = ClusterManagerUp(cluster_manager="m", node="n", slots=2)
            return self.post("up", message, seconds=2).status_code == 200
        except httpx.HTTPError:
            return False

    def claim(self) -> Claimed | None:
        answer = self.post("claim", Claim(cluster_manager="m", node="n"))
        assert answer.status_code in (200, 204), answer.text
        return Claimed(JobSpec.model_validate_json(answer.content)) if answer.status_code == 200 else None

    def beat(self, one: Claimed) -> Any:
        beats = [JobBeat(job=one.spec.job, attempt=one.spec.attempt)]
        return self.post("heartbeat", Heartbeat(cluster_manager="m", node="n", slots=1, busy=1, jobs=beats)).json()

    def work(self, store: Store) -> bool:
        one = self.claim()
        if one is None:
            return False
        answer = self.post("commit", one.commit_message(one.stage(store)), one.spec.token)
        assert answer.status_code == 200, answer.text
        return True


@pytest.fixture
def node(unit: ProcessingUnit) -> Node:
    ProcessingUnit.objects.filter(pk=unit.pk).update(port=free_port(), alive_at=None, alive_since=None)
    unit.refresh_from_db()
    return Node(unit)


def test_each_worker_of_a_frontend_has_a_connection_of_its_own(
    context: Context, unit: ProcessingUnit, node: Node
) -> None:
    """Two that share one read each other's answers: a job is given to nobody, a key is said to be wrong."""
    unit.slots = 0
    unit.save()
    submitted(context, jobs=12)

    def ask_often(place: int) -> list[int]:
        message = Claim(cluster_manager=f"m{place}", node=f"n{place}")
        return [node.post("claim", message).status_code for _ in range(10)]

    with running("frontend", "local", "--workers", "2", **FAST_AND_FORGIVING):
        eventually(node.is_served, what="the frontend")
        answers = Counter(status for statuses in together(6, ask_often) for status in statuses)
    assert answers == {200: 12, 204: 48}


def test_a_frontend_serves_and_a_change_of_its_row_holds_at_once(
    context: Context, unit: ProcessingUnit, node: Node, store: Store
) -> None:
    submitted(context, jobs=2)
    with running("frontend", "local", **FAST):
        eventually(node.is_served, what="the frontend")
        first = node.claim()
        assert first is not None
        assert first.spec.limits.memory_mib == 4096
        manage("unit", "set", "local", "--memory-mib", "1234").wait()
        second = node.claim()
        assert second is not None
        assert second.spec.limits.memory_mib == 1234
        commit = first.commit_message(first.stage(store))
        assert node.post("commit", commit, first.spec.token).status_code == 200
        eventually(lambda: ProcessingUnit.objects.get().alive_since is not None, what="a sign of life")


def test_a_killed_frontend_comes_back_and_its_node_keeps_its_work(
    context: Context, unit: ProcessingUnit, node: Node, store: Store
) -> None:
    submitted(context)
    with running("keeper", **FAST_AND_FORGIVING), ExitStack() as first_life:
        frontend = first_life.enter_context(running("frontend", "local", **FAST_AND_FORGIVING))
        eventually(node.is_served, what="the frontend")
        one = node.claim()
        assert one is not None
        frontend.kill()
        frontend.wait()
        eventually(lambda: not node.is_served(), what="the worker's end")
        eventually(lambda: lease_is_over(one.job), what="the end of the lease")
        threading.Event().wait(1.5)  # three sweeps of a keeper that must not reap now
        assert one.job.state == "running"
        with running("frontend", "local", **FAST_AND_FORGIVING):
            eventually(node.is_served, what="the frontend again")
            assert node.beat(one)["stop"] == []
            answer = node.post("commit", one.commit_message(one.stage(store)), one.spec.token)
            assert answer.status_code == 200
    assert (one.job.state, one.job.attempt, one.job.lost_nodes) == ("done", 1, 0)


def lease_is_over(job: Job) -> bool:
    from processing_units.frontend.clock import database_now

    assert job.lease_until is not None
    return job.lease_until < database_now()


def test_a_lost_node_is_reaped_once_the_frontend_is_past_its_grace(
    context: Context, unit: ProcessingUnit, node: Node
) -> None:
    submitted(context)
    settings = {**FAST, "AWPORTAL_GRACE_SECONDS": "1"}
    with running("keeper", **settings), running("frontend", "local", **settings):
        eventually(node.is_served, what="the frontend")
        one = node.claim()
        assert one is not None
        eventually(lambda: one.job.state == "queued", what="the reaper")
        assert one.job.lost_nodes == 1
        again = node.claim()
        assert again is not None
        assert again.spec.attempt == 2
        assert node.beat(one)["stop"] == [[one.spec.job, 1]]


def test_a_port_in_use_and_a_wrong_name_are_told_in_one_line(unit: ProcessingUnit, node: Node) -> None:
    import socket

    with socket.create_server(("127.0.0.1", unit.port)):
        told = run_manage("frontend", "local")
        assert told.returncode == 1
        assert f"cannot listen on 127.0.0.1:{unit.port}: Address already in use" in told.stderr
        assert "Traceback" not in told.stderr
    told = run_manage("frontend", "hpc")
    assert (told.returncode, told.stderr.strip()) == (
        1, "CommandError: there is no unit 'hpc'; the units are: local",
    )  # fmt: skip


def run_manage(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TREE / "manage.py"), *arguments]
    return subprocess.run(
        command, env=environment(**more), cwd=TREE, capture_output=True, text=True, check=False, timeout=60
    )


def test_there_is_one_keeper_at_a_time(unit: ProcessingUnit) -> None:
    with running("keeper", **FAST) as first:
        eventually(lambda: KeeperLock.objects.filter(held_until__isnull=False).exists(), what="the first keeper")
        holder = KeeperLock.objects.get().holder
        assert str(first.pid) in holder
        with running("keeper", **FAST) as second:
            threading.Event().wait(2)
            assert KeeperLock.objects.get().holder == holder
            first.kill()  # it cannot give the lock back: the lock ends by itself
            eventually(lambda: str(second.pid) in KeeperLock.objects.get().holder, what="the second keeper")
    assert KeeperLock.objects.get().held_until is None


def test_a_flushed_broker_loses_nothing(
    context: Context, unit: ProcessingUnit, node: Node, store: Store, redis: Redis
) -> None:
    """R1: the hints are gone, every job is done once."""
    runs = [submitted(context, jobs=25) for _ in range(2)]
    hints = Hints(redis.url, lambda: node.work(store))
    with running("keeper", **FAST), running("frontend", "local", **FAST):
        eventually(node.is_served, what="the frontend")
        assert redis.command("LLEN", "unit.local") == 2 * unit.slots
        redis.command("FLUSHALL")  # what the next sweep sends may be there at once
        with hints:
            eventually(lambda: Job.objects.filter(state="done").count() > 10, 30, "the first ten")
            redis.command("FLUSHALL")
            eventually(lambda: not Job.objects.exclude(state="done").exists(), 60, "all jobs")
    assert set(Job.objects.values_list("attempt", flat=True)) == {1}
    assert Product.objects.filter(kind="ReadNoise").count() == 50
    assert all(type(run).objects.get(pk=run.pk).ended is not None for run in runs)


def test_a_broker_that_dies_and_comes_back_is_found_again(context: Context, unit: ProcessingUnit, redis: Redis) -> None:
    redis.kill()
    submitted(context, jobs=3)
    with running("keeper", **FAST):
        eventually(KeeperLock.objects.exists, what="the keeper")
        assert Outbox.objects.count() == 1
        redis.start()
        eventually(lambda: redis.command("LLEN", "unit.local") == 3, 30, "the hints")
        eventually(lambda: Outbox.objects.count() == 0, what="an empty outbox")


class Hints:
    """A node's Celery side: works once for every hint that arrives."""

    def __init__(self, url: str, work: Callable[[], bool]) -> None:
        self._app = Celery(broker=url, set_as_current=False)
        self._queue = Queue("unit.local", Exchange(""), routing_key="unit.local")
        self._work = work
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._consume)
        self.failed: Exception | None = None

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        assert self.failed is None

    def _consume(self) -> None:
        try:
            with self._app.connection_for_read() as broker:
                while not self._end.is_set():
                    message = broker.default_channel.basic_get("unit.local")
                    if message is None:
                        self._end.wait(0.02)
                        continue
                    assert broker.default_channel.message_to_python(message).headers["task"] == HINT_TASK
                    broker.default_channel.basic_ack(message.delivery_tag)
                    self._work()
        except Exception as error:  # noqa: BLE001 - handed to the test
            self.failed = error
        finally:
            connections.close_all()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the file of SQLite is what is taken away")
def test_the_keeper_outlives_a_database_that_is_away(context: Context, unit: ProcessingUnit, redis: Redis) -> None:
    with running("keeper", **FAST) as keeper:
        eventually(KeeperLock.objects.exists, what="the keeper")
        path = Path(str(connection.settings_dict["NAME"]))
        connection.close()
        away = path.with_suffix(".away")
        path.rename(away)
        path.mkdir()
        threading.Event().wait(1.5)
        path.rmdir()
        away.rename(path)
        assert keeper.poll() is None
        submitted(context)
        eventually(lambda: redis.command("LLEN", "unit.local") == 1, what="a hint")
