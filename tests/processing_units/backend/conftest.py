"""The fake unit of the cluster manager's tests, and real backends that bring real cluster managers up."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

BESIDE = Path(__file__).parents[1] / "cluster_manager"
TREE = Path(__file__).parents[3]
sys.path.insert(0, str(BESIDE))

from fake_unit import KEY, FakeUnit, eventually  # noqa: E402


class BackendProcess:
    """An ``awbackend`` with its state."""

    def __init__(self, process: subprocess.Popen, log: Path, state: Path) -> None:
        self.process = process
        self.log = log
        self.state = state

    @property
    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store and cache of the whole session: a new one makes hundreds of directories."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture
def unit(files: Path) -> Iterator[FakeUnit]:
    """A unit without a Redis: the slow poll is enough here."""
    unit = FakeUnit(files / "store", "redis://127.0.0.1:1/0")
    unit.start()
    yield unit
    unit.stop()


@pytest.fixture(scope="session")
def fake_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An executable that stands for the interpreter with the recipes, and is the fake fork server."""
    path = tmp_path_factory.mktemp("bin") / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{BESIDE / "fake_fork_server.py"}" "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def start_backend(tmp_path: Path, unit: FakeUnit, fake_python: Path) -> Iterator[Callable[..., BackendProcess]]:
    backends: list[BackendProcess] = []
    key_file = tmp_path / "unit.key"
    key_file.write_text(KEY)

    def start(
        *arguments: str, up: int = 1, worker: tuple[str, ...] = (), fixed: tuple[str, ...] = ("--slots", "2")
    ) -> BackendProcess:
        log, state = tmp_path / f"backend{len(backends)}.log", tmp_path / "state"
        command = [sys.executable, "-m", "processing_units.backend", unit.name, "--url", unit.url]
        command += ["--key-file", str(key_file), "--state", str(state), *fixed, *arguments]
        command += [
            "--",
            "--python",
            str(fake_python),
            "--minimum-free",
            "1M",
            "--cache",
            str(unit.store.root.parent / "cache"),
            *worker,
        ]
        before = len(unit.ups)
        with log.open("wb") as stream:
            process = subprocess.Popen(command, cwd=TREE, stdout=stream, stderr=stream)
        backends.append(BackendProcess(process, log, state))
        eventually(lambda: len(unit.ups) >= before + up, 60, "the cluster managers are up")
        return backends[-1]

    yield start
    for backend in backends:
        if backend.process.poll() is None:
            backend.process.kill()
        backend.process.wait()
    for number in {int(up.cluster_manager.split("-")[-2]) for up in unit.ups}:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(number)
            if "processing_units.cluster_manager" in process.cmdline():
                process.kill()
