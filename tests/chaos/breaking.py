"""How each fault is done to the running processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.chaos.load import Users
from tests.chaos.points import IN_THE_CODE, REQUESTS, Fault
from tests.chaos.servers import Servers, command_of, wait_for
from tests.chaos.wire import Trouble

# A point that is not reached in this time is not reached at all: a defect of the suite, or of what should reach it.
PATIENCE_SECONDS = 300.0
# What has to happen for a point to be reached that the usual work does not reach by itself.
_ASK_AGAIN_SECONDS = 3.0


class Breaker:
    """Does faults to servers."""

    def __init__(self, servers: Servers, users: Users) -> None:
        self._servers = servers
        self._users = users

    def do(self, fault: Fault) -> float:
        """Do a fault to its end; return the time [Unix time, s] at which it happened.

        Raises
        ------
        TimeoutError
            The point was not reached.
        """
        name, _, how = fault.point.partition(": ")
        if name in IN_THE_CODE:
            return self._at_a_point(name, "kill" if how == "killed" else "stop", fault.seconds)
        if name in REQUESTS:
            return self._on_the_way(name, how, fault.seconds)
        if name in ("Redis", "all connections", "database"):
            return self._to_a_server(fault.point, fault.seconds)
        name, _, how = fault.point.rpartition(" ")
        return self._to_a_process(name, how, fault)

    # ------------------------------------------------------------------------------------------------------ at a point

    def _at_a_point(self, point: str, how: str, seconds: float) -> float:
        wanted = self._servers.faults / point
        draft = wanted.with_suffix(".draft")
        draft.write_text(how)
        draft.rename(wanted)
        try:
            self._until(lambda: not wanted.exists(), point)
        except TimeoutError:
            with contextlib.suppress(FileNotFoundError):  # else somebody comes by in this moment
                wanted.unlink()
                raise
        happened = time.time()
        taken = next(self._servers.faults.glob(f"{point}.*"))
        if how == "stop":
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(taken.suffix[1:]), signal.SIGCONT)
        taken.unlink()
        return happened

    def _on_the_way(self, request: str, how: str, seconds: float) -> float:
        trouble = Trouble(request, how, seconds)
        self._servers.wires.lay(trouble)
        try:
            self._until(trouble.met.is_set, f"request.{request}")
        finally:
            self._servers.wires.take_back(trouble)
        return time.time()

    def _until(self, happened: object, point: str) -> None:
        """Wait until it happened, and bring it about where the usual work does not."""
        assert callable(happened)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happened():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{point} was not reached")
            self._bring_about(point)
            with contextlib.suppress(TimeoutError):
                wait_for(happened, point, _ASK_AGAIN_SECONDS)

    def _bring_about(self, point: str) -> None:
        if point.startswith("reap."):
            self._kill_a_manager_at_work()
        elif point == "request.up":
            self._kill_worker()
        elif point.startswith("fail.") or point == "request.fail":
            for family in self._servers.victims("job"):
                _signal(family, signal.SIGKILL)
        elif point.startswith("cancel."):
            self._users.cancel_next.set()
        elif point.startswith("backend."):
            for manager in self._servers.living("-m processing_units.cluster_manager"):
                if not _is_worker(manager):
                    _signal([manager], signal.SIGKILL)
            _signal(self._servers.victims("backend")[0], signal.SIGKILL)
        elif point == "request.stage-in":
            for objects in self._servers.home.glob("node*/cache/objects/*"):
                for file in objects.iterdir():
                    with contextlib.suppress(OSError):
                        file.unlink()

    def _kill_a_manager_at_work(self) -> None:
        """Kill a cluster manager that has a job: without one there is no lease to end, and a new one takes seconds."""
        for family in self._servers.victims("job"):
            with contextlib.suppress(psutil.NoSuchProcess):
                above = [each for each in family[0].parents() if _is_manager(each)]
                if above:
                    _signal(above[:1], signal.SIGKILL)
                    return

    def _kill_worker(self) -> None:
        for manager in self._servers.living("-m processing_units.cluster_manager"):
            if _is_worker(manager):
                _signal([manager], signal.SIGKILL)
                return

    # ----------------------------------------------------------------------------------------------------- to a process

    def _to_a_process(self, name: str, how: str, fault: Fault) -> float:
        families: list[list[psutil.Process]] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not families:
            if time.monotonic() > deadline:
                raise TimeoutError(f"there is no {name}")
            with contextlib.suppress(psutil.NoSuchProcess):
                families = self._servers.victims(name)
        family = families[int(fault.chance * len(families))]
        if how == "killed":
            _signal(family, signal.SIGKILL)
            return time.time()
        _signal(family, signal.SIGSTOP)
        happened = time.time()
        time.sleep(fault.seconds)
        _signal(family, signal.SIGCONT)
        return happened

    # ------------------------------------------------------------------------------------------------------ to a server

    def _to_a_server(self, point: str, seconds: float) -> float:
        happened = time.time()
        if point == "Redis: FLUSHALL":
            self._redis("FLUSHALL")
        elif point == "Redis: connections cut":
            self._redis("CLIENT", "KILL", "TYPE", "normal")
        elif point == "all connections: cut":
            self._servers.wires.cut(seconds)
        elif point == "all connections: silent":
            self._servers.wires.silence(seconds)
        elif self._servers.postgresql is None:
            _hold(self._servers.home / "awportal.sqlite3", seconds)
        elif point == "database: away":
            self._servers.postgresql.crash()
            time.sleep(seconds)
            self._servers.postgresql.start()
        else:
            _cut_sessions(self._servers.postgresql.url)
        return happened

    def _redis(self, *words: str) -> None:
        import redis

        broker = urlsplit(os.environ["AWPORTAL_BROKER_URL"])
        with contextlib.suppress(redis.RedisError):  # it may be starting still: then it has lost that already
            client = redis.Redis.from_url(broker.geturl(), socket_timeout=5)
            client.execute_command(*words)


def _is_manager(process: psutil.Process) -> bool:
    return "processing_units.cluster_manager" in command_of(process)


def _is_worker(process: psutil.Process) -> bool:
    return "--node" in command_of(process)


def _signal(family: list[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _hold(database: Path, seconds: float) -> None:
    """Keep everyone else from writing, as something does that copies the database."""
    connection = sqlite3.connect(database, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _cut_sessions(url: str) -> None:
    import psycopg

    # A connection of its own: ours may have ended with a server that was killed before.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                           "AND backend_type = 'client backend'")  # fmt: skip


def remove(folder: Path) -> None:
    """Remove what the suite has made."""
    shutil.rmtree(folder, ignore_errors=True)
