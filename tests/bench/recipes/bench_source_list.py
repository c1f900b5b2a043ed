"""SourceList as a job in a warm process against source-extractor and photutils: 4096 × 2048, about 10,000 sources.

Our time is that of the whole job: reading the frame with its variance and mask, all columns, QC, writing the table with
checksums. Source-extractor's is that of its process, with the same settings and columns, without weight. The best of
the rounds, taken in turn, so that what else the machine does spoils neither; photutils runs once and is held to the
processor's time.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

TREE = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(TREE))

from recipes.ccd.kernels.compiled import load_all  # noqa: E402
from tests.bench.recipes.jobs import job_input, timed_job  # noqa: E402
from tests.bench.recipes.table import BenchTable  # noqa: E402
from tests.recipes.source_extractor import SourceExtractor  # noqa: E402
from tests.recipes.star_field import make_field  # noqa: E402

FOLDER = TREE / "build" / "bench-source-list"
WIDTH, HEIGHT, COUNT = 4096, 2048, 22_000
ROUNDS = 7


def main() -> None:
    """Render once, run all in turn, print the table."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    field = make_field(WIDTH, HEIGHT, COUNT, galaxy_shapes=False)
    peer = SourceExtractor(FOLDER)
    image = peer.write("image.fits", field.pixels)
    frame = _write_frame(field.pixels, field.noise)
    load_all()
    _, ours = _job(frame, 1)
    times: dict[str, list[float]] = {"1": [], "2": [], "peer": [], "1 cpu": [], "peer cpu": []}
    for _ in range(ROUNDS):
        busy = time.process_time()
        times["1"].append(_job(frame, 1)[0])
        times["1 cpu"].append(time.process_time() - busy)
        begin, busy = time.perf_counter(), _busy_children()
        catalogue = peer.run(image)
        times["peer"].append(time.perf_counter() - begin)
        times["peer cpu"].append(_busy_children() - busy)
        times["2"].append(_job(frame, 2)[0])
    best = {name: min(seconds) for name, seconds in times.items()}
    table = BenchTable(f"SourceList, {WIDTH} × {HEIGHT}, {len(catalogue)} sources (bars of shared performance figures)")
    table.tell("sources", f"{ours['source_count']:.0f}", f"source-extractor {len(catalogue)}")
    table.compare("1 thread", best["1"], "source-extractor", best["peer"], at_least=1 / 1.5)
    table.compare("2 threads", best["2"], "source-extractor", best["peer"], at_least=1 / 0.9)
    table.tell("processor time, 1 thread", f"{best['1 cpu']:.3g} s", f"source-extractor {best['peer cpu']:.3g} s")
    if "--quick" not in sys.argv:
        busy = time.process_time()
        number = _photutils(field.pixels)
        seconds = time.process_time() - busy
        what = f"processor time, 1 thread ({number} of photutils)"
        table.compare(what, best["1 cpu"], "photutils", seconds, at_least=20)
    table.tell("reading the frame's bytes", f"{_reading(frame):.3g} s")
    table.tell("memory of the process", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB",
               f"source-extractor {_peer_memory(image):.0f} MiB")  # fmt: skip
    table.show()
    shutil.rmtree(FOLDER)


def _write_frame(pixels: NDArray[np.float32], noise: float) -> Path:
    """Write the field as a reduced frame, with variance and mask."""
    attributes = {"instrument": "bench", "chip": "1", "filter": "r", "date_obs": "2026-01-01T00:00:00"}
    header = fits.Header()
    header["ATTRS"] = json.dumps(attributes)
    science = fits.ImageHDU(pixels, name="SCI")
    science.header["BUNIT"] = "electron"
    variance = fits.ImageHDU((np.maximum(pixels, 0) + np.float32(25)).astype(np.float32), name="VAR")
    mask = fits.ImageHDU(np.zeros(pixels.shape, np.uint16), name="MASK")
    mask.header["MASKCONV"] = "BADBITS"
    path = FOLDER / "frame.fits"
    fits.HDUList([fits.PrimaryHDU(header=header), science, variance, mask]).writeto(path, overwrite=True)
    return path


def _job(frame: Path, threads: int) -> tuple[float, dict[str, float]]:
    """Return the seconds of a job, and the QC values of its list."""
    inputs = [job_input("frame", "ReducedScienceFrame", frame)]
    seconds, (product,) = timed_job(FOLDER, "SourceList", inputs, threads)
    return seconds, {entry["name"]: entry["value"] for entry in product["measurements"]}


def _photutils(pixels: NDArray[np.float32]) -> int:
    """Do with photutils what its documentation shows for the same task; return the number of sources."""
    from astropy.convolution import convolve
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, SExtractorBackground
    from photutils.segmentation import SourceCatalog, SourceFinder

    background = Background2D(pixels, 64, filter_size=3, sigma_clip=SigmaClip(3.0),
                              bkg_estimator=SExtractorBackground())  # fmt: skip
    signal = pixels - background.background
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    smooth = convolve(signal, kernel)
    finder = SourceFinder(n_pixels=5, connectivity=8, n_levels=32, contrast=0.005, progress_bar=False)
    segments = finder(smooth, 1.5 * background.background_rms)
    catalogue = SourceCatalog(signal, segments, convolved_data=smooth, error=background.background_rms)
    for name in ("kron_flux", "segment_flux", "semimajor_axis", "orientation", "centroid_win"):
        getattr(catalogue, name)
    for diameter in (5, 10, 20):
        catalogue.circular_photometry(diameter / 2)
    return len(catalogue)


def _busy_children() -> float:
    """Return the processor time [s] of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reading(path: Path) -> float:
    begin = time.perf_counter()
    path.read_bytes()
    return time.perf_counter() - begin


def _peer_memory(image: Path) -> float:
    """Return the peak memory [MiB] of source-extractor, run from a small process so that no fork of ours counts."""
    script = (
        "import resource, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from tests.recipes.source_extractor import SourceExtractor;"
        "SourceExtractor(Path(sys.argv[2]).parent).run(Path(sys.argv[2]));"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(TREE), str(image)], check=True, capture_output=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
