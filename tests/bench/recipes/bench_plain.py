"""Each recipe inside a warm process against the plain numpy/astropy way, on one chip of a simulated night.

Both read and write FITS; the recipe also propagates variance, measures QC and writes lineage. Medians of three. Names
of recipes on the command line leave the plain way of all others out.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
import plain
from jobs import job_input, timed_job
from rich.console import Console
from rich.table import Table

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "awportal.settings")
django.setup()

from archive.headers import read_units  # noqa: E402
from archive.instruments.simcam import CAMERA  # noqa: E402
from archive.translation.translate import translate  # noqa: E402
from recipes.ccd.kernels.compiled import load_all  # noqa: E402

TREE = Path(__file__).resolve().parent.parent.parent.parent
NIGHT = TREE / "build" / "bench-night"
SIZE = "1024x2048"
ROUNDS = 3


@dataclass
class Bench:
    """The night's files by type, the products made so far, and the figures."""

    raw: dict[str, list[Path]]
    attributes: dict[Path, dict[str, Any]]
    made: dict[str, Path]
    rows: list[tuple[str, float, float]]

    def recipe(self, name: str, roles: dict[str, tuple[str, list[Path]]]) -> float:
        """Run a recipe from a job file, keep its products, return its seconds."""
        folder = NIGHT / "jobs" / name
        inputs = [
            job_input(role, kind, path, self.attributes.get(path))
            for role, (kind, paths) in roles.items()
            for path in paths
        ]
        seconds, products = timed_job(folder, name, inputs)
        for product in products:
            self.made[product["kind"]] = folder / "outputs" / product["path"]
            self.attributes[folder / "outputs" / product["path"]] = product["attributes"]
        return seconds

    def compare(self, name: str, roles: dict[str, tuple[str, list[Path]]], way: Callable[[], None]) -> None:
        """Time a recipe and the plain way, in turn."""
        ours, theirs = [], []
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            self.recipe(name, roles)
            return
        for _ in range(ROUNDS):
            ours.append(self.recipe(name, roles))
            begin = time.perf_counter()
            way()
            theirs.append(time.perf_counter() - begin)
        self.rows.append((name, statistics.median(ours), statistics.median(theirs)))


def main() -> None:
    """Observe once, run all, print the table."""
    warnings.simplefilter("ignore")  # of the plain way: only the table is to be seen
    if not (NIGHT / "truth").exists():
        command = [sys.executable, "-m", "observatory", str(NIGHT), "--chips", "1", "--size", SIZE, "--filters", "r",
                   "--biases", "7", "--dome-flats", "6", "--twilight-flats", "6", "--standards", "0"]  # fmt: skip
        subprocess.run(command, check=True, cwd=TREE, stdout=subprocess.DEVNULL)
    bench = load()
    raw, made = bench.raw, bench.made
    load_all()
    out = NIGHT / "plain.fits"
    domes = [path for path in raw["RawDomeFlat"] if bench.attributes[path]["exposure_time"] == 8]
    transfer = [path for path in raw["RawDomeFlat"] if path not in domes]
    twilights = raw["RawTwilightFlat"][1:]
    seconds = bench.attributes[raw["RawDark"][0]]["exposure_time"]

    def roles(**given: str) -> dict[str, tuple[str, list[Path]]]:
        return {role: (kind, [made[kind]]) for role, kind in given.items()}

    biases = {"raw_bias": ("RawBias", raw["RawBias"])}
    bench.compare("ReadNoise", biases, lambda: plain.read_noise(raw["RawBias"], out))
    bench.compare("Bias", {**biases, **roles(read_noise="ReadNoise")}, lambda: plain.bias(raw["RawBias"], out))
    master = made["BiasFrame"]
    bench.compare(
        "Dark",
        {"raw_dark": ("RawDark", raw["RawDark"]), **roles(bias_frame="BiasFrame")},
        lambda: plain.dark(raw["RawDark"], master, seconds, out),
    )
    bench.compare(
        "HotPixels",
        roles(bias_frame="BiasFrame", dark_frame="DarkFrame"),
        lambda: plain.hot_pixels(master, made["DarkFrame"], out),
    )
    bench.compare(
        "Gain",
        {"raw_flat": ("RawDomeFlat", transfer), **roles(bias_frame="BiasFrame", read_noise="ReadNoise")},
        lambda: plain.gain(transfer, master, out),
    )
    detector = roles(bias_frame="BiasFrame", hot_pixel_map="HotPixelMap", gain_linearity="GainLinearity")
    bench.compare("DomeFlat", {"raw_flat": ("RawDomeFlat", domes), **detector}, lambda: plain.flat(domes, master, out))
    dome = made["DomeFlatFrame"]
    bench.compare("ColdPixels", roles(flat="DomeFlatFrame"), lambda: plain.cold_pixels(dome, out))
    bench.compare(
        "TwilightFlat",
        {"raw_flat": ("RawTwilightFlat", twilights), **detector},
        lambda: plain.flat(twilights, master, out),
    )
    bench.compare(
        "MasterFlat",
        roles(dome_flat="DomeFlatFrame", twilight_flat="TwilightFlatFrame", cold_pixel_map="ColdPixelMap"),
        lambda: plain.master_flat(dome, made["TwilightFlatFrame"], made["ColdPixelMap"], out),
    )
    gain = bench.attributes[made["GainLinearity"]]["gain"]
    noise = bench.attributes[made["ReadNoise"]]["read_noise"]
    science, flat, maps = raw["RawScience"][0], made["MasterFlatFrame"], [made["HotPixelMap"], made["ColdPixelMap"]]
    bench.compare(
        "Reduce",
        {
            "raw_science": ("RawScience", [science]),
            **detector,
            **roles(master_flat="MasterFlatFrame", cold_pixel_map="ColdPixelMap", read_noise="ReadNoise"),
        },
        lambda: plain.reduce(science, master, flat, maps, gain, noise, out),
    )
    bench.compare(
        "SourceList",
        roles(frame="ReducedScienceFrame", weight="WeightFrame"),
        lambda: plain.source_list(made["ReducedScienceFrame"], out),
    )
    show(bench.rows)


def load() -> Bench:
    """Read the headers of the night as ingest does."""
    raw: dict[str, list[Path]] = {}
    attributes = {}
    for path in sorted(NIGHT.glob("*.fits")):
        if path.name.startswith("plain"):
            continue
        with path.open("rb") as file:
            frame = translate(read_units(file), path.name, CAMERA)[0]
        raw.setdefault(frame.kind, []).append(path)
        attributes[path] = frame.attributes.model_dump(mode="json")
    return Bench(raw, attributes, {}, [])


def show(rows: list[tuple[str, float, float]]) -> None:
    """Print the table."""
    table = Table(title=f"one chip of {SIZE}, FITS in and out, seconds")
    for heading in ("recipe", "recipe s", "plain way s", "times as fast"):
        table.add_column(heading, justify="left" if heading == "recipe" else "right")
    for name, ours, theirs in rows:
        table.add_row(name, f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
