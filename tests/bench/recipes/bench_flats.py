"""Flats: DomeFlat beside ccdproc and IRAF, NightSkyFlat and FringeFlat beside the same steps of ccdproc and photutils.

Recipes run in forks of a warm process, from files, as jobs do; the peers do the arithmetic alone, warm too.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from table import BenchTable

TREE = Path(__file__).resolve().parent.parent.parent.parent
FOLDER = TREE / "build" / "bench-flats"
SHAPE = (2048, 1024)
FLATS, FIELDS = 10, 8
STARS = 800
ROUNDS = 3
Image = NDArray[np.float32]
OPEN = ExitStack()  # the files of a fork, until it ends


def main() -> None:
    """Make the frames, run all, print the table, remove the frames."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        run(BenchTable(f"Flats of {SHAPE[0]} × {SHAPE[1]} pixels, seconds"))
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def run(table: BenchTable) -> None:
    """Time ours beside the peers."""
    from recipes.fork_server import _preload

    _preload()
    random = np.random.default_rng(3)
    write("flat", FLATS, lambda: random.poisson(20000.0, SHAPE).astype(np.float32))
    write("sky", FIELDS, lambda: sky_frame(random))
    flats, skies = ([FOLDER / f"{name}{number}.fits" for number in range(count)]
                    for name, count in (("flat", FLATS), ("sky", FIELDS)))  # fmt: skip
    dome, _ = best(lambda: dome_flat(flats))
    table.compare(f"DomeFlat, {FLATS} frames", dome, "ccdproc.combine", clock(lambda: ccdproc_flat(flats)), at_least=10)
    if shutil.which("irafcl"):
        table.compare(f"DomeFlat, {FLATS} frames", dome, "IRAF flatcombine", clock(lambda: flatcombine(flats)),
                      at_least=3)  # fmt: skip
    peer = clock(lambda: masked_median(skies))
    night, few = best(lambda: night_sky_flat(skies))
    table.compare(f"NightSkyFlat, {FIELDS} frames", night, "photutils and ccdproc", peer, at_least=5)
    fringes, _ = best(lambda: fringe_flat(skies))
    table.compare(f"FringeFlat, {FIELDS} frames", fringes, "photutils and ccdproc", peer, at_least=2)
    _, many = best(lambda: night_sky_flat(skies * 3), rounds=1)
    # Each frame more leaves its masks of a bit a pixel, and thumbnails: 0.5 MiB.
    table.bound(f"NightSkyFlat: memory of {3 * FIELDS} frames beyond that of {FIELDS}", many - few, "MiB", at_most=30)
    table.show()


def write(name: str, count: int, make: Callable[[], Image]) -> None:
    """Write frames of one kind."""
    for number in range(count):
        fits.PrimaryHDU(make().astype(np.uint16)).writeto(FOLDER / f"{name}{number}.fits")


def sky_frame(random: np.random.Generator) -> Image:
    """Return an exposure of a field of stars, with the sky's noise."""
    image = np.full(SHAPE, 400.0)
    span = np.arange(-12, 13)
    star = np.exp(-(span[:, np.newaxis] ** 2 + span**2) / 8) / (8 * np.pi)
    for y, x in zip(*(random.integers(12, length - 13, STARS) for length in SHAPE), strict=True):
        image[y - 12 : y + 13, x - 12 : x + 13] += 10 ** random.uniform(2.5, 5) * star
    return random.poisson(image).astype(np.float32)


def frames(paths: Sequence[Path], kind: str, variance: bool = False) -> list[object]:
    """Return frames as a recipe gets them."""
    from recipes.attributes import FrameAttributes
    from recipes.fits_reading import open_fits, read_raw_frame
    from recipes.frame import Frame

    attributes = FrameAttributes(filter="z", night="2026-01-01", nominal_gain=1.0)
    files = [OPEN.enter_context(open_fits(path, path.name, FOLDER)) for path in paths]
    opened = [read_raw_frame(file, attributes, FOLDER, kind) for file in files]
    if not variance:
        return list(opened)
    return [Frame(raw.data, variance=np.maximum(raw.data, 1), attributes=attributes, name=raw.name) for raw in opened]


