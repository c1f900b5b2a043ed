"""``make chaos``: seeded faults over all processes of an installation that works, and the proof that nothing was lost.

``python -m tests.chaos --faults 500 --seed 1 --database SQLite --database PostgreSQL``; ``--schedule`` only shows what
would be done.
"""

from __future__ import annotations

import argparse
import io
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos import partitions
from tests.chaos.islands import why_not
from tests.chaos.points import Fault, all_points, schedule
from tests.programs import postgresql_programs

CHIPS = 40
QUIET_SECONDS = 180.0


def main() -> int:
    """Run the suite on each database in a process of its own (Django knows one a process); print one table."""
    for stop in (signal.SIGINT, signal.SIGTERM):  # whoever starts us in the background has the first one ignored
        signal.signal(stop, signal.default_int_handler)
    given = _parser().parse_args()
    databases = given.database or ["SQLite", *(["PostgreSQL"] if postgresql_programs() else [])]
    if given.partition and why_not():
        print(f"no partitions can be made: {why_not()}", file=sys.stderr)
        return 2
    if given.schedule:
        for fault in schedule(given.seed, given.faults, _points(databases[0], given.point)):
            print(json.dumps(asdict(fault)))
        return 0
    if given.report:
        report = run(databases[0], given)
        given.report.write_text(json.dumps(report))
        return 0
    reports = []
    with tempfile.TemporaryDirectory() as folder:
        for place, database in enumerate(databases):
            share = given.faults // len(databases) + (place < given.faults % len(databases))
            path = Path(folder) / f"{database}.json"
            command = [sys.executable, "-m", "tests.chaos", "--database", database, "--faults", str(share),
                       "--seed", str(given.seed), "--report", str(path)]  # fmt: skip
            command += [f"--point={point}" for point in given.point] + ["--usual-times"] * given.usual_times
            command += [f"--partition={seconds}" for seconds in given.partition]
            ended = subprocess.run(command, check=False)
            if ended.returncode == 0:
                reports.append(json.loads(path.read_text()))
    if given.faults:
        show(reports)
    for report in reports:
        if report["divisions"]:
            partitions.show(report["divisions"], report["lost"], report["double"])
        tell(report)
    return 1 if len(reports) < len(databases) or any(report["violations"] for report in reports) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", action="append", choices=["SQLite", "PostgreSQL"])
    parser.add_argument("--point", action="append", default=[], help="only what begins with this; may be repeated")
    parser.add_argument("--partition", action="append", type=float, default=[], metavar="SECONDS",
                        help="after the faults, divide nodes from the portal for so long; may be repeated")  # fmt: skip
    parser.add_argument("--usual-times", action="store_true", help="leases and waits as usual, not a tenth of them")
    parser.add_argument("--schedule", action="store_true", help="print the faults, do nothing")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    return parser


def _points(database: str, chosen: list[str]) -> list[str]:
    points = [point for point in all_points() if database != "SQLite" or point != "database: connections cut"]
    return [point for point in points if not chosen or point.startswith(tuple(chosen))]


def run(database: str, given: argparse.Namespace) -> dict[str, Any]:
    """Do the faults of a seed, and partitions, to an installation on a database; return what happened and is wrong."""
    from tests.chaos.breaking import remove
    from tests.chaos.servers import running

    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    violations: list[str] = []
    happened: list[tuple[str, float]] = []
    divisions: list[partitions.Partition] = []
    divided = bool(given.partition)
    faults = schedule(given.seed, given.faults, _points(database, given.point))
    with running(folder / "home", database, divided=divided, usual_times=given.usual_times) as servers:
        users = _begin_work(servers, given.seed)
        try:
            happened = _break(servers, users, faults, violations)
            divisions = partitions.divide(servers, given.partition)
        except TimeoutError as error:
            violations.append(str(error))
        finally:
            users.stop()
        _wait_for_quiet()
        left = servers.stop()
        report = _verdict(servers, users, happened)
    violations += report["violations"] + [f"a process is left: {line}" for line in left]
    if violations:
        print(f"what it was is kept in {folder}", file=sys.stderr)
    else:
        remove(folder)
    minutes = (time.monotonic() - began) / 60
    return report | {"database": database, "seed": given.seed, "divisions": partitions.rows(divisions),
                     "minutes": minutes, "violations": violations}  # fmt: skip


def _break(servers: Any, users: Any, faults: list[Fault], violations: list[str]) -> list[tuple[str, float]]:
    """Do the faults; return what happened and when [Unix time, s]."""
    from tests.chaos.breaking import Breaker

    breaker = Breaker(servers, users)
    happened = []
    for fault in faults:
        time.sleep(fault.pause)
        try:
            happened.append((fault.point, breaker.do(fault)))
        except TimeoutError as error:
            violations.append(f"fault {fault.number}: {error}")
        print(f"{fault.number}/{len(faults)} {fault.point}", file=sys.stderr, flush=True)
    return happened


