"""``python -m tests.fuzz``: damaged and odd frames through every recipe; exit code 1 where one ends as it must not."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy comes in: threads and forks do not mix

_SHOWN = 40


def main() -> int:
    """Run the cases asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("numbers", type=int, nargs="*", help="of single cases to run again")
    parser.add_argument("--cases", type=int, default=10_000, help="how many (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default %(default)s)")
    parser.add_argument("--keep", type=Path, help="keep the folders of the cases that fail here")
    given = parser.parse_args()
    numbers = given.numbers or range(given.first, given.first + given.cases)
    begin = time.monotonic()
    room = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="awportal-fuzz-", dir=room) as folder:
        failures, ends = _run(Path(folder), numbers, given.keep)
    print(f"{len(numbers)} cases in {time.monotonic() - begin:.0f} s, {len(failures)} failures; "
          + ", ".join(f"{kind} {number}" for kind, number in sorted(ends.items())))  # fmt: skip
    for line in failures[:_SHOWN]:
        print(line)
    return 1 if failures else 0


def _run(folder: Path, numbers: Sequence[int], keep: Path | None) -> tuple[list[str], Counter[str]]:
    from recipes.fork_server import _preload
    from tests.fuzz.cases import make_case
    from tests.fuzz.library import Library
    from tests.fuzz.verdict import run_case

    _preload()
    library = Library(folder / "library")
    failures: list[str] = []
    ends: Counter[str] = Counter()
    for number in numbers:
        place = folder / f"case{number}"
        case = make_case(number, library, place)
        end, wrong = run_case(case)
        ends[end] += 1
        if wrong:
            failures.append(f"{number} {case.recipe}: {end}: {wrong} [{'; '.join(case.damages)}]")
            if keep:
                shutil.copytree(place, keep / str(number), dirs_exist_ok=True)
        shutil.rmtree(place)
    return failures, ends


if __name__ == "__main__":
    sys.exit(main())
