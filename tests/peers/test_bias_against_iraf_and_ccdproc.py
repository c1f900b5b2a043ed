"""Bias against IRAF's zerocombine and ccdproc: pixels differ where other values were rejected, and nowhere else."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from recipes.attributes import FrameAttributes
from recipes.bias import bias
from recipes.frame import Frame
from recipes.values import ReadNoise
from tests.peers.combining import Explained, explain
from tests.peers.iraf import combine, overscan_and_trim, run_ccdred, write_list
from tests.peers.report import record

FRAMES, HEIGHT, WIDTH, OVERSCAN = 9, 200, 240, 31  # odd numbers: see test_overscan_against_iraf
NOISE, CLIP = 5.0, 3.0
OUTLIERS = 200  # a frame: 20 to 60 read noises, as cosmic rays and glitches are
TOLERANCE = 1e-3  # adu: IRAF sums in float32, and its overscan is subtracted in it


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint16]:
    random = np.random.default_rng(11)
    structure = 1000 + 2 * np.sin(np.arange(WIDTH + OVERSCAN) / 40)
    levels = np.cumsum(random.normal(0, 0.3, (FRAMES, HEIGHT)), axis=1)[:, :, np.newaxis]
    pixels = structure + levels + random.normal(0, NOISE, (FRAMES, HEIGHT, WIDTH + OVERSCAN))
    for frame in pixels:
        hit = random.integers(0, HEIGHT, OUTLIERS), random.integers(0, WIDTH, OUTLIERS)
        frame[hit] += NOISE * random.uniform(20, 60, OUTLIERS)
    return np.round(pixels).astype(np.uint16)


@pytest.fixture(scope="module")
def corrected(frames) -> NDArray[np.float64]:
    """The overscan-corrected frames, by numpy."""
    level = np.median(frames[:, :, WIDTH:], axis=2, keepdims=True)
    return frames[:, :, :WIDTH].astype(np.float64) - level


@pytest.fixture(scope="module")
def ours(frames) -> NDArray[np.float32]:
    attributes = FrameAttributes(data_section=f"[1:{WIDTH},1:{HEIGHT}]",
                                 overscan_x=f"[{WIDTH + 1}:{WIDTH + OVERSCAN},1:{HEIGHT}]")  # fmt: skip
    raw = [Frame(pixels.astype(np.float32), attributes=attributes, name=f"b{number}", kind="RawBias")
           for number, pixels in enumerate(frames)]  # fmt: skip
    content = bias(raw, ReadNoise(NOISE), sigma_clip=CLIP).products[0].content
    return np.asarray(content.data)


def compare(
    peer: str, stack: NDArray[np.float64], ours: NDArray[np.float32], theirs: NDArray[np.floating]
) -> tuple[Explained, Explained]:
    """Record and assert that all differences are of what was rejected; return what each averaged."""
    mine, others = explain(stack, ours, TOLERANCE), explain(stack, theirs, TOLERANCE)
    same = mine.numbers == others.numbers
    difference = float(np.abs(ours - theirs)[same].max())
    record("Bias", peer, "largest difference where as many were rejected, adu", difference, None,
           f"≤ {2 * TOLERANCE:g}", met=difference <= 2 * TOLERANCE)  # fmt: skip
    record("Bias", peer, "pixels that rejection does not explain", mine.unexplained, others.unexplained, "0",
           met=mine.unexplained == others.unexplained == 0)  # fmt: skip
    record("Bias", peer, "part of the pixels where other values were rejected", float(np.mean(~same)), None, "-",
           met=True)  # fmt: skip
    left = [int(np.count_nonzero(np.abs(image - truth_of(stack)) > 6 * NOISE / FRAMES**0.5))
            for image in (ours, theirs)]  # fmt: skip
    record("Bias", peer, "outlier pixels left", left[0], left[1], "no more than the peer", met=left[0] <= left[1])
    assert mine.unexplained == others.unexplained == 0
    assert difference <= 2 * TOLERANCE
    assert left[0] <= left[1]
    return mine, others


def truth_of(stack: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the structure of the columns less its median in the overscan."""
    sine = 2 * np.sin(np.arange(WIDTH + OVERSCAN) / 40)
    return np.broadcast_to(sine[:WIDTH] - np.median(sine[WIDTH:]), stack.shape[1:])


@pytest.mark.program("irafcl", "iraf")
def test_against_zerocombine(frames, corrected, ours, tmp_path: Path):
    for number, pixels in enumerate(frames):
        fits.PrimaryHDU(pixels).writeto(tmp_path / f"b{number}.fits")
    sources = write_list(tmp_path, "in.lis", [f"b{number}.fits" for number in range(FRAMES)])
    products = write_list(tmp_path, "out.lis", [f"t{number}.fits" for number in range(FRAMES)])
    section = f"[{WIDTH + 1}:{WIDTH + OVERSCAN},1:{HEIGHT}]"
    # A gain of 1000 leaves no photon noise in IRAF's limits, only the read noise.
    run_ccdred(
        tmp_path,
        overscan_and_trim(sources, products, section, f"[1:{WIDTH},1:{HEIGHT}]", "line"),
        combine("zerocombine", products, "zero.fits", CLIP, 1000.0, 1000 * NOISE, 'scale="none"'),
    )
    theirs = fits.getdata(tmp_path / "zero.fits").astype(np.float64)
    mine, others = compare("IRAF zerocombine", corrected, ours, theirs)
    # The same rule but for how often the median is taken anew: hardly a pixel differs.
    assert np.mean(mine.numbers != others.numbers) < 0.02


def test_against_ccdproc(corrected, ours):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from astropy import units
        from astropy.nddata import CCDData
        from ccdproc import Combiner

        combiner = Combiner([CCDData(pixels, unit=units.adu) for pixels in corrected])
        combiner.sigma_clipping(low_thresh=CLIP, high_thresh=CLIP, func=np.ma.median, dev_func=np.ma.std)
        theirs = np.asarray(combiner.average_combine().data)
    compare("ccdproc.combine", corrected, ours, theirs)
