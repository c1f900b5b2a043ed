"""Overscan and trim against IRAF's ccdproc: the same pixels to the last digits of float32."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from recipes.attributes import FrameAttributes
from recipes.ccd.raw import RawChip
from recipes.frame import Frame
from tests.peers.iraf import overscan_and_trim, run_ccdred
from tests.peers.report import record

pytestmark = pytest.mark.program("irafcl", "iraf")

# IRAF's median of an even number of values is the lower of the two in the middle, ours their mean: so the sections are
# 31 and 21 pixels wide.
LAYOUTS = {
    "overscan after the rows": (6, "overscan_x", "[121:151,1:90]", "[1:120,1:90]", "line", (90, 151)),
    "prescan before the rows": (5, "prescan_x", "[1:31,1:90]", "[32:151,1:90]", "line", (90, 151)),
    "overscan above the columns": (8, "overscan_y", "[1:120,91:111]", "[1:120,1:90]", "column", (111, 120)),
    "data inside, columns cut off": (6, "overscan_x", "[121:151,1:90]", "[9:112,5:86]", "line", (90, 151)),
}


def of_iraf(pixels, overscan, data, turned, folder):
    """Return what ccdproc makes; it takes medians of lines alone, so columns are turned to lines first."""
    if turned:
        pixels, overscan, data = pixels.T, swapped(overscan), swapped(data)
    fits.PrimaryHDU(pixels).writeto(folder / "raw.fits")
    run_ccdred(folder, overscan_and_trim("raw.fits", "done.fits", overscan, data, "line"))
    made = fits.getdata(folder / "done.fits")
    return made.T if turned else made


def swapped(section: str) -> str:
    """Return a section of the transposed image."""
    across, down = section.strip("[]").split(",")
    return f"[{down},{across}]"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_what_ccdproc_gives(layout: str, tmp_path):
    method, name, overscan, data, axis, shape = LAYOUTS[layout]
    random = np.random.default_rng(5)
    drift = np.cumsum(random.normal(0, 2, shape[0]))[:, np.newaxis] + np.cumsum(random.normal(0, 2, shape[1]))
    pixels = np.round(1000 + drift + random.normal(0, 5, shape) + random.poisson(500, shape)).astype(np.uint16)
    theirs = of_iraf(pixels, overscan, data, axis == "column", tmp_path)
    attributes = FrameAttributes(data_section=data, **{name: overscan})
    ours = RawChip(Frame(pixels.astype(np.float32), attributes=attributes), method).whole()
    difference = float(np.abs(ours - theirs).max())
    record("overscan and trim", "IRAF ccdproc", f"largest difference in adu, {layout}", difference, None, "≤ 0.001",
           met=difference <= 1e-3)  # fmt: skip
    assert ours.shape == theirs.shape
    assert difference <= 1e-3
