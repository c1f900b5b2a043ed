"""A unit of its own beside a running installation: frontend, cluster managers with a no-op recipe, many small jobs."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

from tests.night.installation import SCRIPTS, TREE, Installation

FAKE_FORK_SERVER = TREE / "tests" / "processing_units" / "cluster_manager" / "fake_fork_server.py"


class UnitUnderTest:
    """A unit with its frontend and cluster managers.

    Parameters
    ----------
    installation : Installation
        What it belongs to, running.
    name : str
        Of the unit.
    slots : int
        Jobs at a time that it takes.
    """

    def __init__(self, installation: Installation, name: str, slots: int) -> None:
        self.installation = installation
        self.name = name
        self.key_file = installation.home / f"{name}.key"
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = installation.environment | json.loads(
            (installation.home / "bench-environment.json").read_text()
        )
        self.manage("unit", "create", name, "--port", str(self.port), "--slots", str(slots),
                    "--key-file", str(self.key_file))  # fmt: skip
        self._start([sys.executable, str(TREE / "manage.py"), "frontend", name], "frontend")
        until = time.monotonic() + 30
        while not listens(self.port):
            assert time.monotonic() < until, "the frontend does not come up"
            time.sleep(0.05)

    @property
    def url(self) -> str:
        """Address of its frontend."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """Its key."""
        return self.key_file.read_text().strip()

    def manage(self, *arguments: str) -> None:
        """Run a management command to its end."""
        subprocess.run([sys.executable, str(TREE / "manage.py"), *arguments], env=self.environment, check=True,
                       capture_output=True)  # fmt: skip

    def start_cluster_manager(self, slots: int, *, no_op: bool, one_core: bool = False) -> None:
        """Bring a cluster manager up: with recipes that do nothing, or the real ones."""
        command = ["taskset", "-c", "0"] if one_core else []
        command += [str(SCRIPTS / "awworker"), self.url, "--key-file", str(self.key_file), "--slots", str(slots)]
        home = self.installation.home
        command += ["--cache", str(home / "bench-cache"), "--scratch", str(home / "bench-scratch")]
        if no_op:
            command += ["--python", str(self._no_op_python())]
        self._start(command, f"worker{len(self._processes)}")

    def _no_op_python(self) -> Path:
        path = self.installation.home / "no-op-python"
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE_FORK_SERVER}" "$@"\n')
        path.chmod(0o755)
        return path

    def _start(self, command: Sequence[str], name: str) -> None:
        log = self.installation.home / f"{self.name}-{name}.log"
        with log.open("ab") as stream:
            self._processes.append(
                subprocess.Popen(command, env=self.environment, cwd=TREE, stdout=stream, stderr=stream)
            )

    def stop_cluster_managers(self) -> None:
        """End what `start_cluster_manager` brought up."""
        for process in self._processes[1:]:
            process.terminate()
        for process in self._processes[1:]:
            process.wait(30)
        del self._processes[1:]

    def stop(self) -> None:
        """End everything of the unit."""
        self.stop_cluster_managers()
        for process in self._processes:
            process.terminate()
            process.wait(30)

    def submit(self, inputs: Sequence[int], recipe: str = "ReadNoise") -> tuple[int, float]:
        """Submit one run as any client does; return its number and the seconds that it took."""
        token = (self.installation.home / "secrets" / "token").read_text().strip()
        body = {"recipe": recipe, "inputs": {"": list(inputs)}, "unit": self.name}
        began = time.perf_counter()
        answer = httpx.post(f"{self.installation.url}/api/v1/runs", json=body, timeout=120,
                            headers={"Authorization": f"Bearer {token}"})  # fmt: skip
        seconds = time.perf_counter() - began
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"]), seconds


def write_environment(installation: Installation) -> dict[str, str]:
    """Keep what a process of an installation needs to know, as its launcher says it; return it."""
    found = installation.processes("manage.py", "keeper")[0].environ()
    chosen = {name: value for name, value in found.items() if name.startswith(("AWPORTAL_", "DJANGO_"))}
    (installation.home / "bench-environment.json").write_text(json.dumps(chosen))
    return chosen


def use_django(environment: dict[str, str]) -> ModuleType:
    """Let this process work on the installation's database; return the models of the frontend."""
    os.environ.update(environment)
    import django

    django.setup()
    from processing_units.frontend import models

    return models


def make_biases(jobs: int, first: int = 0) -> list[int]:
    """Put two biases for each of so many chips into the archive, all of one small file; return their numbers."""
    from django.conf import settings
    from django.contrib.auth.models import User

    from archive.models import Product
    from archive.products import columns_of
    from dataserver.store import Store
    from recipes.kinds import KINDS

    user = User.objects.get(username="astronomer")
    stored = Store(settings.DATA_ROOT).put(io.BytesIO(b"a frame that no recipe reads"))
    night = datetime(2024, 5, 12, 3, tzinfo=UTC)
    rows: list[Any] = []
    for number in range(2 * first, 2 * (first + jobs)):
        moment = night + timedelta(seconds=number)
        attributes = {"instrument": "camera", "chip": f"{number // 2:05d}", "readout_mode": "default",
                      "night": "2024-05-11", "date_obs": moment.strftime("%Y-%m-%dT%H:%M:%S"),
                      "overscan_x": "[1:8,1:64]"}  # fmt: skip
        rows.append(Product(kind="RawBias", name=f"RawBias_{number}.fits", sha256=stored.sha256,
                            file_size=stored.size, attributes=attributes, creator=user, timestamp_start=moment,
                            timestamp_end=moment, **columns_of(KINDS["RawBias"], attributes)))  # fmt: skip
    Product.objects.bulk_create(rows, batch_size=500)
    names = [row.name for row in rows]
    return list(Product.objects.filter(name__in=names).order_by("pk").values_list("pk", flat=True))


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
