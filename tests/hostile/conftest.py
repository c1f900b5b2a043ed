"""One node with the real recipes for all hostile programs, and a neighbour's jobs beside each of them."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processing_units.contract import InputFile
from tests.processing_units.cluster_manager.conftest import Redis, Worker, running_unit, worker_starter, write_key
from tests.recipes.synthetic import Camera, write_fits

REPORT = Path("build/hostile.jsonl")


@pytest.fixture(scope="session")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A unit that gives jobs."""
    redis = Redis(tmp_path_factory.mktemp("redis"))
    redis.start()
    with running_unit(tmp_path_factory.mktemp("files") / "store", redis) as made:
        yield made
    redis.kill()


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the key of the unit."""
    return write_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory, unit: Any, key_file: Path) -> Iterator[Worker]:
    """A cluster manager with two slots; without control groups, so that the watchdog has to hold alone."""
    root = tmp_path_factory.mktemp("node")
    with worker_starter(root, unit, Path(sys.executable), key_file) as start:
        yield start("--python", sys.executable, "--no-control-groups")


@pytest.fixture(scope="session")
def told(unit: Any, node: Worker, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the programs are told of the node: everything that they could wish to know."""
    secret = tmp_path_factory.mktemp("secret")
    (secret / "result.json").write_text('{"recipe": "x", "state": "done"}')
    with socket.socket(socket.AF_UNIX) as listening:
        name = f"awportal-hostile-{os.getpid()}"
        listening.bind("\0" + name)
        listening.listen()
        yield {
            "key_file": str(key_file), "scratch": str(node.scratch), "manager": node.process.pid, "host": "127.0.0.1",
            "port": unit.port, "abstract": name, "socket": node.fork_server().cmdline()[-1],
            "secret_folder": str(secret),
        }  # fmt: skip


@pytest.fixture(scope="session")
def biases(unit: Any, tmp_path_factory: pytest.TempPathFactory) -> list[InputFile]:
    """Four raw biases, the inputs of all jobs."""
    camera = Camera(height=60, width=80, seed=5)
    files = []
    for number in range(4):
        path = write_fits(tmp_path_factory.mktemp("raw") / f"b{number}.fits", camera.pixels().astype("u2"))
        file = unit.add_file(path.name, path.read_bytes()).model_dump()
        attributes = camera.attributes(date_obs=f"2026-01-02T03:04:0{number}")
        files.append(InputFile(**file | {"role": "raw_bias", "product": number + 1, "attributes": attributes}))
    return files


@pytest.fixture(scope="session")
def note() -> Iterator[Callable[[str, str, str], None]]:
    """Write down what a program tried and what it met; `make hostile` prints the table."""
    REPORT.parent.mkdir(exist_ok=True)
    with REPORT.open("w", encoding="utf-8") as file:

        def write(name: str, tries: str, met: str) -> None:
            file.write(json.dumps([name, tries, met]) + "\n")
            file.flush()

        yield write
