"""Reduce against ccdproc, astroscrappy and IRAF: a simulated exposure of 2048 x 4096 pixels with stars and cosmic rays.

The peers do the same steps where they can; all get their masters with uncertainties. Medians of a few rounds, in turn.
"""

from __future__ import annotations

import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from jobs import job_input, timed_job, write_job
from table import BenchTable

TREE = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(TREE))
FOLDER = TREE / "build" / "bench-reduce"
ROUNDS = 3
THREADS = 2
FULL = slice(0, 1024)  # rows on which astroscrappy's full medians are run: they take long
EDGE = 16
# A job as the fork server runs it; prints its peak of memory [MiB].
FORKED = """
import os, sys
from pathlib import Path
from recipes.fork_server import _preload
from recipes.running import run_job
_preload()
pid = os.fork()
if not pid:
    os._exit(run_job(Path(sys.argv[1])))
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def main() -> None:
    """Observe, run all, print the table, remove the frames."""
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        run(BenchTable("Reduce of one exposure of 2048 × 4096 pixels (uint16), seconds in a warm process"))
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def run(table: BenchTable) -> None:
    """Time ours and the peers, and hold the cosmic rays to the truth."""
    from recipes import threads
    from recipes.fork_server import _preload

    night = Night()
    _preload()
    threads.allow(THREADS)
    warnings.simplefilter("ignore")
    logging.disable()  # astropy's logger, by which ccdproc speaks
    calibration(table, night)
    cosmic_rays(table, night)
    whole_job(table, night)
    table.show()


class Night:
    """The exposure, its calibrations as frames and as files, and the truth."""

    def __init__(self) -> None:
        from observatory.night import observe
        from observatory.plan import Plan
        from recipes.bias import bias
        from recipes.frame import Frame
        from recipes.products import Product
        from tests.recipes.observed import Observed, as_frame

        observe(FOLDER / "night", Plan(chips=1, columns=2048, rows=4096, seed=3, biases=4, darks=0, dome_flats=0,
                                       transfer_times=(), twilight_flats=0, science=1))  # fmt: skip
        self.truth = Observed(FOLDER / "night")
        self.note = self.truth.of_type("SCIENCE")[0]
        self.path = FOLDER / "night" / self.note["file"]
        self.raw = self.truth.raw(self.note)
        master = bias([self.truth.raw(note) for note in self.truth.of_type("BIAS")], self.truth.read_noise)
        self.bias = as_frame(master.products[0])
        response = self.truth.flat
        self.flat = Frame(response.data, variance=np.full(response.shape, 25e-6), attributes=response.attributes,
                          unit="", name="flat")  # fmt: skip
        maps = [("HotPixelMap", self.truth.hot), ("ColdPixelMap", self.truth.cold)]
        made = [Product("BiasFrame", self.bias, self.bias.attributes),
                Product("MasterFlatFrame", self.flat, self.flat.attributes),
                *(Product(kind, frame, frame.attributes) for kind, frame in maps),
                Product("GainLinearity", self.truth.gain, self.bias.attributes),
                Product("ReadNoise", self.truth.read_noise, self.bias.attributes)]  # fmt: skip
        self.files = {product.kind: self._write(product) for product in made}

    def _write(self, product: Any) -> Path:
        from recipes.fits_writing import Origin, write_product
        from recipes.reduce import RECIPE

        path = FOLDER / f"{product.kind}.fits"
        write_product(path, product, [], 0, [], Origin(RECIPE, {}, [], ""))
        return path

    def inputs(self) -> list[dict[str, Any]]:
        """Return the inputs of the reduction as a job."""
        roles = {"bias_frame": "BiasFrame", "master_flat": "MasterFlatFrame", "hot_pixel_map": "HotPixelMap",
                 "cold_pixel_map": "ColdPixelMap", "gain_linearity": "GainLinearity",
                 "read_noise": "ReadNoise"}  # fmt: skip
        raw = job_input("raw_science", "RawScience", self.path, self.raw.attributes.model_dump(mode="json"))
        return [raw, *(job_input(role, kind, self.files[kind]) for role, kind in roles.items())]


def in_turn(*functions: Callable[[], object]) -> list[float]:
    """Return the median seconds of each, run in turn, after one round that does not count."""
    seconds: list[list[float]] = [[] for _ in functions]
    for turn in range(ROUNDS + 1):
        for function, own in zip(functions, seconds, strict=True):
            begin = time.perf_counter()
            function()
            if turn:
                own.append(time.perf_counter() - begin)
    return [statistics.median(own) for own in seconds]


def calibration(table: BenchTable, night: Night) -> None:
    """Overscan, trim, bias, flat, variance, mask: in memory against ccdproc, with files against IRAF."""
    from recipes.ccd.calibrating import Calibrations, calibrate, find_noise, saturation_levels
    from recipes.ccd.debias import DebiasedChip
    from recipes.fits_reading import open_fits, read_product_frame, read_raw_frame

    truth = night.truth

    def calibrated(raw: Any, bias: Any, flat: Any, maps: Any) -> Any:
        chip = DebiasedChip(raw, 6, bias, None)
        saturation = saturation_levels(chip, truth.gain, 0.95)
        noise, _ = find_noise(chip, list, bias, truth.gain, truth.read_noise)
        return calibrate(chip, Calibrations(bias, None, flat, None, maps), noise, saturation)

    process, written = CcdProcess(night), FOLDER / "calibrated.fits"

    def ours_with_files() -> None:
        with open_fits(night.path, "raw") as raw, open_fits(night.files["BiasFrame"], "bias") as bias, \
                open_fits(night.files["MasterFlatFrame"], "flat") as flat:  # fmt: skip
            made = calibrated(read_raw_frame(raw, night.raw.attributes),
                              *(read_product_frame(fits_, frame.attributes) for fits_, frame in
                                ((bias, night.bias), (flat, night.flat))), [])  # fmt: skip
        fits.PrimaryHDU(made.data).writeto(written, overwrite=True)

    maps = [truth.hot, truth.cold]
    ours, theirs = in_turn(lambda: calibrated(night.raw, night.bias, night.flat, maps), process.calibrate)
    table.compare("calibration alone", ours, "ccdproc.ccd_process", theirs, at_least=40)
    if not shutil.which("irafcl"):
        sys.exit("irafcl is missing: apt-get install iraf iraf-noao")
    ours, theirs = in_turn(ours_with_files, Iraf(night).run)
    table.compare("calibration, FITS in and out", ours, "IRAF ccdproc", theirs, at_least=3)


class CcdProcess:
    """The exposure in ccdproc's hands."""

    def __init__(self, night: Night) -> None:
        from astropy import units as u
        from astropy.nddata import CCDData, StdDevUncertainty

        def master(frame: Any, unit: str) -> Any:
            return CCDData(frame.data.astype(np.float64), unit=unit,
                           uncertainty=StdDevUncertainty(np.sqrt(frame.variance.astype(np.float64))))  # fmt: skip

        self.night = night
        self.bias, self.flat = master(night.bias, "adu"), master(night.flat, "")
        self.bad = (night.truth.hot.mask | night.truth.cold.mask) != 0
        self.gain = night.truth.about["gain"] * u.electron / u.adu
        self.read_noise = night.truth.about["read_noise_digitised"] * self.gain * u.adu
        self.raw = self.read()

    def read(self) -> Any:
        """Read the exposure from its file."""
        from astropy.nddata import CCDData

        return CCDData.read(self.night.path, unit="adu")

    def calibrate(self, raw: Any = None) -> Any:
        """Do what ccdproc has a function for."""
        import ccdproc

        header = fits.getheader(self.night.path)
        return ccdproc.ccd_process(
            self.raw if raw is None else raw, oscan=header["BIASSEC"], oscan_median=True, trim=header["TRIMSEC"],
            error=True, gain=self.gain, readnoise=self.read_noise, master_bias=self.bias, master_flat=self.flat,
            bad_pixel_mask=self.bad, gain_corrected=False,
        )  # fmt: skip

    def reduce(self) -> None:
        """Read, calibrate, look for cosmic rays, make a weight, measure the sky, write."""
        import ccdproc
        from astropy.stats import sigma_clipped_stats

        reduced = ccdproc.cosmicray_lacosmic(
            self.calibrate(self.read()), sigclip=4.5, objlim=5, readnoise=self.read_noise.value, gain_apply=False,
            gain=1.0, niter=4,
        )  # fmt: skip
        weight = np.where(reduced.mask, 0, 1 / reduced.uncertainty.array**2)
        sigma_clipped_stats(reduced.data[::4, ::4], mask=reduced.mask[::4, ::4])
        reduced.write(FOLDER / "ccdproc.fits", overwrite=True)
        fits.PrimaryHDU(weight.astype(np.float32)).writeto(FOLDER / "ccdproc_weight.fits", overwrite=True)


