"""Bias as a job against the stacks of other programs: 30 (10) bias frames of 2048 x 4096 pixels, 3-sigma clipped mean.

Ours runs as a job does: forked from a process that has imported and compiled everything, FITS in and out, variance,
mask, quality control, lineage and checksums included. The peers run with their nearest rule.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from table import BenchTable

TREE = Path(__file__).resolve().parent.parent.parent.parent
FOLDER = TREE / "build" / "bench-stack"
SHAPE = (4096, 2048)
READ_NOISE = 5.0
OUTLIERS = 20_000
ROUNDS = 3


def main() -> None:
    """Make the frames, run all, print the table, remove the frames."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        run(BenchTable("Bias of 30 frames of 2048 × 4096 pixels (uint16), seconds as a warm job"))
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def run(table: BenchTable) -> None:
    """Time ours and the peers, and hold the result to a plain reference."""
    from recipes.fork_server import _preload

    paths, reference = make_frames(100)
    _preload()
    ours = {}
    for frames, number in ((30, 1), (30, 2), (10, 1), (10, 2), (100, 2)):
        seconds, memory = zip(*(job(paths[:frames], number) for _ in range(ROUNDS)), strict=True)
        ours[frames, number] = statistics.median(seconds)
        table.tell(f"{frames} frames, {number} threads", f"{ours[frames, number]:.3f} s, {max(memory):.0f} MiB")
        if number == 2:
            table.bound(f"memory of {frames} frames", max(memory), "MiB", at_most=250)
    best = ours[30, 2]
    for frames, bar in ((30, 10.0), (10, 0.0)):
        floor = statistics.median(clock(lambda count=frames: read_bytes(paths[:count])) for _ in range(ROUNDS))
        if bar:
            table.bound(f"times reading the bytes of {frames}", ours[frames, 2] / floor, "", at_most=bar)
        else:
            table.tell(f"times reading the bytes of {frames}", f"{ours[frames, 2] / floor:.1f}")
    table.compare("two threads against one", best, "one thread", ours[30, 1], at_least=1.2)
    check(table, paths, reference)
    table.compare("Bias", best, "gnuastro sigclip-mean, 2 threads", gnuastro(paths[:30]), at_least=20)
    table.compare("Bias", best, "IRAF zerocombine", zerocombine(paths[:30]), at_least=12)
    table.compare("Bias", best, "ccdproc.combine", ccdproc_combine(paths[:30]), at_least=30)
    table.show()


