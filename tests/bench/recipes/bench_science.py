"""Science on a chip of 2048 × 4096 pixels with 2,000 stars: where its time goes, and the limit of reading its bytes."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from table import BenchTable

from recipes.attributes import FrameAttributes
from recipes.ccd.astrometry import solve
from recipes.ccd.grid import Grid
from recipes.ccd.kernels.compiled import load_all
from recipes.ccd.plate import plate_of
from recipes.ccd.reference_stars import reference_stars
from recipes.ccd.regridding import regrid
from recipes.ccd.star_matching import Limits
from recipes.ccd.stars import find_stars
from recipes.frame import Frame
from recipes.science import science
from recipes.tables import Column, Table

ROUNDS = 3
SHAPE = (4096, 2048)
STARS = 2000
FWHM = 3.4
CARDS = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "CRVAL1": 132.8, "CRVAL2": -27.0, "CRPIX1": 1100.0,
         "CRPIX2": 2300.0, "CD1_1": -1.4e-4, "CD1_2": 1e-6, "CD2_1": 1e-6, "CD2_2": 1.4e-4, "PV1_1": 1.0, "PV2_1": 1.0,
         "PV1_7": 0.1, "PV1_9": 0.1, "PV2_7": 0.1, "PV2_9": 0.1}  # fmt: skip


def make() -> tuple[Frame, Table]:
    """Return a frame of stars on a flat sky whose header is a minute of arc off, and their catalogue."""
    random = np.random.default_rng(1)
    x, y = random.uniform(8, SHAPE[1] - 8, STARS), random.uniform(8, SHAPE[0] - 8, STARS)
    magnitude = 14 + 7.5 * random.power(3.0, STARS)
    flux = 10 ** (-0.4 * (magnitude - 25)) * 60
    image = random.normal(900.0, 30.0, SHAPE).astype(np.float32)
    sigma = FWHM / 2.3548
    rows, columns = np.mgrid[-12:13, -12:13]
    for a, b, light in zip(x, y, flux, strict=True):
        i, j = round(b) - 1, round(a) - 1
        top, left = max(i - 12, 0), max(j - 12, 0)
        bottom, right = min(i + 13, SHAPE[0]), min(j + 13, SHAPE[1])
        part = slice(top - i + 12, bottom - i + 12), slice(left - j + 12, right - j + 12)
        away = (columns[part] + j + 1 - a) ** 2 + (rows[part] + i + 1 - b) ** 2
        image[top:bottom, left:right] += light / (2 * np.pi * sigma**2) * np.exp(-away / (2 * sigma**2))
    plate = plate_of(CARDS, SHAPE)
    assert plate is not None
    ra, dec = plate.sky(x, y)
    wrong = CARDS | {"CRVAL1": 132.81, "CRVAL2": -26.99}
    attributes = FrameAttributes(instrument="bench", chip="1", exposure_time=60.0, date_obs="2026-03-15T02:00:00",
                                 filter="r")  # fmt: skip
    frame = Frame(image, variance=np.full(SHAPE, 900.0, np.float32), mask=np.zeros(SHAPE, np.uint16), unit="electron",
                  attributes=attributes, wcs=wrong, name="bench.fits")  # fmt: skip
    catalogue = {"RA": Column(ra), "DEC": Column(dec), "MAG_r": Column(magnitude)}
    return frame, Table(catalogue, attributes=FrameAttributes(catalogue="bench", epoch=2026.2))


def seconds(call: Callable[[], Any]) -> float:
    """Return the median processor time of a call: the machine may have other work, and only one thread is allowed."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    """Print where the time of Science goes."""
    load_all()
    frame, catalogue = make()
    first = plate_of(frame.wcs, frame.shape)
    assert first is not None
    centre = first.sky(*(np.array([value]) for value in first.centre))
    references = reference_stars(catalogue, frame.attributes, float(centre[0][0]), float(centre[1][0]), 0.4)
    stars = find_stars(frame)
    limits = [Limits(120.0, 2.0, 0.03)]
    solution = solve(first, stars, references, limits, degree=2, clip=3.0)
    cards, grid = solution.plate.cards(), Grid(132.8, -27.0, 0.504)
    assert frame.variance is not None
    variance = frame.variance

    whole = seconds(lambda: science(frame, catalogue))
    finding = seconds(lambda: find_stars(frame))
    solving = seconds(lambda: solve(first, stars, references, limits, degree=2, clip=3.0))
    regridding = seconds(lambda: regrid(frame.data, variance, frame.mask, cards, grid))
    bench = BenchTable(f"Science on {SHAPE[1]} × {SHAPE[0]} pixels, {len(stars)} stars found, "
                       f"{solution.fit.count if solution.fit else 0} used")  # fmt: skip
    bench.tell("whole recipe", f"{whole:.3g} s")
    bench.tell("finding stars", f"{finding:.3g} s")
    bench.tell("matching and fitting", f"{solving:.3g} s")
    bench.tell("regridding", f"{regridding:.3g} s")
    bench.tell("everything, for a million pixels", f"{1e6 * whole / (SHAPE[0] * SHAPE[1]):.3g} s")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pixels = SHAPE[0] * SHAPE[1] / 2**20
    # Frame in and out, three planes each, the weight, and the planes that the sky and the sources are measured on.
    bench.bound("memory for a pixel", memory / pixels, "byte", at_most=90.0)
    bench.show()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
