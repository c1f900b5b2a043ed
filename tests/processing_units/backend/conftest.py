"""The fake unit of the cluster manager's tests, and real backends that bring real cluster managers up."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from werkzeug.wrappers import Request, Response

from processing_units.joining.standard_code import StandardCode, pack

BESIDE = Path(__file__).parents[1] / "cluster_manager"
TREE = Path(__file__).parents[3]
sys.path.insert(0, str(BESIDE))

from fake_unit import KEY, FakeUnit, eventually  # noqa: E402


class UnitWithCode(FakeUnit):
    """A unit that gives code: ours, with recipes that are steps in a job file."""

    code: StandardCode

    def _application(self, environ, start_response):
        request = Request(environ)
        if not request.path.startswith("/unit/code"):
            return super()._application(environ, start_response)
        if not self._joins(request.headers["Authorization"].removeprefix("Bearer ")):
            return Response(status=401)(environ, start_response)
        manifest = {
            "digest": self.code.digest, "sha256": self.code.sha256, "size": len(self.code.bundle), "python": "3.11",
            "requirements": [],
        }  # fmt: skip
        body = json.dumps(manifest).encode() if request.path == "/unit/code" else self.code.bundle
        return Response(body)(environ, start_response)


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
def code(tmp_path_factory: pytest.TempPathFactory) -> StandardCode:
    """Our own code, with a fork server whose recipes are steps in a job file."""
    tree = tmp_path_factory.mktemp("code")
    for name in ("processing_units", "dataserver"):
        shutil.copytree(TREE / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "recipes").mkdir()
    for name in ("__init__.py", "__main__.py"):
        (tree / "recipes" / name).touch()
    shutil.copy(BESIDE / "fake_fork_server.py", tree / "recipes" / "fork_server.py")
    return pack(tree)


@pytest.fixture
def unit_with_code(files: Path, code: StandardCode) -> Iterator[FakeUnit]:
    """A unit whose nodes have nothing of ours but what it gives."""
    unit = UnitWithCode(files / "store", "redis://127.0.0.1:1/0")
    unit.code = code
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