class Iraf:
    """The exposure in IRAF's hands."""

    def __init__(self, night: Night) -> None:
        self.folder = FOLDER / "iraf"
        self.folder.mkdir()
        shutil.copy(night.path, self.folder / "raw.fits")
        for name, kind, frame in (("bias", "zero", night.bias), ("flat", "flat", night.flat)):
            done = dict.fromkeys(("TRIM", "OVERSCAN", "ZEROCOR", "CCDPROC"), "done")  # or it does it once more
            cards = fits.Header([("IMAGETYP", kind), ("CCDMEAN", 1.0), *done.items()])
            fits.PrimaryHDU(np.array(frame.data), cards).writeto(self.folder / f"{name}.fits")
        header = fits.getheader(night.path)
        (self.folder / "reduce.cl").write_text(
            'noao\nimred\nccdred\nset imtype = "fits"\n'
            'ccdproc ("raw.fits", output="out.fits", ccdtype="", fixpix=no, overscan=yes, trim=yes, zerocor=yes, '
            f'darkcor=no, flatcor=yes, biassec="{header["BIASSEC"]}", trimsec="{header["TRIMSEC"]}", '
            'zero="bias.fits", flat="flat.fits", function="mean", interactive=no)\nlogout\n'
        )

    def run(self) -> None:
        """Overscan (one mean a row), trim, bias, flat."""
        (self.folder / "out.fits").unlink(missing_ok=True)
        environment = os.environ | {"USER": "root"}
        subprocess.run(["irafcl", "-f", "reduce.cl"], cwd=self.folder, env=environment, check=True, timeout=300,
                       capture_output=True)  # fmt: skip
        if not (self.folder / "out.fits").exists():
            raise SystemExit("IRAF's ccdproc made nothing")


