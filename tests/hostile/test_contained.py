"""Each hostile program is contained: it meets what it should, its neighbour is unharmed, and nothing is left."""

from __future__ import annotations

import contextlib
import io
import re
import stat
import zipfile
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from processing_units.code_shipping.packing import pack
from tests.hostile.programs import PRELUDE, PROGRAMS, Program
from tests.processing_units.cluster_manager.conftest import Worker
from tests.processing_units.cluster_manager.fake_unit import FakeJob, eventually

pytestmark = [pytest.mark.processes, pytest.mark.program("bwrap", "bubblewrap")]

LIMITS = {"memory_mib": 512, "wall_seconds": 30, "disk_mib": 64, "processes": 64}
ENDED = {"done", "failed", "cancelled"}


def sandboxes(node: Worker) -> list[psutil.Process]:
    found = []
    for process in node.descendants():
        with contextlib.suppress(psutil.Error):
            if "bwrap" in process.name():
                found += [process, *process.children(recursive=True)]
    return found


def nothing_is_left(node: Worker) -> None:
    """No process of a sandbox, and no file but unpacked code and the node's own."""
    eventually(lambda: not sandboxes(node), 10, "no process of it is left")
    eventually(lambda: not [path for path in node.leftovers() if "code" not in path.parts], 10, "no file of it is left")


def ended(job: FakeJob, seconds: float = 60.0) -> FakeJob:
    eventually(lambda: job.state in ENDED, seconds, lambda: f"job {job.number} is {job.state}")
    return job


def beside_a_neighbour(unit: Any, node: Worker, biases: list[Any], job: FakeJob) -> None:
    """Let a standard job run beside a hostile one; both end, and the neighbour commits a product."""
    neighbour = unit.ship(None, "Bias", inputs=biases)
    ended(job)
    assert ended(neighbour).state == "done", neighbour.failures
    assert node.process.poll() is None
    nothing_is_left(node)


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
def test_it_is_contained(
    unit: Any,
    node: Worker,
    told: dict[str, Any],
    biases: list[Any],
    note: Callable[[str, str, str], None],
    program: Program,
) -> None:
    bundle = pack([("recipes/__main__.py", (PRELUDE + program.source + "\n").encode())])
    job = unit.ship(bundle.content, "Attack", told, biases, **{**LIMITS, **program.limits})
    beside_a_neighbour(unit, node, biases, job)
    assert job.state == "failed", job.log
    [failure] = job.failures
    lines = [line.partition("MET ")[2] for line in job.log.splitlines() if line.startswith("MET ")]
    said = "\n".join(["", *(f"MET {line}" for line in lines), ""]) + failure.message
    note(program.name, program.tries, "; ".join(lines) if lines and not program.fault else failure.message)
    assert re.search(program.meets, said), f"{said}\n{job.log[-2000:]}"
    assert program.fault in ("", failure.fault)
    assert program.may_succeed or "SUCCEEDED" not in job.log


def test_what_it_compiled_is_not_met_by_the_next_job_of_the_same_code(
    unit: Any, node: Worker, told: dict[str, Any], biases: list[Any], note: Callable[[str, str, str], None]
) -> None:
    source = (
        PRELUDE
        + """
import recipes
place = os.path.dirname(recipes.__file__) + '/ccd/kernels/__pycache__/poison'
met('poison from before: ' + str(os.path.exists(place)))
write(place)
met('written')
"""
    )
    bundle = pack([("recipes/__main__.py", source.encode())])
    for _ in range(2):
        job = ended(unit.ship(bundle.content, "Attack", told, biases, **LIMITS))
        assert "MET poison from before: False" in job.log
        assert "MET written" in job.log
    nothing_is_left(node)
    note("poisoned_kernels", "puts compiled kernels there for the next job", "each job has a copy of its own")


def test_a_module_that_runs_at_import_runs_in_the_sandbox(
    unit: Any, node: Worker, told: dict[str, Any], biases: list[Any], note: Callable[[str, str, str], None]
) -> None:
    source = (
        PRELUDE
        + "attempt('shadow', read, '/etc/shadow')\n"
        + "attempt('tcp', socket.create_connection, (told['host'], told['port']), 2)\n"
    )
    job = unit.ship(
        pack([("recipes/aaa.py", source.encode())]).content, "Attack", told, biases, **{**LIMITS, "memory_mib": 2048}
    )
    beside_a_neighbour(unit, node, biases, job)
    assert "MET shadow: FileNotFoundError" in job.log
    assert "MET tcp: ConnectionRefusedError" in job.log
    note("import_time", "runs when the module is imported, before any recipe is called", "it is in the sandbox by then")


def test_a_cancelled_one_that_ignores_signals_is_gone_within_10_s(
    unit: Any, node: Worker, told: dict[str, Any], note: Callable[[str, str, str], None]
) -> None:
    source = (
        PRELUDE + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork()\nmet('begun')\nwhile True: time.sleep(1)\n"
    )
    job = unit.ship(pack([("recipes/__main__.py", source.encode())]).content, "Attack", told, **LIMITS)
    eventually(lambda: "MET begun" in job.log, 30, "it runs")
    unit.cancel(job)
    nothing_is_left(node)
    note("cancelled", "goes on after it was cancelled", "killed with all that it started, within 10 s")


def link_bundle() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        entry = zipfile.ZipInfo("recipes/x.py")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/shadow")
    return target.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "tries", "bundle", "said"),
    [
        ("bomb", "a bundle of 60 kB that unpacks to 60 MB", lambda: zipped("x.txt", b" " * 60_000_000), "more than"),
        (
            "leaving",
            "a bundle with a name that leaves its folder",
            lambda: zipped("../../x.py", b"1"),
            "leaves its folder",
        ),
        ("links", "a bundle with a link to the passwords", link_bundle, "is a link"),
        ("library", "a bundle with a compiled library", lambda: zipped("x.py", b"\x7fELF\x02"), "ELF"),
    ],
)
def test_a_bundle_that_the_portal_should_have_refused_is_refused_by_the_node(
    unit: Any, node: Worker, note: Callable[[str, str, str], None], name: str, tries: str, bundle: Any, said: str
) -> None:
    job = ended(unit.ship(bundle(), "Attack", **LIMITS))
    [failure] = job.failures
    assert said in failure.message
    assert failure.fault == "fatal"
    nothing_is_left(node)
    note(f"bundle: {name}", tries, failure.message)
