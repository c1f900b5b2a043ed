"""Running STILTS' positional match of two lists."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits


def write_list(path: Path, ra: np.ndarray[Any, Any], dec: np.ndarray[Any, Any]) -> Path:
    """Write positions [degree] with their place in the list."""
    columns = [
        fits.Column("RA", "D", "deg", array=ra),
        fits.Column("DEC", "D", "deg", array=dec),
        fits.Column("ID", "J", array=np.arange(len(ra))),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path, overwrite=True)
    return path


def tmatch2(one: Path, two: Path, radius: float, find: str, *, cores: int = 1) -> tuple[Any, Any, Any]:
    """Return places in both lists and distance [arcsec] of the pairs within `radius` [arcsec], ordered by place."""
    out = one.parent / "pairs.fits"
    runner = "parallel" + str(cores) if cores > 1 else "sequential"
    subprocess.run(
        ["stilts", "tmatch2", f"in1={one}", f"in2={two}", "matcher=sky", f"params={radius}", "values1=RA DEC",
         "values2=RA DEC", f"find={find}", "join=1and2", f"runner={runner}", f"out={out}", "ofmt=fits-basic"],
        check=True, capture_output=True,
    )  # fmt: skip
    with fits.open(out) as hdus:
        rows = hdus[1].data
        here, there, distance = (np.array(rows[name]) for name in ("ID_1", "ID_2", "Separation"))
    order = np.lexsort((there, here))
    return here[order], there[order], distance[order]
