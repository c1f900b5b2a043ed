"""FITS: writing a product with its checksums, verifying checksums and opening headers, against astropy."""

from __future__ import annotations

import hashlib
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from table import BenchTable

from recipes import threads
from recipes.attributes import FrameAttributes
from recipes.catalogue import find_recipe
from recipes.fits_checksum import wrong_checksums
from recipes.fits_reading import open_fits
from recipes.fits_writing import Origin, write_product
from recipes.frame import Frame
from recipes.products import Product

FOLDER = Path(__file__).resolve().parent.parent.parent.parent / "build" / "bench-fits"
SHAPE = (4096, 2048)
ROUNDS = 9


def main() -> None:
    """Make an image, run all, print the table, remove the files."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        run(BenchTable("FITS, one image of 2048 × 4096 float32"))
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def run(table: BenchTable) -> None:
    """Time ours and astropy's way."""
    data = np.random.default_rng(3).standard_normal(SHAPE, np.float32)
    product = Product("DarkFrame", Frame(data, unit="adu/s"), FrameAttributes(instrument="bench", chip="1"))
    origin = Origin(find_recipe("Dark"), {}, [], "0" * 64)
    ours, theirs, mask = FOLDER / "ours.fits", FOLDER / "theirs.fits", np.zeros(SHAPE, np.uint16)

    def astropy_way() -> None:
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(data), fits.ImageHDU(mask)]
        fits.HDUList(hdus).writeto(theirs, overwrite=True, checksum=True)
        with theirs.open("rb") as file:
            hashlib.file_digest(file, "sha256")

    for number, bar in ((1, 1.0), (2, 1.5)):
        threads.allow(number)
        mine, peer = in_turn((lambda: write_product(ours, product, [], 0, [], origin), ours), (astropy_way, theirs))
        table.compare(f"write science and mask with checksums and sha256, {number} threads", mine, "astropy", peer,
                      at_least=bar)  # fmt: skip
    table.compare("verify CHECKSUM and DATASUM", median(lambda: wrong_checksums(ours)), "astropy",
                  median(lambda: verify_by_astropy(ours)), at_least=5)  # fmt: skip
    table.compare("open, headers only", median(lambda: open_by_ours(ours)), "astropy",
                  median(lambda: open_by_astropy(ours)), at_least=5)  # fmt: skip
    table.tell("read(2) of the file", f"{median(lambda: read_bytes(ours)):.4f} s")
    table.show()


def in_turn(*ways: tuple[Callable[[], object], Path]) -> list[float]:
    """Return the median seconds of each way to write a file, in turn, each time a new file as in a job."""
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for (function, path), own in zip(ways, found, strict=True):
            path.unlink(missing_ok=True)
            begin = time.perf_counter()
            function()
            own.append(time.perf_counter() - begin)
    return [statistics.median(own) for own in found]


def median(function: Callable[[], object]) -> float:
    """Return the median seconds of some calls."""
    found = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        function()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def verify_by_astropy(path: Path) -> None:
    """Open with the checksums verified, every unit."""
    with fits.open(path, checksum=True, memmap=False) as hdus:
        for hdu in hdus:
            assert hdu.verify_checksum() != 0


def open_by_ours(path: Path) -> None:
    """Read all headers with the package's own parser."""
    with open_fits(path, path.name) as opened:
        assert len(opened.hdus) == 3


def open_by_astropy(path: Path) -> None:
    """Read all headers with astropy."""
    with fits.open(path) as hdus:
        assert [len(hdu.header) for hdu in hdus]


def read_bytes(path: Path) -> None:
    """Read a file as fast as one process can."""
    buffer = bytearray(2**20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


if __name__ == "__main__":
    main()
