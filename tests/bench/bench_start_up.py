"""Start-up times: the portal with all its processes, the command line, and a bare interpreter beside them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.night.installation import SCRIPTS, Installation

ROUNDS = 5


def median_of(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median seconds of an action."""
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def main() -> None:
    """Measure and print."""
    rows = [("python -c pass", median_of(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)))]
    with tempfile.TemporaryDirectory() as directory:
        installation = Installation(Path(directory) / "home")
        rows.append(("make serve, first start (database made)", median_of(installation.start, 1)))
        rows.append(("awrecipe --help", median_of(lambda: subprocess.run(
            [str(SCRIPTS / "awrecipe"), "--help"], check=True, capture_output=True))))  # fmt: skip
        rows.append(("awrecipe list (asks the portal)", median_of(lambda: installation.awrecipe("list"))))
        rows.append(("stop of everything", median_of(installation.stop, 1)))
        rows.append(("make serve, second start", median_of(installation.start, 1)))
        installation.stop()
    table = Table(title="start-up, seconds (medians)")
    table.add_column("what")
    table.add_column("s", justify="right")
    table.add_column("× python -c pass", justify="right")
    for what, seconds in rows:
        table.add_row(what, f"{seconds:.3f}", f"{seconds / rows[0][1]:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
