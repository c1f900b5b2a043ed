"""Measuring detected sources: positions, shapes, fluxes under SExtractor's names (Bertin & Arnouts 1996; its manual).

Positions are FITS pixels (the first pixel's centre is 1). Fluxes are in the unit of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.frame import FloatArray, MaskArray
from recipes.masks import SATURATED
from recipes.tables import Column

Floats = NDArray[np.float64]

IS_SATURATED = 4  # bit of SExtractor's FLAGS
NO_MAGNITUDE = 99.0  # SExtractor's mark of a flux that is not positive
_SOURCES_AT_ONCE = 256  # of one call; what is measured does not hang on it


@dataclass(frozen=True)
class Image:
    """An image ready to be measured: sky-subtracted, its noise, bad pixels, and who owns each pixel.

    ``detection`` and ``detection_bad`` are those of the image that the sources were found on, where it is another: the
    Kron radius is taken there, so that all filters of a field share it.
    """

    signal: FloatArray
    noise: FloatArray
    sky: FloatArray
    bad: NDArray[np.bool_]
    mask: MaskArray
    segmentation: NDArray[np.int32]
    gain: float | None
    unit: str
    detection: FloatArray | None = None
    detection_bad: NDArray[np.bool_] | None = None


def measure_sources(
    image: Image, found: NDArray[Any], *, kron_factor: float, least_kron: float, apertures: Floats, zeropoint: float
) -> dict[str, Column]:
    """Measure the sources `found` on `image`.

    Parameters
    ----------
    image : Image
        What to measure on.
    found : structured array
        Sources as :func:`recipes.ccd.detection.extract` gives them, numbered as in the segmentation.
    kron_factor, least_kron : float
        Semi-axes of the AUTO ellipse: so many Kron radii, and no less than so many isophotal ones.
    apertures : array
        Diameters [pixel] of the circular apertures.
    zeropoint : float
        Magnitude of a flux of 1.

    Returns
    -------
    dict of Column
        By SExtractor's names.
    """
    from recipes.ccd.kernels import photometry as kernel

    rows = _measured(image, found, kron_factor, least_kron, apertures)
    auto, auto_error = rows[:, kernel.AUTO_FLUX], rows[:, kernel.AUTO_ERROR]
    iso_error = np.sqrt(found["flux_variance"])
    flags, mask_flags = _flags(image, found, rows[:, kernel.FLAGS].astype(np.int16))
    single = np.float32
    return {
        "SID": Column(np.arange(1, len(found) + 1, dtype=np.int64), "", "number of the source in this list"),
        "NUMBER": Column(np.arange(1, len(found) + 1, dtype=np.int32), "", "running number in this list"),
        "X_IMAGE": Column(found["x"] + 1.0, "pixel", "barycentre"),
        "Y_IMAGE": Column(found["y"] + 1.0, "pixel", "barycentre"),
        "XWIN_IMAGE": Column(rows[:, kernel.X_WINDOW] + 1.0, "pixel", "windowed position"),
        "YWIN_IMAGE": Column(rows[:, kernel.Y_WINDOW] + 1.0, "pixel", "windowed position"),
        "ERRX2WIN_IMAGE": Column(rows[:, kernel.WINDOW_VARIANCE_X], "pixel**2", "variance of XWIN_IMAGE"),
        "ERRY2WIN_IMAGE": Column(rows[:, kernel.WINDOW_VARIANCE_Y], "pixel**2", "variance of YWIN_IMAGE"),
        "ERRXYWIN_IMAGE": Column(rows[:, kernel.WINDOW_COVARIANCE], "pixel**2", "their covariance"),
        "XPEAK_IMAGE": Column(found["xpeak"].astype(np.int32) + 1, "pixel", "brightest pixel, filtered"),
        "YPEAK_IMAGE": Column(found["ypeak"].astype(np.int32) + 1, "pixel", "brightest pixel, filtered"),
        **_shape_columns(found),
        "KRON_RADIUS": Column(rows[:, kernel.AUTO_RADIUS].astype(single), "", "AUTO ellipse in units of A and B"),
        "FLUX_AUTO": Column(auto.copy(), image.unit, "in the Kron ellipse"),
        "FLUXERR_AUTO": Column(auto_error.copy(), image.unit, "error of FLUX_AUTO"),
        "FLUX_ISO": Column(found["flux"].copy(), image.unit, "isophotal"),
        "FLUXERR_ISO": Column(iso_error, image.unit, "error of FLUX_ISO"),
        **_aperture_columns(rows[:, kernel.APERTURES :], apertures, zeropoint, image.unit),
        **_magnitudes("AUTO", auto, auto_error, zeropoint),
        **_magnitudes("ISO", found["flux"], iso_error, zeropoint),
        "FLUX_MAX": Column(found["peak"].astype(single), image.unit, "above the sky"),
        "FLUX_RADIUS": Column(rows[:, kernel.HALF_LIGHT].astype(single), "pixel", "holds half of FLUX_AUTO"),
        "BACKGROUND": Column(_at_centres(image.sky, found), image.unit, "sky at the barycentre"),
        "THRESHOLD": Column(found["least_thresh"].astype(single), image.unit, "of the detection"),
        "FLAGS": Column(flags, "", "SExtractor's extraction flags"),
        "IMAFLAGS_ISO": Column(mask_flags, "", "mask bits in the isophote, OR"),
    }


def _measured(
    image: Image, found: NDArray[Any], kron_factor: float, least_kron: float, apertures: Floats
) -> NDArray[np.float64]:
    """Return what the kernel measures, a row a source."""
    from recipes.ccd.kernels import photometry as kernel

    names = ("x", "y", "cxx", "cyy", "cxy", "a", "b")
    sources = np.column_stack([found[name].astype(np.float64) for name in names])
    rows = np.zeros((len(found), kernel.APERTURES + 2 * len(apertures)))
    planes = (image.signal, image.noise, image.segmentation, image.bad)
    detection = image.signal if image.detection is None else image.detection
    detection_bad = image.bad if image.detection_bad is None else image.detection_bad
    weigh = (detection, image.noise, image.segmentation, detection_bad)
    radii = np.asarray(apertures, np.float64) / 2
    settings = (float(kron_factor), float(least_kron), float(image.gain or 0.0))

    def measure(first: int) -> None:
        end = min(first + _SOURCES_AT_ONCE, len(found))
        kernel.measure(planes, weigh, sources, first, end, radii, settings, rows)

    threads.each(measure, range(0, len(found), _SOURCES_AT_ONCE))
    return rows


def _shape_columns(found: NDArray[Any]) -> dict[str, Column]:
    single = np.float32
    return {
        "X2_IMAGE": Column(found["x2"].copy(), "pixel**2", "variance along x"),
        "Y2_IMAGE": Column(found["y2"].copy(), "pixel**2", "variance along y"),
        "XY_IMAGE": Column(found["xy"].copy(), "pixel**2", "covariance"),
        "ERRX2_IMAGE": Column(found["errx2"].copy(), "pixel**2", "variance of the barycentre"),
        "ERRY2_IMAGE": Column(found["erry2"].copy(), "pixel**2", "variance of the barycentre"),
        "ERRXY_IMAGE": Column(found["errxy"].copy(), "pixel**2", "covariance of the barycentre"),
        "A_IMAGE": Column(found["a"].astype(single), "pixel", "rms along the major axis"),
        "B_IMAGE": Column(found["b"].astype(single), "pixel", "rms along the minor axis"),
        "THETA_IMAGE": Column(np.rad2deg(found["theta"]).astype(single), "deg", "of the major axis from x"),
        "ELONGATION": Column((found["a"] / found["b"]).astype(single), "", "A over B"),
        "ELLIPTICITY": Column((1 - found["b"] / found["a"]).astype(single), "", "1 - B/A"),
        "FWHM_IMAGE": Column(found["fwhm"].astype(single), "pixel", "of a Gaussian fitted to the core"),
        "ISOAREA_IMAGE": Column(found["area"].astype(np.int32), "pixel**2", "isophote, unfiltered"),
        "ISOAREAF_IMAGE": Column(found["npix"].astype(np.int32), "pixel**2", "isophote, filtered"),
    }


def _aperture_columns(rows: Floats, diameters: Floats, zeropoint: float, unit: str) -> dict[str, Column]:
    flux, error = rows[:, 0::2].copy(), rows[:, 1::2].copy()
    text = "diameters " + " ".join(f"{diameter:g}" for diameter in diameters)
    return {
        "FLUX_APER": Column(flux, unit, text),
        "FLUXERR_APER": Column(error, unit, "errors of FLUX_APER"),
        **_magnitudes("APER", flux, error, zeropoint),
    }


def _magnitudes(name: str, flux: Floats, error: Floats, zeropoint: float) -> dict[str, Column]:
    positive = flux > 0
    safe = np.where(positive, flux, 1.0)
    magnitude = np.where(positive, zeropoint - 2.5 * np.log10(safe), NO_MAGNITUDE)
    spread = np.where(positive, 2.5 / np.log(10) * error / safe, NO_MAGNITUDE)
    return {
        f"MAG_{name}": Column(magnitude.astype(np.float32), "mag", f"of FLUX_{name}"),
        f"MAGERR_{name}": Column(spread.astype(np.float32), "mag", f"error of MAG_{name}"),
    }


def _at_centres(plane: FloatArray, found: NDArray[Any]) -> FloatArray:
    y = np.clip((found["y"] + 0.5).astype(int), 0, plane.shape[0] - 1)
    x = np.clip((found["x"] + 0.5).astype(int), 0, plane.shape[1] - 1)
    return np.asarray(plane[y, x], dtype=np.float32)


def _flags(
    image: Image, found: NDArray[Any], of_apertures: NDArray[np.int16]
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Return SExtractor's FLAGS, and the mask bits that lie in each isophote."""
    from recipes.ccd.kernels.sources import gather_bits

    bits = np.zeros(len(found) + 1, dtype=np.uint16)
    gather_bits(image.segmentation, np.ascontiguousarray(image.mask), bits)
    own = bits[1:]
    flags = of_apertures | found["flag"].astype(np.int16)
    flags[(own & SATURATED) != 0] |= IS_SATURATED
    return flags, own.astype(np.int32)
