"""A unit of its own beside a running portal: frontend, cluster managers with a no-op recipe, many small jobs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from tests.local_servers import eventually, free_port, listens
from tests.night.installation import TREE, Installation

NO_OP_FORK_SERVER = TREE / "tests" / "bench" / "units" / "no_op_fork_server.py"


@dataclass(frozen=True)
class Portal:
    """A portal that runs: its folder, address and a user's token, and the environment of processes beside it."""

    home: Path
    url: str
    token: str
    environment: dict[str, str]
    launcher: int | None = None

    @classmethod
    def of(cls, installation: Installation) -> Portal:
        """Return the portal of an installation that was started."""
        token = (installation.home / "secrets" / "token").read_text().strip()
        found = installation.processes("manage.py", "keeper")[0].environ()
        settings = {name: value for name, value in found.items() if name.startswith(("AWPORTAL_", "DJANGO_"))}
        environment = installation.environment | settings
        return cls(installation.home, installation.url, token, environment, installation.process)

    @property
    def postgresql(self) -> list[int]:
        """The server of its database, where it has one."""
        port = str(urlsplit(self.environment.get("AWPORTAL_DATABASE_URL", "")).port)
        found = psutil.process_iter(["name", "cmdline"])
        return [server.pid for server in found if server.info["name"] == "postgres" and port in server.info["cmdline"]]


