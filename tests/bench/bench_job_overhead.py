"""What a job costs beside the recipe's own time on a running installation: submit to claim, claim to commit."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.night.installation import Installation, observe

RUNS = 20


def main() -> None:
    """Submit runs one after the other to an idle unit, then many jobs at once; read the times from the database."""
    with tempfile.TemporaryDirectory() as directory:
        night = observe(Path(directory) / "night", "--chips", "4", "--size", "128x128", "--filters", "r")
        installation = Installation(Path(directory) / "home")
        installation.start()
        try:
            installation.awrecipe("ingest", str(night))
            for _ in range(RUNS):
                installation.awrecipe("run", "ReadNoise", "--chip", "ccd1", "--wait", "--new")
                time.sleep(0.2)
            begin = time.perf_counter()
            science = installation.products("--kind", "RawScience")
            installation.awrecipe("run", "Reduce", ",".join(str(frame["id"]) for frame in science), "--wait", "--new")
            throughput = len(science) / (time.perf_counter() - begin)
            one_by_one, at_once = read_times(installation.home)
        finally:
            installation.stop()
    show(one_by_one, at_once, throughput)


def read_times(home: Path) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return, for the runs one by one and for the jobs at once, milliseconds by what they were spent on."""
    os.environ.update(AWPORTAL_HOME=str(home), DJANGO_SETTINGS_MODULE="awportal.settings")
    import django

    django.setup()
    from processing_units.frontend.models import Attempt

    times: dict[str, dict[str, list[float]]] = {}
    for attempt in Attempt.objects.filter(outcome="done").select_related("job__run"):
        run = attempt.job.run
        whole = 1000 * (attempt.ended - attempt.started).total_seconds()
        own = 1000 * attempt.seconds
        spent = times.setdefault(
            run.recipe, {"submit to claim": [], "claim to commit": [], "recipe": [], "overhead": []}
        )
        spent["submit to claim"].append(1000 * (attempt.started - run.submitted).total_seconds())
        spent["claim to commit"].append(whole)
        spent["recipe"].append(own)
        spent["overhead"].append(whole - own)
    return times["ReadNoise"], times["Reduce"]


def show(one_by_one: dict[str, list[float]], at_once: dict[str, list[float]], throughput: float) -> None:
    """Print the table."""
    table = Table(
        title=f"{RUNS} runs of one job on an idle unit, and one run of {len(at_once['recipe'])} jobs; milliseconds"
    )
    for heading in ("spent on", "one by one p50", "p99", "at once p50", "p99"):
        table.add_column(heading, justify="left" if heading == "spent on" else "right")
    for what, alone in one_by_one.items():
        cells = [f"{part:.0f}" for values in (alone, at_once[what]) for part in percentiles(values)]
        table.add_row(what, *cells)
    Console().print(table)
    print(
        f"{throughput:.1f} jobs/s of Reduce on 128 × 128 pixels with {os.cpu_count()} slots, submit and wait included"
    )


def percentiles(values: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=100, method="inclusive")[98]


if __name__ == "__main__":
    main()
