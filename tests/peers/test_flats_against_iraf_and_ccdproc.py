"""DomeFlat against IRAF's flatcombine and ccdproc: pixels differ where other values were rejected, and nowhere else."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from recipes.attributes import FrameAttributes
from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.sub_windows import central_quarter
from recipes.dome_flat import dome_flat
from recipes.frame import Frame
from recipes.values import GainLinearity
from tests.peers.combining import explain
from tests.peers.iraf import combine, run_ccdred, write_list
from tests.peers.report import record

FRAMES, HEIGHT, WIDTH = 7, 200, 240
LEVEL, GAIN, NOISE, CLIP = 20000.0, 2.0, 5.0, 5.0
STARS = 150  # a frame
# The recipe weighs frames by their level: among levels that differ by 1e-4 (of the noise of the central quarter) that
# moves a mean of values that scatter by 0.7 % by less than 1e-6.
TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def frames() -> NDArray[np.float32]:
    """Debiased flats [adu] of one level, with stars."""
    random = np.random.default_rng(12)
    x = np.arange(WIDTH)
    response = (1 + 0.01 * random.standard_normal((HEIGHT, WIDTH))) * (1 - 0.1 * ((x - 120) / 120) ** 2)
    light = random.poisson(LEVEL * GAIN * response, (FRAMES, HEIGHT, WIDTH)) / GAIN
    pixels = light + random.normal(0, NOISE, light.shape)
    for frame in pixels:
        hit = random.integers(0, HEIGHT, STARS), random.integers(0, WIDTH, STARS)
        frame[hit] += random.uniform(3000, 20000, STARS)
    return pixels.astype(np.float32)


@pytest.fixture(scope="module")
def levels(frames) -> list[float]:
    """The level of each frame as the recipe takes it, to give it to the peers: theirs are medians and modes."""
    return [clipped_statistics(frame[central_quarter(frame.shape)]).mean for frame in frames]


@pytest.fixture(scope="module")
def ours(frames) -> NDArray[np.float32]:
    raw = [Frame(pixels, attributes=FrameAttributes(filter="V"), name=f"f{number}")
           for number, pixels in enumerate(frames)]  # fmt: skip
    attributes = FrameAttributes(overscan_correction=0, read_noise=NOISE)
    bias_frame = Frame(np.zeros((HEIGHT, WIDTH), np.float32), attributes=attributes, name="bias")
    product = dome_flat(raw, bias_frame, None, GainLinearity(GAIN), sigma_clip=CLIP).products[0]
    return np.asarray(product.content.data)


def compare(peer: str, frames, levels, ours, theirs) -> float:
    """Record and assert that all differences are of what was rejected; return the part of pixels where that is so."""
    normalised = frames / np.array(levels)[:, np.newaxis, np.newaxis]
    # Ours is 1 on average in the central quarter, the peer's in units of its first frame: bring both to the stack's
    # mean, which is what most pixels have, of which nothing is rejected.
    mean = normalised.mean(axis=0)
    scaled = [image * np.median(mean / image) for image in (ours.astype(np.float64), theirs)]
    explained = [explain(normalised, image, 3 * TOLERANCE) for image in scaled]
    mine, others = explained
    same = mine.numbers == others.numbers
    difference = float(np.abs(scaled[0] - scaled[1])[same].max())
    record("DomeFlat", peer, "largest relative difference where as many were rejected", difference, None,
           f"≤ {2 * TOLERANCE:g}", met=difference <= 2 * TOLERANCE)  # fmt: skip
    record("DomeFlat", peer, "pixels that rejection does not explain", mine.unexplained, others.unexplained, "0",
           met=mine.unexplained == others.unexplained == 0)  # fmt: skip
    record("DomeFlat", peer, "part of the pixels where other values were rejected", float(np.mean(~same)), None, "-",
           met=True)  # fmt: skip
    assert mine.unexplained == others.unexplained == 0
    assert difference <= 2 * TOLERANCE
    return float(np.mean(~same))


@pytest.mark.program("irafcl", "iraf")
def test_against_flatcombine(frames, levels, ours, tmp_path: Path):
    # Of what flatcombine scales by, the exposure time alone can be told.
    for number, (pixels, level) in enumerate(zip(frames, levels, strict=True)):
        fits.PrimaryHDU(pixels, fits.Header({"EXPTIME": level})).writeto(tmp_path / f"f{number}.fits")
    sources = write_list(tmp_path, "in.lis", [f"f{number}.fits" for number in range(FRAMES)])
    run_ccdred(tmp_path, combine("flatcombine", sources, "flat.fits", CLIP, GAIN, GAIN * NOISE,
                                 'scale="exposure", subsets=no'))  # fmt: skip
    theirs = fits.getdata(tmp_path / "flat.fits").astype(np.float64)
    # The same rule, sigma from gain and read noise about the median: hardly a pixel differs.
    assert compare("IRAF flatcombine", frames, levels, ours, theirs) < 0.005


def test_against_ccdproc(frames, levels, ours):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from astropy import units
        from astropy.nddata import CCDData
        from ccdproc import Combiner

        combiner = Combiner([CCDData(pixels.astype(float), unit=units.adu) for pixels in frames])
        combiner.scaling = [1 / level for level in levels]
        combiner.sigma_clipping(low_thresh=CLIP, high_thresh=CLIP, func=np.ma.median)
        theirs = np.asarray(combiner.average_combine().data)
    compare("ccdproc.combine", frames, levels, ours, theirs)