class UnitUnderTest:
    """A unit with its frontend and cluster managers.

    Parameters
    ----------
    portal : Portal
        What it belongs to.
    name : str
        Of the unit.
    workers : int, optional
        Processes of its frontend.
    """

    def __init__(self, portal: Portal, name: str, workers: int = 1) -> None:
        self.portal = portal
        self.name = name
        self.port = free_port()
        self._key_file = portal.home / f"{name}.key"
        self._managers: list[subprocess.Popen[bytes]] = []
        from django.core.management import call_command

        call_command("unit", "create", name, port=self.port, key_file=self._key_file, stdout=io.StringIO())
        command = [sys.executable, str(TREE / "manage.py"), "frontend", name, "--workers", str(workers)]
        self._frontend = self._start(command, "frontend")
        eventually(lambda: listens(self.port), 60, "the frontend")

    @property
    def url(self) -> str:
        """Address of its frontend."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """Its key."""
        return self._key_file.read_text().strip()

    @property
    def jobs(self) -> Any:
        """All its jobs."""
        from processing_units.frontend.models import Job

        return Job.objects.filter(unit__name=self.name)

    @property
    def open_jobs(self) -> int:
        """How many of its jobs have not ended."""
        return int(self.jobs.filter(state__in=("queued", "running")).count())

    @property
    def slots_up(self) -> int:
        """How many slots its cluster managers say that they have."""
        from processing_units.frontend.models import ClusterManagerRecord

        up = ClusterManagerRecord.objects.filter(unit__name=self.name, down_at=None)
        return sum(up.values_list("slots", flat=True))

    def frontend_cpu_seconds(self) -> float:
        """Return the CPU time that its frontend has used so far [s]."""
        return _cpu_seconds(self._frontend.pid)

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time that each part has used so far [s]; what jobs used counts once they have ended."""
        launcher = self.portal.launcher
        servers = psutil.Process(launcher).children() if launcher else []
        redis = [server.pid for server in servers if server.name().startswith("redis")]
        parts = {
            "frontend": [self._frontend.pid],
            "cluster manager and jobs": [manager.pid for manager in self._managers],
            "portal, keeper": [server.pid for server in servers if server.pid not in redis],
            "Redis": redis,
            "PostgreSQL": self.portal.postgresql,
        }
        return {part: sum(map(_cpu_seconds, numbers)) for part, numbers in parts.items() if numbers}

    def start_cluster_manager(self, slots: int, *, no_op: bool, one_core: bool = False) -> None:
        """Bring a cluster manager up and wait until it has joined: with recipes that do nothing, or the real ones."""
        command = ["taskset", "-c", "0"] if one_core else []
        command += [sys.executable, "-m", "processing_units.cluster_manager", self.url, "--slots", str(slots)]
        home = self.portal.home
        command += ["--key-file", str(self._key_file), "--cache", str(home / "bench-cache")]
        command += ["--scratch", str(home / "bench-scratch"), "--python", str(self._python(no_op))]
        self._managers.append(self._start(command, "cluster-manager"))
        eventually(lambda: self.slots_up == slots, 120, "the cluster manager")

    def stop_cluster_managers(self) -> None:
        """End what `start_cluster_manager` brought up."""
        while self._managers:
            _end(self._managers.pop())

    def stop(self) -> None:
        """End everything of the unit."""
        self.stop_cluster_managers()
        _end(self._frontend)

    def submit(self, inputs: Sequence[int], recipe: str = "ReadNoise") -> int:
        """Submit one run as any client does; return its number."""
        answer = httpx.post(
            f"{self.portal.url}/api/v1/runs",
            json={"recipe": recipe, "inputs": {"": list(inputs)}, "unit": self.name},
            timeout=120,
            headers={"Authorization": f"Bearer {self.portal.token}"},
        )
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def wait_until_done(self, run: int, jobs: int, seconds: float = 900) -> None:
        """Wait until a run has ended; fail unless so many of its jobs are done."""
        mine = self.jobs.filter(run=run)
        eventually(lambda: not mine.filter(state__in=("queued", "running")).exists(), seconds, f"the end of run {run}")
        done = mine.filter(state="done").count()
        assert done == jobs, f"{done} of {jobs} jobs are done: {mine.exclude(state='done').first().reason}"

    def _python(self, no_op: bool) -> Path:
        if not no_op:
            return Path(sys.executable)
        path = self.portal.home / "no-op-python"
        path.write_text(
            f'#!/bin/sh\n[ "$2" != recipes.fork_server ] || exec "{sys.executable}" "{NO_OP_FORK_SERVER}" "$3"\n'
            f'exec "{sys.executable}" "$@"\n'
        )
        path.chmod(0o755)
        return path

    def _start(self, command: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        environment = self.portal.environment | {"PYTHONPATH": str(TREE)}
        with (self.portal.home / f"{self.name}-{name}.log").open("ab") as stream:
            return subprocess.Popen(command, env=environment, cwd=TREE, stdout=stream, stderr=stream)


def _cpu_seconds(number: int) -> float:
    """Return the CPU time of a process, of all that it started, and of what of that has ended [s]."""
    total = 0.0
    for process in (whole := psutil.Process(number), *whole.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def use_django(environment: dict[str, str]) -> ModuleType:
    """Let this process work on the portal's database; return the models of the frontend."""
    os.environ.update({name: value for name, value in environment.items() if name.startswith(("AWPORTAL_", "DJANGO_"))})
    import django

    django.setup()
    from processing_units.frontend import models

    return models


def make_biases(username: str, jobs: int) -> list[int]:
    """Put two biases for each of so many new chips into the archive, all of one small file; return their numbers."""
    from django.conf import settings
    from django.contrib.auth.models import User

    from archive.models import Privilege, Product
    from archive.products import columns_of
    from dataserver.store import Store
    from recipes.kinds import KINDS

    user = User.objects.get(username=username)
    stored = Store(settings.DATA_ROOT).put(io.BytesIO(b"a frame that no recipe reads"))
    night = datetime(2024, 5, 12, 3, tzinfo=UTC)
    first = Product.objects.count() // 2 + 1
    rows: list[Any] = []
    for number in range(2 * first, 2 * (first + jobs)):
        moment = night + timedelta(seconds=number)
        attributes = {
            "instrument": "camera",
            "chip": f"{number // 2:06d}",
            "readout_mode": "default",
            "night": "2024-05-11",
            "date_obs": moment.strftime("%Y-%m-%dT%H:%M:%S"),
            "overscan_x": "[1:8,1:64]",
        }
        rows.append(
            Product(
                kind="RawBias",
                name=f"RawBias_{number}.fits",
                sha256=stored.sha256,
                file_size=stored.size,
                attributes=attributes,
                creator=user,
                privilege=Privilege.WORLD,
                timestamp_start=moment,
                timestamp_end=moment,
                **columns_of(KINDS["RawBias"], attributes),
            )
        )
    Product.objects.bulk_create(rows, batch_size=500)
    names = [row.name for row in rows]
    made: list[int] = []
    for begin in range(0, len(names), 500):
        found = Product.objects.filter(name__in=names[begin : begin + 500]).order_by("pk")
        made += found.values_list("pk", flat=True)
    return made