def make_frames(number: int) -> tuple[list[Path], np.ndarray]:
    """Write bias frames, those beyond the thirtieth links to them; return the true image as well."""
    rng = np.random.default_rng(20)
    structure = 1000 + 2 * np.sin(np.arange(SHAPE[1]) / 40)[np.newaxis] + np.zeros((SHAPE[0], 1))
    paths = []
    for index in range(30):
        data = structure + READ_NOISE * rng.standard_normal(SHAPE, np.float32)
        # outliers of 15 sigma: as many in each frame as one frame in ten has in the figures of the peers
        hit = rng.integers(0, data.size, OUTLIERS // 10)
        data.ravel()[hit] += 3 * READ_NOISE * rng.uniform(2, 10, hit.size)
        path = FOLDER / f"bias{index:02d}.fits"
        fits.PrimaryHDU(np.round(data).astype(np.uint16)).writeto(path)
        paths.append(path)
    for index in range(30, number):
        path = FOLDER / f"bias{index:02d}.fits"
        os.link(paths[index % 30], path)
        paths.append(path)
    return paths, structure


def job(paths: Sequence[Path], threads: int) -> tuple[float, float]:
    """Run Bias in a fork of this process, as the fork server does; return its seconds and its peak of memory [MiB]."""
    from recipes.running import run_job

    folder = FOLDER / "job"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    noise = folder / "noise.fits"
    header = fits.Header([("ATTRS", json.dumps({"read_noise": READ_NOISE}))])
    fits.PrimaryHDU(None, header).writeto(noise)
    inputs = [{"role": "raw_bias", "kind": "RawBias", "path": str(path), "name": path.name, "sha256": "0" * 64}
              for path in paths]  # fmt: skip
    inputs.append({"role": "read_noise", "kind": "ReadNoise", "path": str(noise), "name": "noise", "sha256": "0" * 64})
    file = folder / "job.json"
    file.write_text(json.dumps({"recipe": "Bias", "inputs": inputs, "threads": threads, "output_directory": "out"}))
    begin = time.perf_counter()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = run_job(file)
        finally:
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    result = json.loads((folder / "out" / "result.json").read_text())
    if status:
        raise SystemExit(f"Bias failed: {result['error']}")
    print("cpu", round(usage.ru_utime, 3), round(usage.ru_stime, 3)) if os.environ.get("CPU") else None
    return seconds, usage.ru_maxrss / 1024


def check(table: BenchTable, paths: Sequence[Path], truth: np.ndarray) -> None:
    """Hold the last product to the rule in plain numpy, and count the outliers that are left of ten frames."""
    for frames in (30, 10):
        job(paths[:frames], 2)
        (product,) = (FOLDER / "job" / "out").glob("Bias*.fits")
        rows = slice(0, 512)
        ours = fits.getdata(product, "SCI")
        stack = np.stack([fits.getdata(path)[rows] for path in paths[:frames]]).astype(np.float64)
        table.bound(f"difference from plain numpy, {frames} frames",
                    float(np.abs(ours[rows] - plain(stack)).max()), "adu", at_most=1e-3)  # fmt: skip
        if frames == 10:
            kept = np.count_nonzero(np.abs(ours - truth) > 6 * READ_NOISE / frames**0.5)
            table.bound("outlier pixels left of 10 frames", kept, "", at_most=20)


def plain(stack: np.ndarray) -> np.ndarray:
    """The rule of the recipe in a few lines of numpy."""
    kept = np.ones(stack.shape, bool)
    for _ in range(5):
        median = np.nanmedian(np.where(kept, stack, np.nan), axis=0)
        inside = kept & (np.abs(stack - median) <= 3 * READ_NOISE)
        inside = np.where(inside.any(axis=0), inside, kept)
        if np.array_equal(inside, kept):
            break
        kept = inside
    return np.asarray(np.nanmean(np.where(kept, stack, np.nan), axis=0))


def clock(function: Callable[[], object]) -> float:
    """Return the seconds that `function` takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def read_bytes(paths: Sequence[Path]) -> None:
    """Read files as fast as one process can."""
    buffer = bytearray(2**20)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def ccdproc_combine(paths: Sequence[Path]) -> float:
    """Combine with ccdproc, sigma-clipped about the median."""
    import warnings

    import ccdproc

    def way() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ccdproc.combine(
                [str(path) for path in paths], output_file=str(FOLDER / "ccdproc.fits"), method="average",
                sigma_clip=True, sigma_clip_low_thresh=3, sigma_clip_high_thresh=3, sigma_clip_func=np.ma.median,
                unit="adu", dtype="float32", overwrite_output=True,
            )  # fmt: skip

    return clock(way)


def zerocombine(paths: Sequence[Path]) -> float:
    """Combine with IRAF."""
    if not shutil.which("irafcl"):
        sys.exit("irafcl is missing: apt-get install iraf iraf-noao")
    (FOLDER / "list").write_text("\n".join(map(str, paths)) + "\n")
    script = FOLDER / "zero.cl"
    script.write_text(
        f'noao\nimred\nccdred\nset imtype = "fits"\nzerocombine ("@{FOLDER}/list", output="{FOLDER}/iraf.fits", '
        'combine="average", reject="sigclip", ccdtype="", process=no, lsigma=3, hsigma=3)\nlogout\n'
    )
    return clock(lambda: subprocess.run(["irafcl", "-f", str(script)], cwd=FOLDER, check=True, timeout=300,
                                        env=os.environ | {"USER": "root"}, capture_output=True))  # fmt: skip


def gnuastro(paths: Sequence[Path]) -> float:
    """Combine with gnuastro's arithmetic."""
    if not shutil.which("astarithmetic"):
        sys.exit("astarithmetic is missing: apt-get install gnuastro")
    command = ["astarithmetic", *map(str, paths), str(len(paths)), "3", "0.1", "sigclip-mean", "-g0", "-N2",
               f"--output={FOLDER}/gnuastro.fits"]  # fmt: skip
    return clock(lambda: subprocess.run(command, check=True, timeout=300, capture_output=True))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
