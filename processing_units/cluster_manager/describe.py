"""``python -m processing_units.cluster_manager.describe BUNDLE``: what recipes a bundle has, asked in the sandbox.

The code's own words come out as JSON on standard output, bounded and otherwise as they are: whoever reads them has to
doubt them. Exit codes: 0 told, 1 the code cannot be loaded (standard error says why), 3 the sandbox does not work here.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from processing_units.cluster_manager.code_cache import CodeCache
from processing_units.cluster_manager.collecting import read_small_file
from processing_units.cluster_manager.containment import Containment
from processing_units.cluster_manager.faults import FaultError
from processing_units.cluster_manager.fork_server import ForkServerError
from processing_units.cluster_manager.interpreter import NoInterpreter, find_interpreter
from processing_units.cluster_manager.sandbox import Confined, Sandbox, SandboxError, why_it_does_not_work
from processing_units.cluster_manager.watchdog import Watchdog, Watched
from processing_units.contract import Limits

EXIT_TOLD, EXIT_CANNOT_BE_LOADED, EXIT_USAGE, EXIT_NO_SANDBOX = 0, 1, 2, 3
LARGEST_DESCRIPTION = 2**20
_LIMITS = Limits(memory_mib=1024, wall_seconds=30, disk_mib=16, processes=32)
_SAID_BYTES = 100_000
_TOLD = "outputs/recipes.json"


def main(arguments: list[str]) -> int:
    """Describe the bundle of that path; return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m processing_units.cluster_manager.describe BUNDLE", file=sys.stderr)
        return EXIT_USAGE
    try:
        sandbox = Sandbox(find_interpreter(sys.executable))
        why_not = why_it_does_not_work(sandbox)
    except NoInterpreter as error:
        why_not = str(error)
    if why_not:
        print(why_not, file=sys.stderr)
        return EXIT_NO_SANDBOX
    try:
        told, said = _describe(sandbox, Path(arguments[0]))
    except (FaultError, SandboxError, ForkServerError) as error:
        print(error, file=sys.stderr)
        return EXIT_CANNOT_BE_LOADED
    if told is None:
        print(said, file=sys.stderr)
        return EXIT_CANNOT_BE_LOADED
    sys.stdout.buffer.write(told)
    return EXIT_TOLD


def _describe(sandbox: Sandbox, packed: Path) -> tuple[bytes | None, str]:
    """Return what the code told, None if nothing, and the last line that it said."""
    with tempfile.TemporaryDirectory(prefix="awdescribe-") as folder, ExitStack() as leases:
        place = Path(folder)
        digest = hashlib.sha256(packed.read_bytes()).hexdigest()
        code = leases.enter_context(CodeCache(place / "code", sandbox.code.recipes).unpacked(digest, packed))
        work = place / "work"
        for name in ("inputs", "outputs", "tmp"):
            (work / name).mkdir(parents=True)
        cpus = frozenset(sorted(os.sched_getaffinity(0))[:1])
        breaches: list[FaultError] = []
        watchdog = Watchdog()
        with (place / "log").open("ab") as output:
            process, go = sandbox.start(
                Confined(work, code.recipes, _LIMITS, cpus, code.bundle),
                ["-m", "recipes", "describe", "--to", _TOLD],
                output,
            )

        def on_breach(breach: FaultError) -> None:
            breaches.append(breach)
            process.kill()

        watchdog.watch(
            Watched(
                process.pid,
                _LIMITS,
                place / "log",
                on_breach,
                namespace=process.namespace,
                also=Containment(_LIMITS, [work]).check,
            )
        )
        watchdog.start()
        os.write(go, b"x")
        os.close(go)
        try:
            process.wait()
        finally:
            watchdog.stop()
        if breaches:
            raise breaches[0]
        return read_small_file(work / _TOLD, LARGEST_DESCRIPTION), _last_line(place / "log")


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _SAID_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return "".join(letter if letter.isprintable() else "?" for letter in said)[:500]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
