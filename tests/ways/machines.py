"""Machines that lend themselves to a unit: folders of their own, and workers that are started, drained and killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from processing_units.joining.software import KERNEL_TABLES, KERNELS
from tests.night.installation import TREE

SCRIPTS = Path(sys.executable).parent
_COMMITTED = re.compile(r"job (\d+)\.\d+ committed")


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    """Wait until a condition holds; fail with what it was."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def lend_kernels(software: Path) -> None:
    """Let a machine have run an older version of the code with the same kernels: to compile them takes minutes."""
    older = software / "code-older"
    for name in (KERNELS, *KERNEL_TABLES):
        (older / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (TREE / name).is_dir() else shutil.copy2
        copy(TREE / name, older / name)


@dataclass
class Worker:
    """An ``awworker`` on a machine, from its start to its end."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    how: str = "still there"

    @property
    def said(self) -> str:
        """What it has said."""
        return self.log.read_text()

    @property
    def is_up(self) -> bool:
        """Whether it has joined."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.said}")
        return " up as " in self.said

    @property
    def committed(self) -> list[int]:
        """Numbers of the jobs that it committed."""
        return [int(number) for number in _COMMITTED.findall(self.said)]

    def has_a_job(self) -> bool:
        """Whether a job of its runs at this moment."""
        try:
            servers = [
                each for each in psutil.Process(self.process.pid).children() if "recipes.fork_server" in each.cmdline()
            ]
            return any(server.children() for server in servers)
        except psutil.Error:
            return False

    def kill(self) -> None:
        """Kill -9, as when the power goes."""
        self.process.kill()
        self._note("killed in mid-job" if self.process.wait(100) == -signal.SIGKILL else "had ended before")

    def drain(self) -> None:
        """The first Ctrl-C: finish the running jobs and leave."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(120)
        assert code == 0, f"{self.name} ended with {code}:\n{self.said}"
        self._note("drained")

    def _note(self, how: str) -> None:
        self.ended, self.how = time.monotonic(), how


class Machine:
    """A machine of somebody: its own home, and one software folder, cache and scratch for all its workers."""

    def __init__(self, name: str, folder: Path, unit_url: str, key_file: Path, before: Sequence[str] = ()) -> None:
        """Make its folder; ``before`` is by what a program runs there, as in ``ip netns exec dome``."""
        self.name = name
        self.folder = folder
        self._unit_url = unit_url
        self._key_file = key_file
        self._before = before
        self.workers: list[Worker] = []
        folder.mkdir(parents=True)
        self.program = folder / "awworker"

    def download(self) -> None:
        """Get the one file from the unit's frontend."""
        with urllib.request.urlopen(f"{self._unit_url}/awworker", timeout=30) as answer:  # noqa: S310 - http, of this machine
            self.program.write_bytes(answer.read())

    @property
    def scratch(self) -> Path:
        """Where its jobs work."""
        return self.folder / "scratch"

    def start(self, *options: str, installed: bool = False) -> Worker:
        """Start a worker with one slot; the key goes by standard input."""
        name = f"{self.name}{len(self.workers) + 1}"
        program = [str(SCRIPTS / "awworker")] if installed else [sys.executable, str(self.program)]
        command = [*self._before, *program, self._unit_url, "--key-file", "-", "--slots", "1", "--node", self.name]
        command += ["--scratch", str(self.scratch), *options]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWPORTAL_", "PYTHONPATH"))
        }
        environment |= {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        log = self.folder / f"{name}.log"
        with log.open("wb") as stream, self._key_file.open("rb") as key:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                stdin=key,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        worker = Worker(name, process, log)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Make sure that nothing of it is left."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()

    def left_in_scratch(self) -> list[Path]:
        """Files of jobs that are still there."""
        return [path for path in self.scratch.rglob("*") if path.is_file() and path.name != "lock"]
