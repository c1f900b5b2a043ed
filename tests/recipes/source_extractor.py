"""Running source-extractor with the settings of our SourceList."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

SHARE = Path("/usr/share/source-extractor")
COLUMNS = (
    "X_IMAGE", "Y_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE", "ERRX2WIN_IMAGE", "ERRY2WIN_IMAGE", "XPEAK_IMAGE", "YPEAK_IMAGE",
    "X2_IMAGE", "Y2_IMAGE", "XY_IMAGE", "ERRX2_IMAGE", "ERRY2_IMAGE", "ERRXY_IMAGE", "A_IMAGE", "B_IMAGE",
    "THETA_IMAGE", "ELONGATION", "ELLIPTICITY", "FWHM_IMAGE", "ISOAREA_IMAGE", "ISOAREAF_IMAGE", "KRON_RADIUS",
    "FLUX_AUTO", "FLUXERR_AUTO", "FLUX_ISO", "FLUXERR_ISO", "FLUX_APER(3)", "FLUXERR_APER(3)", "MAG_AUTO",
    "MAGERR_AUTO", "FLUX_MAX", "FLUX_RADIUS", "BACKGROUND", "THRESHOLD", "FLAGS", "CLASS_STAR",
)  # fmt: skip


class SourceExtractor:
    """The program with its files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "columns.param").write_text("\n".join(COLUMNS) + "\n")

    def write(self, name: str, pixels: np.ndarray[Any, Any]) -> Path:
        """Write an image that it can read."""
        path = self.folder / name
        fits.PrimaryHDU(pixels).writeto(path, overwrite=True)
        return path

    def run(self, *images: Path, **more: object) -> np.ndarray[Any, Any]:
        """Return the catalogue of an image (of two: found on the first, measured on the second)."""
        settings: dict[str, object] = {
            "PARAMETERS_NAME": self.folder / "columns.param", "FILTER_NAME": SHARE / "default.conv",
            "STARNNW_NAME": SHARE / "default.nnw", "CATALOG_NAME": self.folder / "found.fits",
            "CATALOG_TYPE": "FITS_1.0", "DETECT_THRESH": 1.5, "ANALYSIS_THRESH": 1.5, "DETECT_MINAREA": 5,
            "DEBLEND_NTHRESH": 32, "DEBLEND_MINCONT": 0.005, "BACK_SIZE": 64, "BACK_FILTERSIZE": 3,
            "PHOT_APERTURES": "5,10,20", "PHOT_AUTOPARAMS": "2.5,3.5", "GAIN": 1.0, "GAIN_KEY": "NONE",
            "SATUR_KEY": "NONE", "SATUR_LEVEL": 1e9, "PIXEL_SCALE": 0.3, "SEEING_FWHM": 0.96,
            "BACKPHOTO_TYPE": "GLOBAL", "MASK_TYPE": "CORRECT", "CLEAN": "Y", "VERBOSE_TYPE": "QUIET",
            "MAG_ZEROPOINT": 0, "NTHREADS": 1, **more,
        }  # fmt: skip
        options = [text for name, value in settings.items() for text in (f"-{name}", str(value))]
        names = ",".join(str(path) for path in images)
        subprocess.run(
            ["source-extractor", names, "-c", str(SHARE / "default.sex"), *options],
            check=True, cwd=self.folder, capture_output=True,
        )  # fmt: skip
        return np.asarray(fits.getdata(self.folder / "found.fits"))
