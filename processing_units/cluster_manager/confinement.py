"""Shipped code on this node: whether it is taken at all, and a job of it from its bundle to its held process."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from processing_units.cluster_manager.code_cache import CodeCache
from processing_units.cluster_manager.containment import Containment
from processing_units.cluster_manager.control_group import ControlGroup
from processing_units.cluster_manager.faults import FaultError
from processing_units.cluster_manager.interpreter import NoInterpreter, find_interpreter
from processing_units.cluster_manager.sandbox import (
    Confined,
    Sandbox,
    SandboxError,
    SandboxProcess,
    why_it_does_not_work,
)
from processing_units.cluster_manager.scratch import make_directory
from processing_units.contract import FaultKind, JobSpec

log = logging.getLogger(__name__)

WORK = "work"
_COMPILED_KERNELS = ".nbi"


@dataclass(frozen=True)
class Held:
    """A job that waits for ``begin``; ``containment`` is what the watchdog asks besides."""

    process: SandboxProcess
    containment: Containment
    begin: Callable[[], None]


class Confinement:
    """The sandbox of this node with its unpacked bundles and its cores."""

    def __init__(self, sandbox: Sandbox, code: CodeCache, *, control_groups: bool = True) -> None:
        self._sandbox = sandbox
        self.code = code
        self._control_groups = control_groups
        self._cores = Cores()

    def start(
        self, spec: JobSpec, directory: Path, packed: Path, leases: ExitStack, threads: int, gpu: str = ""
    ) -> Held:
        """Set the sandbox of an attempt up around its folder; the job begins when it is told to.

        `leases` keeps the unpacked code and the cores as long as the attempt lasts.

        Raises
        ------
        FaultError
            The bundle is refused, or the sandbox cannot be set up here and now.
        """
        code = leases.enter_context(self.code.unpacked(spec.code_digest, packed))
        own = _copies_of_kernels(code.recipes, self._sandbox.code.recipes, directory)
        work = directory / WORK
        confined = Confined(
            work=work,
            recipes=code.recipes,
            limits=spec.limits,
            cpus=leases.enter_context(self._cores.taken(max(threads, spec.limits.threads))),
            bundle=code.bundle,
            own_folders=own,
            gpu=gpu,
        )
        group = ControlGroup([])
        if self._control_groups:
            group = leases.enter_context(ControlGroup.made(spec.limits))
        try:
            with (directory / "log").open("ab") as output:
                process, go = self._sandbox.start(confined, ["-m", "recipes", "job.json"], output)
        except SandboxError as error:
            raise FaultError(FaultKind.NODE_LOST, f"The node could not set up a sandbox: {error}") from error
        group.add(process.pid)

        def begin() -> None:
            os.write(go, b"x")
            os.close(go)

        return Held(process, Containment(spec.limits, [work, *(folder for folder, _ in own)]), begin)


def find_confinement(python: str, root: Path, *, control_groups: bool = True) -> Confinement | None:
    """Return the sandbox of this node if it holds what it promises; tell in the log why not."""
    try:
        sandbox = Sandbox(find_interpreter(python))
    except NoInterpreter as error:
        log.warning("this node takes no shipped code: %s", error)
        return None
    why_not = why_it_does_not_work(sandbox)
    if why_not:
        log.warning("this node takes no shipped code, its sandbox does not work: %s", why_not)
        return None
    return Confinement(sandbox, CodeCache(root, sandbox.code.recipes), control_groups=control_groups)


def make_work_folder(directory: Path) -> Path:
    """Make the folder that an attempt of shipped code sees as ``/job``; log and result stay outside of it."""
    work = directory / WORK
    make_directory(work)
    return work


class Cores:
    """Which cores confined jobs use: each keeps to as many as its slot's share, the least used ones."""

    def __init__(self) -> None:
        self._used = Counter(dict.fromkeys(sorted(os.sched_getaffinity(0)), 0))
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, number: int) -> Iterator[frozenset[int]]:
        """Give so many cores, or all there are."""
        with self._lock:
            cores = frozenset(sorted(self._used, key=lambda core: self._used[core])[:number])
            self._used.update(cores)
        try:
            yield cores
        finally:
            with self._lock:
                self._used.subtract(cores)


def _copies_of_kernels(recipes: Path, seen_as: Path, directory: Path) -> list[tuple[Path, str]]:
    """Copy the compiled kernels for a job: numba writes beside them, and nobody else may meet what it writes."""
    copies: list[tuple[Path, str]] = []
    for cache in sorted(recipes.rglob("__pycache__")):
        if any(name.endswith(_COMPILED_KERNELS) for name in os.listdir(cache)):
            copy = directory / f"kernels-{len(copies)}"
            shutil.copytree(cache, copy)
            copies.append((copy, str(seen_as / cache.relative_to(recipes))))
    return copies
