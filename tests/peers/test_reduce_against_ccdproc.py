"""Reduce beside ccdproc, IRAF and astroscrappy on a small exposure: the same pixels, or it is told why not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from observatory.night import observe
from observatory.plan import Plan
from recipes.bias import bias
from recipes.ccd.calibrating import Calibrated, Calibrations, calibrate, find_noise
from recipes.ccd.cosmic_rays import filled, la_cosmic
from recipes.ccd.debias import DebiasedChip
from tests.peers.report import record
from tests.recipes.observed import Observed, as_frame

EDGE = 16  # pixels: astroscrappy leaves a border out, and what begins in it grows inwards


class Exposure:
    """One exposure with its calibrations, and what ours makes of it."""

    def __init__(self, folder: Path) -> None:
        observe(folder, Plan(chips=1, columns=448, rows=512, seed=41, biases=4, darks=0, dome_flats=0,
                             transfer_times=(), twilight_flats=0, science=1, cosmic_rays=8.0))  # fmt: skip
        self.truth = Observed(folder)
        self.note = self.truth.of_type("SCIENCE")[0]
        self.raw = self.truth.raw(self.note)
        self.header = fits.getheader(folder / self.note["file"])
        biases = [self.truth.raw(note) for note in self.truth.of_type("BIAS")]
        self.bias = as_frame(bias(biases, self.truth.read_noise).products[0])

    def calibrated(self) -> Calibrated:
        chip = DebiasedChip(self.raw, 6, self.bias, None)
        noise, _ = find_noise(chip, list, self.bias, self.truth.gain, self.truth.read_noise)
        return calibrate(chip, Calibrations(self.bias, None, self.truth.flat), noise, {"": np.inf})


@pytest.fixture(scope="module")
def exposure(tmp_path_factory) -> Exposure:
    return Exposure(tmp_path_factory.mktemp("exposure"))


def test_pixels_are_those_of_ccdproc(exposure) -> None:
    ccdproc = pytest.importorskip("ccdproc")
    from astropy import units as u
    from astropy.nddata import CCDData

    theirs = ccdproc.ccd_process(
        CCDData(exposure.raw.data.astype(float), unit="adu"), oscan=exposure.header["BIASSEC"], oscan_median=True,
        trim=exposure.header["TRIMSEC"], master_bias=CCDData(exposure.bias.data.astype(float), unit="adu"),
        master_flat=CCDData(exposure.truth.flat.data.astype(float), unit=""),
        gain=exposure.truth.about["gain"] * u.electron / u.adu, gain_corrected=False,
    )  # fmt: skip
    # ccdproc scales the flat to a mean of 1 first.
    scaled = theirs.data / exposure.truth.flat.data.mean()
    worst = float(np.max(np.abs(exposure.calibrated().data / scaled - 1)[scaled > 50]))
    record("Reduce", "ccdproc", "largest relative difference of a pixel", worst, None, "≤ 1e-5", met=worst <= 1e-5)
    assert worst <= 1e-5


@pytest.mark.program("irafcl", "iraf iraf-noao")
def test_pixels_are_those_of_iraf_but_for_the_mean_of_overscan(exposure, tmp_path) -> None:
    shutil.copy(exposure.truth.folder / exposure.note["file"], tmp_path / "raw.fits")
    for name, kind, data in (("bias", "zero", exposure.bias.data), ("flat", "flat", exposure.truth.flat.data)):
        done_before = dict.fromkeys(("TRIM", "OVERSCAN", "ZEROCOR", "CCDPROC"), "done")
        cards = fits.Header([("IMAGETYP", kind), ("CCDMEAN", 1.0), *done_before.items()])
        fits.PrimaryHDU(np.array(data, np.float32), cards).writeto(tmp_path / f"{name}.fits")
    (tmp_path / "reduce.cl").write_text(
        'noao\nimred\nccdred\nset imtype = "fits"\n'
        'ccdproc ("raw.fits", output="out.fits", ccdtype="", fixpix=no, overscan=yes, trim=yes, zerocor=yes, '
        f'darkcor=no, flatcor=yes, biassec="{exposure.header["BIASSEC"]}", '
        f'trimsec="{exposure.header["TRIMSEC"]}", zero="bias.fits", flat="flat.fits", function="mean", '
        "interactive=no)\nlogout\n"
    )
    done = subprocess.run(["irafcl", "-f", "reduce.cl"], cwd=tmp_path, env=os.environ | {"USER": "root"}, check=True,
                          timeout=120, capture_output=True, text=True)  # fmt: skip
    assert (tmp_path / "out.fits").exists(), done.stdout + done.stderr
    flat = exposure.truth.flat.data
    difference = (
        exposure.calibrated().data / exposure.truth.about["gain"] - fits.getdata(tmp_path / "out.fits")
    ) * flat
    of_rows = np.median(difference, axis=1, keepdims=True)
    rest = float(np.abs(difference - of_rows).max() / np.median(exposure.raw.data))
    # The median of 32 numbers scatters about their mean by sqrt(pi/2 - 1) of the mean's own error, and raw numbers
    # come in steps.
    noise = exposure.truth.about["read_noise_digitised"] * np.sqrt((np.pi / 2 - 1) / 32)
    scatter = float(of_rows.std())
    record("Reduce", "IRAF ccdproc", "largest difference but for the overscan of rows, of the level", rest, None,
           "≤ 1e-5", met=rest <= 1e-5)  # fmt: skip
    record("Reduce", "IRAF ccdproc", "scatter of median against mean of overscan, adu", scatter, float(noise),
           "within 25 %", met=abs(scatter / noise - 1) < 0.25)  # fmt: skip
    assert rest <= 1e-5
    assert scatter == pytest.approx(noise, rel=0.25)


@pytest.mark.parametrize("masked", [False, True])
def test_hits_are_those_of_astroscrappy(exposure, masked) -> None:
    astroscrappy = pytest.importorskip("astroscrappy")
    made = exposure.calibrated()
    truth = exposure.truth
    known = truth.where("HOT") | truth.where("COLD") | truth.where("SATURATED", exposure.note)
    bad = known if masked else np.zeros_like(known)
    data, variance = filled(made.data, bad), filled(made.variance, bad)
    full = astroscrappy.detect_cosmics(data, inmask=bad, invar=variance, sigclip=4.5, sigfrac=0.3, objlim=5.0, gain=1.0,
                                       satlevel=np.inf, niter=4, sepmed=False, cleantype="medmask",
                                       fsmode="median")[0]  # fmt: skip
    hits = la_cosmic(made.data, made.variance, bad, 4.5, 5.0)
    ours = np.zeros(bad.shape, bool)
    ours[hits.y, hits.x] = True
    # astroscrappy leaves the neighbours of bad pixels out, we only those of crowds of bad ones.
    apart = ~ndimage.binary_dilation(bad, np.ones((9, 9)))
    apart[:EDGE], apart[-EDGE:], apart[:, :EDGE], apart[:, -EDGE:] = False, False, False, False
    theirs, ours = np.asarray(full)[apart], ours[apart]
    shared, others = (theirs & ours).sum() / theirs.sum(), (ours & ~theirs).sum() / theirs.sum()
    what = "with masked pixels" if masked else "of all pixels"
    record("Reduce", "astroscrappy", f"part of its hits found, {what}", float(shared), 1.0, "≥ 0.995",
           met=shared >= 0.995)  # fmt: skip
    record("Reduce", "astroscrappy", f"others, {what}", float(others), 0.0, "≤ 0.005", met=others <= 0.005)
    assert theirs.sum() > 1000
    assert shared >= 0.995
    assert others <= 0.005