def bias_frame() -> object:
    """Return a bias of zero."""
    from recipes.attributes import FrameAttributes
    from recipes.frame import Frame

    attributes = FrameAttributes(read_noise=5.0, overscan_correction=0)
    return Frame(np.zeros(SHAPE, np.float32), attributes=attributes, name="bias")


def dome_flat(paths: Sequence[Path]) -> None:
    """Run DomeFlat."""
    from recipes.dome_flat import dome_flat as recipe

    recipe(frames(paths, "RawDomeFlat"), bias_frame())


def night_sky_flat(paths: Sequence[Path]) -> None:
    """Run NightSkyFlat."""
    from recipes.night_sky_flat import night_sky_flat as recipe

    recipe(frames(paths, "RawScience"), bias_frame())


def fringe_flat(paths: Sequence[Path]) -> None:
    """Run FringeFlat."""
    from recipes.fringe_flat import fringe_flat as recipe

    recipe(frames(paths, "RawScience", variance=True))


def ccdproc_flat(paths: Sequence[Path]) -> None:
    """Average flats as ccdproc does, scaled to their medians, clipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ccdproc

        ccdproc.combine([str(path) for path in paths], unit="adu", method="average",
                        scale=lambda data: 1 / np.median(data), sigma_clip=True, sigma_clip_low_thresh=5,
                        sigma_clip_high_thresh=5, sigma_clip_func=np.ma.median)  # fmt: skip


def flatcombine(paths: Sequence[Path]) -> None:
    """Average flats as IRAF does."""
    (FOLDER / "flat.lis").write_text("".join(f"{path.name}\n" for path in paths))
    commands = ("noao", "imred", "ccdred", 'ccdred.instrument=""', "imdelete flat_out.fits verify=no",
                'flatcombine ("@flat.lis", output="flat_out.fits", combine="average", reject="ccdclip", ccdtype="", '
                'process=no, subsets=no, delete=no, clobber=no, scale="median", gain="1", rdnoise="5", mclip=yes)',
                "logout")  # fmt: skip
    (FOLDER / "flat.cl").write_text("\n".join(commands) + "\n")
    subprocess.run(["irafcl", "-f", "flat.cl"], cwd=FOLDER, env=os.environ | {"USER": "astronomer"}, check=False,
                   capture_output=True, stdin=subprocess.DEVNULL, timeout=300)  # fmt: skip
    if not (FOLDER / "flat_out.fits").exists():
        raise SystemExit("IRAF's flatcombine made nothing")


def masked_median(paths: Sequence[Path]) -> None:
    """Do what a night-sky flat takes: background, segmentation, grown mask, clipped median."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from astropy import units
        from astropy.nddata import CCDData
        from ccdproc import Combiner
        from photutils.background import Background2D
        from photutils.segmentation import detect_sources
        from photutils.utils import circular_footprint

        images = []
        for path in paths:
            data = fits.getdata(path).astype(float)
            sky = Background2D(data, 64, filter_size=3)
            found = detect_sources(data - sky.background, 1.5 * sky.background_rms, 5)
            mask = found.make_source_mask(footprint=circular_footprint(7))
            images.append(CCDData(data / np.median(data[~mask]), mask=mask, unit=units.dimensionless_unscaled))
        combiner = Combiner(images)
        combiner.sigma_clipping(low_thresh=3, high_thresh=3, func=np.ma.median)
        combiner.median_combine()


def best(work: Callable[[], None], rounds: int = ROUNDS) -> tuple[float, float]:
    """Run `work` in forks; return the median of the seconds and the largest peak of memory [MiB]."""
    seconds, memory = zip(*(forked(work) for _ in range(rounds)), strict=True)
    return statistics.median(seconds), max(memory)


def forked(work: Callable[[], None]) -> tuple[float, float]:
    """Run `work` in a fork of this process; return its seconds and its peak of memory [MiB]."""
    begin = time.perf_counter()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except Exception:  # noqa: BLE001 - the edge of the process: told, then ended
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit("a recipe failed")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def clock(work: Callable[[], None]) -> float:
    """Return the seconds that `work` takes, imports not counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ccdproc  # noqa: F401
        import photutils.segmentation  # noqa: F401
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
