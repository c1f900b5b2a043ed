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
from typing import TYPE_CHECKING

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy comes in: threads and forks do not mix

_BETWEEN_NEWS = 500  # cases

if TYPE_CHECKING:
    from tests.fuzz.bounded import Ending


def main() -> int:
    """Run the cases asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("numbers", type=int, nargs="*", help="of single cases to run again")
    parser.add_argument("--cases", type=int, default=10_000, help="how many (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default %(default)s)")
    parser.add_argument("--keep", type=Path, help="keep the folders of the cases that fail here")
    given = parser.parse_args()
    numbers = given.numbers or range(given.first, given.first + given.cases)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    begin = time.monotonic()
    room = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="awportal-fuzz-", dir=room) as folder:
        endings = _run(Path(folder), numbers, given.keep)
    failures = [ending for ending in endings if ending.wrong]
    ends = Counter(ending.end for ending in endings)
    print(f"{len(numbers)} cases in {time.monotonic() - begin:.0f} s, {len(failures)} failures; "
          + ", ".join(f"{kind} {number}" for kind, number in sorted(ends.items())))  # fmt: skip
    _print_table(endings)
    return 1 if failures else 0


def _run(folder: Path, numbers: Sequence[int], keep: Path | None) -> list[Ending]:
    from recipes.fork_server import _preload
    from tests.fuzz.bounded import run_bounded
    from tests.fuzz.library import Library

    _preload()
    library = Library(folder / "library")
    endings: list[Ending] = []
    for done, number in enumerate(numbers, 1):
        place = folder / f"case{number}"
        ending = run_bounded(number, library, place)
        endings.append(ending)
        if ending.wrong:  # at once: a long run that is cut off has said what it found
            print(f"{number} {ending.recipe}: {ending.end}: {ending.wrong} [{'; '.join(ending.damages)}]")
            if keep and place.exists():
                shutil.copytree(place, keep / str(number), dirs_exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        if done % _BETWEEN_NEWS == 0:
            print(f"... {done} cases, up to {number}", file=sys.stderr)
    return endings


def _print_table(endings: list[Ending]) -> None:
    """Print by recipe how the cases ended, and which took longest."""
    print(f"{'recipe':<15}{'cases':>6}{'made':>6}{'refused':>8}{'failures':>9}{'longest':>9} s (case)")
    for recipe in dict.fromkeys(ending.recipe for ending in endings):
        own = [ending for ending in endings if ending.recipe == recipe]
        ends = Counter(ending.end for ending in own if not ending.wrong)
        longest = max(own, key=lambda ending: ending.seconds)
        print(f"{recipe:<15}{len(own):>6}{ends['made']:>6}{ends['refused']:>8}{sum(bool(e.wrong) for e in own):>9}"
              f"{longest.seconds:>9.1f} ({longest.number})")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
