"""All processes of an installation with a unit of several nodes, started here, and started again when they die."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.islands import PARTITIONS, Island
from tests.chaos.wire import Wires
from tests.night.installation import TREE, _is_free

STAND_IN = Path(__file__).with_name("stand_in.py")
# A tenth of what is usual, so that what takes an hour of faults takes minutes.
TENTH = {
    "AWPORTAL_LEASE_SECONDS": "2", "AWPORTAL_HEARTBEAT_SECONDS": "0.5", "AWPORTAL_SWEEP_SECONDS": "0.5",
    "AWPORTAL_GRACE_SECONDS": "3", "AWPORTAL_CANARY_SECONDS": "0",
}  # fmt: skip
WORKERS = 2
SLOTS = 2
RESTART_SECONDS = 0.3
_PR_SET_CHILD_SUBREAPER = 36


class Servers:
    """Portal, frontend, two keepers, backend with a cluster manager, two workers, Redis; a database if need be.

    Users and workers reach portal and frontend through `wires`. With `divided`, the workers are on islands. A tenth of
    the usual leases and waits hold, unless `usual_times`.
    """

    def __init__(self, home: Path, database: str, *, divided: bool = False, usual_times: bool = False) -> None:
        # Whose parents die become our children, so that nothing gets out of sight.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.home = home
        self.faults = home / "faults"
        self.temporary = home / "tmp"
        for folder in (home, self.faults, self.temporary):
            folder.mkdir(parents=True)
        first = _free_ports(7)
        self._times = {"AWPORTAL_CANARY_SECONDS": "0"} if usual_times else TENTH
        self.islands = [Island(f"node{number + 1}") for number in range(len(PARTITIONS))] if divided else []
        self.postgresql = PostgreSQL(first + 5) if database == "PostgreSQL" else None
        self.port, self._wire_ports = first, (first + 3, first + 4, first + 6)
        self.wires = Wires()
        os.environ.update(self._environment())
        from awportal.launcher.embedded import Layout

        self.layout = Layout(home, first)
        self.programs: dict[str, Any] = {}
        self._end = threading.Event()
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._keep_up, name="restarts", daemon=True)

    @property
    def url(self) -> str:
        """Address of the portal, by way of the wires."""
        return f"http://127.0.0.1:{self._wire_ports[0]}"

    @property
    def token(self) -> str:
        """Token of the first user."""
        return self.layout.token_file.read_text().strip()

    def _environment(self) -> dict[str, str]:
        for name in [name for name in os.environ if name.startswith("AWPORTAL_")]:
            del os.environ[name]
        database = {"AWPORTAL_DATABASE_URL": self.postgresql.url} if self.postgresql else {}
        return {
            **self._times, **database, "CHAOS_TIMES": "1" if self._times is TENTH else "10",
            "AWPORTAL_HOME": str(self.home), "AWPORTAL_BASE_URL": self.url,
            "TMPDIR": str(self.temporary), "XDG_CACHE_HOME": str(self.home / "cache"), "AWPORTAL_LOG_LEVEL": "WARNING",
        }  # fmt: skip

    # ----------------------------------------------------------------------------------------------------- up and down

    def start(self) -> None:
        """Start everything and wait until it is up."""
        from awportal.launcher.__main__ import _prepare
        from awportal.launcher.embedded import programs

        if self.postgresql:
            self.postgresql.start()
        _prepare(self.layout)
        for port, target in zip(self._wire_ports, self.layout.ports, strict=True):
            self.wires.add(["127.0.0.1", *(island.ours for island in self.islands)], port, target)
        started = programs(self.layout)
        os.environ.update(self.layout.environment())
        python = self._python()
        for program, is_ready in started:
            if program.name == "backend":
                program.command = [*program.command, "--cluster-managers", "1", "--slots", str(SLOTS),
                                   "--drain-seconds", "3", "--", "--python", str(python)]  # fmt: skip
            self._begin(program, is_ready)
        keeper = self.programs["keeper"]
        self._begin(self._like(keeper, "second keeper", list(keeper.command)))
        for number in range(len(self.islands) or WORKERS):
            self._begin(self._like(keeper, f"worker {number + 1}", self._worker(number, python)))
        self._watcher.start()

    def _begin(self, program: Any, is_ready: Callable[[], bool] = lambda: True) -> None:
        program.environment = {**program.environment, "AWPORTAL_FAULTS": str(self.faults)}
        self.programs[program.name] = program
        program.start()
        wait_for(lambda: is_ready() or program.process.poll() is not None, f"start of {program.name}")
        assert program.process.poll() is None, program.last_lines(20)

    @staticmethod
    def _like(other: Any, name: str, command: list[str]) -> Any:
        return type(other)(name, command, other.environment, other.log.with_name(f"{name.replace(' ', '-')}.log"))

    def _worker(self, number: int, python: Path) -> list[str]:
        folder = self.home / f"node{number + 1}"
        prefix, host, routes = [], "127.0.0.1", []
        if self.islands:
            prefix, host = self.islands[number].prefix, self.islands[number].ours
            routes = [
                f"--route={self.url}=http://{host}:{self._wire_ports[0]}",
                f"--route=redis://127.0.0.1:{self.layout.ports[2]}=redis://{host}:{self._wire_ports[2]}",
            ]
        return [
            *prefix, sys.executable, "-m", "processing_units.cluster_manager", f"http://{host}:{self._wire_ports[1]}",
            *routes,
            "--key-file", str(self.layout.unit_key_file), "--slots", str(SLOTS), "--node", f"node{number + 1}",
            "--scratch", str(folder / "scratch"), "--cache", str(folder / "cache"), "--python", str(python),
        ]  # fmt: skip

    def _python(self) -> Path:
        path = self.home / "python"
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{STAND_IN}" "$@"\n')
        path.chmod(0o755)
        return path

    def _keep_up(self) -> None:
        while not self._end.wait(RESTART_SECONDS):
            for program in self.programs.values():
                if program.process.poll() is not None and not self._end.is_set():
                    program.start()
                    program.restarts += 1
        # For the kernel this thread is the parent of what it has started: with it they would all end at once.
        self._stopped.wait()

    def stop(self) -> list[str]:
        """Stop everything but the database as an administrator does; return what is left of processes."""
        self._end.set()
        names = list(reversed(self.programs))
        for name in names:
            process = self.programs[name].process
            if process.poll() is None:
                process.terminate()
        for name in names:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.programs[name].process.wait(60)
        deadline = time.monotonic() + 20
        while (left := self.living()) and time.monotonic() < deadline:
            time.sleep(0.1)
        told = [" ".join(command_of(process))[:200] for process in left]
        for process in left:
            process.kill()
        self._stopped.set()
        self.wires.close()
        while self.islands:
            self.islands.pop().remove()
        return told

    # ------------------------------------------------------------------------------------------------------- processes

    def living(self, *words: str) -> list[psutil.Process]:
        """Return our processes whose command line holds all `words`; the dead are buried on the way."""
        own = {program.process.pid for program in self.programs.values()}
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_ZOMBIE:
                    if process.pid not in own and process.ppid() == os.getpid():
                        with contextlib.suppress(ChildProcessError):
                            os.waitpid(process.pid, os.WNOHANG)
                    continue
                line = " ".join(process.cmdline())
                if process.username() != "postgres" and all(word in line for word in words):
                    found.append(process)
        return found

    def victims(self, name: str) -> list[list[psutil.Process]]:
        """Return the processes of a name; each with those that go down with it."""
        if name in ("portal", "frontend", "keeper", "backend"):
            return [[psutil.Process(self.programs[name].process.pid)]]
        if name == "Redis":
            return [[psutil.Process(self.programs["redis"].process.pid)]]
        if name.endswith("worker"):
            master = psutil.Process(self.programs[name.removesuffix("'s worker")].process.pid)
            return [[child] for child in master.children()]
        if name in ("cluster manager", "node"):
            managers = self.living("-m processing_units.cluster_manager")
            return [[manager, *(manager.children(recursive=True) if name == "node" else [])] for manager in managers]
        servers = self.living(STAND_IN.name)
        forked = {child.pid for server in servers for child in server.children()}
        if name == "fork server":
            return [[server] for server in servers if server.pid not in forked]
        return [[server] for server in servers if server.pid in forked]


class PostgreSQL:
    """A throw-away cluster."""

    def __init__(self, port: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="chaos-postgresql-"))
        self._folder.chmod(0o755)
        self._port = port
        self.url = f"postgresql://app@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it, also after a crash."""
        wait_for(lambda: self._script("start", str(self._port)) == 0, "PostgreSQL")

    def crash(self) -> None:
        """Kill its first process; the others follow."""
        number = int((self._folder / "directory" / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(number, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # as its next of kin we bury it: else it seems to run still
            os.waitpid(number, 0)

    def stop(self) -> None:
        """Stop it for good."""
        self._script("stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _script(self, *words: str) -> int:
        command = ["bash", str(TREE / "tests" / "postgresql" / "cluster.sh"), words[0], str(self._folder / "directory")]
        return subprocess.run([*command, *words[1:]], check=False, capture_output=True).returncode


@contextmanager
def running(home: Path, database: str, *, divided: bool = False, usual_times: bool = False) -> Iterator[Servers]:
    """Give servers that run; whatever happens, nothing of them is left."""
    servers = Servers(home, database, divided=divided, usual_times=usual_times)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
        if servers.postgresql:
            servers.postgresql.stop()


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def command_of(process: psutil.Process) -> list[str]:
    """Return the words of a process's command line, none of one that is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _free_ports(number: int) -> int:
    """Return the first of so many ports in a row that are free."""
    for first in range(20000 + os.getpid() % 1500 * 7, 32000, number):  # above are those of outgoing connections
        if all(_is_free(port) for port in range(first, first + number)):
            return first
    raise RuntimeError(f"no {number} free ports in a row")