def _begin_work(servers: Any, seed: int) -> Any:
    import django

    django.setup()
    from tests.chaos import history
    from tests.chaos.load import Users

    history.keep()
    users = Users(servers.url, servers.token, make_inputs(), seed)
    users.start()
    return users


def make_inputs() -> list[list[int]]:
    """Put two biases for each of some chips into the archive; return their numbers by chip."""
    from django.conf import settings
    from django.contrib.auth.models import User

    from archive.models import Product
    from archive.products import columns_of
    from dataserver.store import Store
    from recipes.kinds import KINDS

    user, store = User.objects.get(username="astronomer"), Store(settings.DATA_ROOT)
    chips = []
    for chip in range(CHIPS):
        frames = []
        for number in range(2):
            stored = store.put(io.BytesIO(f"bias {number} of chip {chip}".encode() * 1000))
            attributes = {"instrument": "camera", "chip": f"{chip:03d}", "readout_mode": "default",
                          "night": "2024-05-11", "date_obs": f"2024-05-12T03:{chip:02d}:{number:02d}",
                          "overscan_x": "[1:8,1:64]"}  # fmt: skip
            frame = Product.objects.create(
                kind="RawBias", name=f"RawBias_{chip}_{number}.fits", sha256=stored.sha256, file_size=stored.size,
                attributes=attributes, creator=user, timestamp_start=f"{attributes['date_obs']}Z",
                timestamp_end=f"{attributes['date_obs']}Z", **columns_of(KINDS["RawBias"], attributes),
            )  # fmt: skip
            frames.append(frame.pk)
        chips.append(frames)
    return chips


def _wait_for_quiet() -> None:
    """Wait until all has ended; what has not by then is told by the checker."""
    from django.db import connections

    from processing_units.frontend.models import Run

    connections.close_all()  # ours may have been cut with the others
    deadline = time.monotonic() + QUIET_SECONDS
    while Run.objects.filter(ended__isnull=True).exists() and time.monotonic() < deadline:
        time.sleep(0.2)


def _verdict(servers: Any, users: Any, happened: list[tuple[str, float]]) -> dict[str, Any]:
    from django.conf import settings

    from tests.chaos.checker import check, leftovers

    verdict = check(users.submitted, Path(settings.DATA_ROOT))
    violations = [*verdict.wrong, *verdict.lost.values(), *verdict.double.values()]
    violations += [f"a user was refused: {refusal}" for refusal in users.refused]
    violations += [f"a file is left: {path}" for path in leftovers(servers.home)]
    commits = sorted(change.at for changes in verdict.changes.values() for change in changes if change.new == "done")
    rows = []
    for point, moment in happened:
        alive = {job for job, changes in verdict.changes.items() if changes[0].at <= moment <= changes[-1].at}
        after = next((commit - moment for commit in commits if commit >= moment), None)
        rows.append((point, len(alive), after, len(alive & verdict.lost.keys()), len(alive & verdict.double.keys())))
    counts = {name: getattr(verdict, name) for name in
              ("jobs", "done", "cancelled", "failed", "attempts", "late", "collected")}  # fmt: skip
    return {"rows": rows, "runs": len(users.submitted), "violations": violations,
            "lost": len(verdict.lost), "double": len(verdict.double), **counts}  # fmt: skip


def show(reports: list[dict[str, Any]]) -> None:
    """Print what each point did, over all databases."""
    by_point: dict[str, list[list[Any]]] = defaultdict(list)
    for report in reports:
        for point, *row in report["rows"]:
            by_point[point].append(row)
    print("| point | faults | jobs under way | next commit after, median | longest | lost | double |")
    print("|-|-|-|-|-|-|-|")
    for point in sorted(by_point, key=all_points().index):
        rows = by_point[point]
        times = [row[1] for row in rows if row[1] is not None] or [0.0]
        print(f"| {point} | {len(rows)} | {sum(row[0] for row in rows)} | {median(times):.1f} s | {max(times):.1f} s | "
              f"{sum(row[2] for row in rows)} | {sum(row[3] for row in rows)} |")  # fmt: skip
    print()


def tell(report: dict[str, Any]) -> None:
    """Print the sums of a report, and what is wrong."""
    print(f"{report['database']}, seed {report['seed']}: {len(report['rows'])} faults at "
          f"{len({row[0] for row in report['rows']})} points in {report['minutes']:.0f} min; {report['runs']} "
          f"submissions, {report['jobs']} jobs: {report['done']} done, {report['cancelled']} cancelled, "
          f"{report['failed']} failed; {report['attempts']} attempts, {report['late']} of them lost; "
          f"{report['collected']} files were never committed and collected; "
          f"{len(report['violations'])} violations")  # fmt: skip
    for violation in report["violations"]:
        print(f"  {violation}")


if __name__ == "__main__":
    sys.exit(main())