def cosmic_rays(table: BenchTable, night: Night) -> None:
    """LA Cosmic against astroscrappy: time, agreement, and completeness against the truth."""
    import astroscrappy

    from recipes.ccd.cosmic_rays import la_cosmic

    truth, note = night.truth, night.note
    raw, about = night.raw.data, truth.about
    first = about["prescan"]
    level = np.median(raw[:, first + 2048 :], axis=1, keepdims=True)
    light = (raw[:, first : first + 2048] - level - night.bias.data) * np.float32(about["gain"])
    data = np.ascontiguousarray(light / truth.flat.data, np.float32)
    read_noise = about["read_noise_digitised"] * about["gain"]
    variance = np.maximum(data, 0) + np.float32(read_noise**2)
    bad = truth.where("HOT") | truth.where("COLD") | truth.where("SATURATED", note)
    nothing = np.zeros_like(bad)

    def theirs(rows: slice, mask: np.ndarray, *, fast: bool) -> np.ndarray:
        return np.asarray(astroscrappy.detect_cosmics(
            data[rows], inmask=mask[rows], invar=variance[rows], sigclip=4.5, sigfrac=0.3, objlim=5.0, gain=1.0,
            satlevel=np.inf, niter=4, sepmed=fast, cleantype="medmask", fsmode="median",
        )[0])  # fmt: skip

    def ours(rows: slice, mask: np.ndarray) -> np.ndarray:
        hits = la_cosmic(data[rows], variance[rows], mask[rows], 4.5, 5.0)
        found = np.zeros(data[rows].shape, bool)
        found[hits.y, hits.x] = True
        return found

    everything = slice(None)
    mine, peer = in_turn(lambda: ours(everything, bad), lambda: theirs(everything, bad, fast=True))
    table.compare(f"LA Cosmic, {THREADS} threads", mine, "astroscrappy, sepmed", peer, at_least=12)
    inner = slice(EDGE, -EDGE), slice(EDGE, -EDGE)
    full, own = theirs(FULL, nothing, fast=False)[inner], ours(FULL, nothing)[inner]
    table.at_least("hits of full medians that are found", 100 * (full & own).sum() / full.sum(), "%", bar=99.5)
    table.bound("hits that full medians have not", 100 * (own & ~full).sum() / full.sum(), "%", at_most=0.5)
    electrons = np.zeros(data.shape)
    rays = truth.truth("COSMIC", note)
    electrons[rays["Y"], rays["X"]] = rays["ELECTRON"]
    strong = (electrons > 8 * np.sqrt(truth.truth("EXPECTED", note))) & ~bad
    table.at_least("completeness above 8 sigma", (strong & ours(everything, bad)).sum() / strong.sum(), "", bar=0.989)
    table.tell("completeness of astroscrappy, sepmed", "",
               f"{(strong & theirs(everything, bad, fast=True)).sum() / strong.sum():.4f}")  # fmt: skip


def whole_job(table: BenchTable, night: Night) -> None:
    """The recipe as a job, FITS in and out, against ccdproc with the same steps; and its memory."""
    mine, peer = in_turn(lambda: timed_job(FOLDER / "job", "Reduce", night.inputs(), THREADS), CcdProcess(night).reduce)
    table.compare(f"Reduce as a job, {THREADS} threads", mine, "ccdproc with cosmicray_lacosmic", peer, at_least=12)
    job = write_job(FOLDER / "alone", "Reduce", night.inputs(), THREADS)
    told = subprocess.run([sys.executable, "-c", FORKED, str(job)], cwd=TREE, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    table.bound("memory of the job", float(told.stdout.split()[-1]), "MiB", at_most=450)


if __name__ == "__main__":
    main()
