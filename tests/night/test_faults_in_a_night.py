"""Every process is killed in turn while a night runs: it ends complete, each product once.

R2, R4, R8 of the requirements, on the real processes that `make serve` starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.night.installation import Installation

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

# What a night of two chips in one filter allows, by kind; five science exposures.
EXPECTED = {
    **dict.fromkeys(
        ["ReadNoise", "BiasFrame", "DarkFrame", "HotPixelMap", "GainLinearity", "DomeFlatFrame", "TwilightFlatFrame",
         "ColdPixelMap", "MasterFlatFrame", "NightSkyFlatFrame", "FringeFrame"],
        2,
    ),
    **dict.fromkeys(
        ["ReducedScienceFrame", "AstrometricParameters", "CalibratedScienceFrame", "RegriddedFrame"],
        10,
    ),
    **dict.fromkeys(["PhotometricParameters", "PhotSrcCatalog"], 9),  # on one exposure no standard star can be used
    **dict.fromkeys(["CoaddedRegriddedFrame", "AssociateList", "ReferenceCatalogue"], 1),
    "SourceList": 11,  # of the exposures and the coadd
    "WeightFrame": 21,  # of the reduced and the regridded exposures and the coadd
}  # fmt: skip


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(0.05)


def kill_a_job(installation: Installation) -> bool:
    """Kill a child of a fork server while it works; return whether there was one."""
    for server in installation.processes("recipes.fork_server"):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended before we could
            for child in server.children():
                if child.status() != psutil.STATUS_ZOMBIE:
                    child.kill()
                    return True
    return False


def cluster_managers(installation: Installation) -> list[psutil.Process]:
    return installation.processes("-m processing_units.cluster_manager ", "--key-file")


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def kinds_made(installation: Installation) -> Counter[str]:
    """Count products by kind; what a second turn made anew (with fringes, with a zeropoint) has the old one's name."""
    made = {(product["kind"], product["name"]) for product in installation.products()}
    return Counter(kind for kind, _ in made if not kind.startswith("Raw"))


def test_a_night_survives_the_death_of_every_process(installation: Installation, small_night: Path) -> None:
    with installation.running("night", str(small_night)):
        wait_for(lambda: kill_a_job(installation), "a job")

        wait_for(lambda: kinds_made(installation)["BiasFrame"] == 2, "the first biases")
        kill(cluster_managers(installation)[0])

        wait_for(lambda: bool(cluster_managers(installation)), "a new cluster manager")
        kill(installation.processes(f"127.0.0.1:{installation.port + 2}")[0])  # Redis shows its address

        wait_for(lambda: kinds_made(installation)["GainLinearity"] >= 1, "gains")
        for worker in installation.processes("gunicorn", "awportal.wsgi"):
            kill(worker)

        wait_for(lambda: bool(installation.processes("manage.py", "frontend")), "the frontend")
        kill(installation.processes("manage.py", "frontend")[0])
        kill(installation.processes("manage.py", "keeper")[0])
    assert kinds_made(installation) == EXPECTED
    of_runs = [(product["run"], product["name"]) for product in installation.products() if product["run"]]
    assert len(of_runs) == len(set(of_runs)), "a job committed twice"


def names(installation: Installation) -> list[str]:
    return [item["name"] for item in installation.products() if not item["kind"].startswith("Raw")]


def test_a_second_run_of_the_night_adds_nothing(installation: Installation, small_night: Path) -> None:
    before = sorted(names(installation))
    installation.awrecipe("night", str(small_night))
    assert sorted(names(installation)) == before


def test_it_all_comes_back_after_a_stop(installation: Installation) -> None:
    before = sorted(names(installation))
    installation.stop()
    installation.start()
    assert sorted(names(installation)) == before


def test_a_launcher_that_is_killed_leaves_no_process(installation: Installation) -> None:
    ours = installation.processes()
    assert installation._process is not None
    installation._process.kill()
    installation._process.wait()
    _, left = psutil.wait_procs(ours, timeout=30)
    assert not left, [process.cmdline() for process in left]
    installation._process = None
