"""SWarp on the frames that the recipes get, with the settings that are nearest to theirs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from recipes.ccd.grid import Grid
from tests.recipes.dithered import Exposure


def write_for_swarp(folder: Path, exposures: Sequence[Exposure]) -> list[Path]:
    """Write each exposure with its weight (inverse variance, zero where masked) as SWarp reads them."""
    paths = []
    for number, exposure in enumerate(exposures):
        header = fits.Header()
        for keyword, value in exposure.cards.items():
            header[keyword] = value
        path = folder / f"frame{number}.fits"
        weight = np.where(exposure.mask == 0, 1 / exposure.variance, 0).astype(np.float32)
        fits.PrimaryHDU(exposure.data, header).writeto(path)
        fits.PrimaryHDU(weight, header).writeto(path.with_suffix(".weight.fits"))
        paths.append(path)
    return paths


def run_swarp(
    folder: Path, paths: Sequence[Path], grid: Grid, box: tuple[int, int, int, int], *, threads: int = 1, **more: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return SWarp's coadd and its weight on a box (first x, first y, width, height) of the grid."""
    header = fits.Header()
    for keyword, value in grid.cards(box[0], box[1]).items():
        header[keyword] = value
    settings = {
        "IMAGEOUT_NAME": "coadd.fits", "WEIGHTOUT_NAME": "coadd.weight.fits", "WEIGHT_TYPE": "MAP_WEIGHT",
        "RESCALE_WEIGHTS": "N", "COMBINE_TYPE": "WEIGHTED", "RESAMPLING_TYPE": "LANCZOS3", "OVERSAMPLING": "1",
        "PROJECTION_ERR": "0.001", "FSCALASTRO_TYPE": "VARIABLE", "FSCALE_KEYWORD": "NONE", "SUBTRACT_BACK": "N",
        "NTHREADS": threads, "VMEM_DIR": ".", "RESAMPLE_DIR": ".", "WRITE_XML": "N", "VERBOSE_TYPE": "QUIET",
        "GAIN_KEYWORD": "NONE", "SATLEV_KEYWORD": "NONE", "BLANK_BADPIXELS": "N",
    } | more  # fmt: skip
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, box[2], box[3]
    (folder / "coadd.head").write_text("\n".join(str(card) for card in header.cards) + "\nEND     \n")
    arguments = [text for name, value in settings.items() for text in (f"-{name}", str(value))]
    subprocess.run(["SWarp", *(path.name for path in paths), "-c", "/dev/null", *arguments], cwd=folder, check=True,
                   capture_output=True, timeout=200)  # fmt: skip
    return fits.getdata(folder / "coadd.fits"), fits.getdata(folder / "coadd.weight.fits")
