"""``make try-slurm``: a night is reduced through a real Slurm, of which one queue job is cancelled in mid-job.

Sets Slurm with two nodes and a portal up on this machine, lets a backend submit cluster managers, cancels one, checks
that the night is complete and every job was committed once; prints what each queue job did; leaves nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.night.installation import Installation, observe
from tests.slurm import PROGRAMS, Slurm
from tests.ways.folder import run_in_folder
from tests.ways.machines import SCRIPTS, wait_for
from tests.ways.workers import SMALL, serving

UNIT = "hpc"
SETTINGS = {"poll_seconds": 0.5, "idle_seconds": 3, "walltime_minutes": 30, "slots": 2}
_COMMITTED = re.compile(r"job (\d+)\.\d+ committed")
_QUEUE_JOB = re.compile(r"^---- queue job (\d+) (.*); its log:$", re.MULTILINE)


@dataclass
class QueueJob:
    """What one queue job did."""

    number: str
    node: str
    how: str
    committed: list[int]


def main() -> int:
    """Run it in a folder of its own."""
    missing = [f"{program} (apt-get install {package})" for program, package in PROGRAMS if not shutil.which(program)]
    if missing:
        print(f"try-slurm: not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    return run_in_folder("try-slurm", lambda folder: try_slurm(folder, observe(folder / "night", *SMALL)))


def try_slurm(folder: Path, night: Path) -> str:
    """Reduce a night through Slurm; return the table."""
    began = time.monotonic()
    installation = Installation(folder / "portal")
    with running_slurm() as slurm, running(installation):
        options = ("--kind", "slurm", "--slots", "4")
        with serving(installation, UNIT, installation.port + 3, *options) as (url, key_file):
            kind_settings = json.dumps({**SETTINGS, "node_directory": str(folder / "nodes")})
            installation.awrecipe("units", "set", UNIT, "cluster_managers=2", f"kind_settings={kind_settings}")
            with backend(folder, url, key_file, **slurm.environment):
                _reduce(installation, night, slurm)
        return table_of(installation, queue_jobs(slurm, folder / "backend" / "logs"), time.monotonic() - began)


@contextmanager
def running(installation: Installation) -> Iterator[None]:
    """Run a portal."""
    how_it_may_end: AbstractContextManager[None] = nullcontext()
    try:
        installation.start()
        yield
    except KeyboardInterrupt:
        how_it_may_end = suppress(AssertionError)  # it heard the Ctrl-C too, perhaps in its start
        raise
    finally:
        with how_it_may_end:
            installation.stop()


@contextmanager
def running_slurm() -> Iterator[Slurm]:
    """Start a Slurm of two nodes; nothing of it is left."""
    slurm = Slurm()
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


@contextmanager
def backend(folder: Path, url: str, key_file: Path, **variables: str) -> Iterator[None]:
    """Run the unit's backend, as on a login host, or from afar."""
    command = [str(SCRIPTS / "awbackend"), UNIT, "--kind", "slurm", "--url", url, "--key-file", str(key_file)]
    command += ["--state", str(folder / "backend")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWPORTAL_")}
    with (folder / "backend.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**environment, **variables}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _reduce(installation: Installation, night: Path, slurm: Slurm) -> None:
    """Reduce the night and cancel a queue job from outside, in mid-job."""
    with installation.running("night", str(night), "--unit", UNIT):
        wait_for(lambda: slurm.jobs("running"), "a queue job", 300)
        wait_for(lambda: running_jobs(installation), "a job", 300)
        slurm.run("scancel", slurm.jobs("running")[0][0])
    wait_for(lambda: not slurm.jobs("pending,running,completing"), "the queue jobs' leaving", 200)


def running_jobs(installation: Installation) -> int:
    """Return how many jobs run."""
    return sum(
        run["counts"].get("running", 0)
        for run in json.loads(installation.awrecipe("status", "--limit", "500", "--json"))
    )


def queue_jobs(slurm: Slurm, logs: Path) -> list[QueueJob]:
    """Return what each queue job did, of which Slurm and the backend's logs must know the same."""
    nodes = {number: node for number, _, _, node in slurm.jobs()}
    told = {}
    for log in logs.glob("*.log"):
        text = log.read_text()
        heads = list(_QUEUE_JOB.finditer(text))
        for head, after in zip(heads, [*(each.start() for each in heads[1:]), len(text)], strict=True):
            committed = [int(number) for number in _COMMITTED.findall(text[head.end() : after])]
            told[head[1]] = QueueJob(head[1], nodes.get(head[1], ""), head[2], committed)
    assert told.keys() == nodes.keys(), f"Slurm knows {sorted(nodes)}, the backend {sorted(told)}"
    return sorted(told.values(), key=lambda job: int(job.number))


def table_of(installation: Installation, queue_jobs: list[QueueJob], seconds: float) -> str:
    """Return what each queue job did and how the jobs ended; fail where one was lost or committed twice."""
    counted = Counter(number for job in queue_jobs for number in job.committed)
    runs = json.loads(installation.awrecipe("status", "--limit", "500", "--json"))
    ends = Counter({state: sum(run["counts"][state] for run in runs) for state in ("done", "failed")})
    jobs = sum(sum(run["counts"].values()) for run in runs)
    lost, double = jobs - ends.total(), sum(1 for times in counted.values() if times > 1)
    assert counted, "the queue jobs have done nothing"
    assert (lost, double) == (0, 0), f"{jobs} jobs, ends {dict(ends)}, {double} committed twice"
    # A unit's canary is committed too, and is no job of the night.
    assert len(counted) >= ends["done"], f"{len(counted)} jobs were committed by queue jobs, {ends['done']} are done"
    lines = [f"{'queue job':>9}  {'node':8}{'jobs':>5}  how it ended"]
    lines += [f"{job.number:>9}  {job.node:8}{len(job.committed):5}  {job.how}" for job in queue_jobs]
    lines.append(
        f"{len(queue_jobs)} queue jobs; {jobs} jobs, {ends['done']} done, {ends['failed']} refused by their recipe, "
        f"lost {lost}, double {double}; {seconds:.0f} s"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
