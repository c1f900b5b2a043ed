"""AssociateList of 1,000,000 × 1,000,000 sources within 1 arcsec against STILTS and astropy.

The bars are those of the matching: pairs in arrays, the closest singled out, in a warm process; STILTS' time is that of
its process; the best of the rounds, taken in turn. The whole job (two source lists read, associations written with
checksums) is told beside it.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

TREE = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(TREE))

from tests.bench.recipes.jobs import job_input, timed_job  # noqa: E402
from tests.bench.recipes.table import BenchTable  # noqa: E402

FOLDER = TREE / "build" / "bench-associate-list"
COUNT = 1_000_000
ROUNDS = 3
MATCH = """
import sys, numpy as np
from recipes import threads
from recipes.ccd.kernels import zones
from recipes.ccd.sky_pairs import ARCSEC, closest, pairs_within
threads.allow(2)
zones._warm_up()
def peak():  # of this process alone: getrusage counts what it was forked from
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
before = peak()
lists = np.load(sys.argv[1])
found = closest(pairs_within(*lists, ARCSEC), len(lists[0]), len(lists[2]))
print(before, peak(), len(found))
"""


def main() -> None:
    """Make the lists, run all in turn, print the table."""
    from recipes import threads
    from recipes.ccd.kernels.compiled import load_all
    from recipes.ccd.sky_pairs import ARCSEC, closest, pairs_within
    from tests.recipes.stilts import tmatch2, write_list

    FOLDER.mkdir(parents=True, exist_ok=True)
    lists = _lists()
    np.save(FOLDER / "lists.npy", np.array(lists))
    files = write_list(FOLDER / "one.fits", *lists[:2]), write_list(FOLDER / "two.fits", *lists[2:])
    load_all()

    def ours(number: int) -> int:
        threads.allow(number)
        pairs = pairs_within(*lists, ARCSEC)
        closest(pairs, COUNT, COUNT)
        return len(pairs)

    found: dict[str, Any] = {}
    ways: dict[str, Callable[[], Any]] = {
        "1": lambda: ours(1),
        "2": lambda: ours(2),
        "astropy": lambda: _astropy(lists),
        "stilts": lambda: len(tmatch2(*files, 1.0, "all")[0]),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begin, busy = time.perf_counter(), _busy()
            found[name] = way()
            times[name].append((time.perf_counter() - begin, _busy() - busy))
    wall, cpu = ({name: min(entry[which] for entry in some) for name, some in times.items()}
                 for which in (0, 1))  # fmt: skip
    before, peak, _ = _memory()
    table = BenchTable(f"AssociateList, {COUNT:,} × {COUNT:,} within 1 arcsec")
    table.tell("pairs", f"{found['1']}", f"STILTS {found['stilts']}, astropy (nearest only) {found['astropy']}")
    for number in ("1", "2"):
        table.compare(f"{number} thread(s)", wall[number], "STILTS tmatch2", wall["stilts"], at_least=8)
        table.compare(f"{number} thread(s)", wall[number], "astropy", wall["astropy"], at_least=5)
    told = ", ".join(f"{name} {cpu[name]:.3g} s" for name in ("stilts", "astropy"))
    table.tell("processor time, 1 thread", f"{cpu['1']:.3g} s", told)
    table.bound("memory of the process", peak, "MiB", at_most=400)
    table.tell("  of which before the lists are read", f"{before:.0f} MiB")
    table.tell("whole job, 2 threads", f"{_job(lists):.3g} s", "reading and writing FITS, all columns")
    table.show()
    shutil.rmtree(FOLDER)


def _lists() -> tuple[Any, Any, Any, Any]:
    """Return positions over the whole sky, and the same again with errors of 0.6 arcsec, in another order."""
    random = np.random.default_rng(1)
    ra, dec = random.uniform(0, 360, COUNT), np.degrees(np.arcsin(random.uniform(-1, 1, COUNT)))
    error = 0.6 / 3600
    turned = (ra + random.normal(0, error, COUNT) / np.cos(np.radians(dec))) % 360
    raised = np.clip(dec + random.normal(0, error, COUNT), -90, 90)
    order = random.permutation(COUNT)
    return ra, dec, turned[order], raised[order]


def _astropy(lists: tuple[Any, Any, Any, Any]) -> int:
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    one, two = (SkyCoord(ra * u.deg, dec * u.deg) for ra, dec in (lists[:2], lists[2:]))
    _, distance, _ = one.match_to_catalog_sky(two)
    return int((distance.arcsec <= 1).sum())


def _busy() -> float:
    """Return the processor time [s] of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(entry.ru_utime + entry.ru_stime for entry in used)


def _memory() -> tuple[float, float, int]:
    """Return the memory [MiB] before and after matching in a process of its own, and the number of pairs."""
    done = subprocess.run([sys.executable, "-c", MATCH, str(FOLDER / "lists.npy")], check=True, capture_output=True,
                          cwd=TREE)  # fmt: skip
    before, peak, pairs = done.stdout.split()
    return float(before), float(peak), int(pairs)


def _job(lists: tuple[Any, Any, Any, Any]) -> float:
    """Return the time of a whole job on two source lists of these positions."""
    inputs = []
    for name, ra, dec in (("a", *lists[:2]), ("b", *lists[2:])):
        columns = [
            fits.Column("SID", "K", array=np.arange(1, COUNT + 1)),
            fits.Column("ALPHAWIN_J2000", "D", array=ra),
            fits.Column("DELTAWIN_J2000", "D", array=dec),
            fits.Column("FLAGS", "I", array=np.zeros(COUNT, np.int16)),
        ]
        primary = fits.PrimaryHDU()
        primary.header["ATTRS"] = json.dumps({"instrument": "bench", "chip": "1"})
        path = FOLDER / f"SourceList_{name}.fits"
        fits.HDUList([primary, fits.BinTableHDU.from_columns(columns)]).writeto(path, overwrite=True)
        inputs.append(job_input("source_lists", "SourceList", path))
    return timed_job(FOLDER, "AssociateList", inputs, threads=2)[0]


if __name__ == "__main__":
    main()
