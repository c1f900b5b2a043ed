"""Measuring detected sources: positions, shapes, fluxes under SExtractor's names (Bertin & Arnouts 1996; its manual).

Positions are FITS pixels (the first pixel's centre is 1). Fluxes are in the unit of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.frame import FloatArray, MaskArray
from recipes.masks import SATURATED
from recipes.tables import Column

Floats = NDArray[np.float64]

# Bits of SExtractor's FLAGS.
NEIGHBOURS, BLENDED, IS_SATURATED, TRUNCATED, APERTURE_INCOMPLETE = 1, 2, 4, 8, 16
NEIGHBOUR_FRACTION = 0.1  # of the Kron ellipse covered by others sets NEIGHBOURS (SExtractor's manual, FLAGS)
KRON_REACH = 6.0  # isophotal radii over which the Kron radius is measured, as in SExtractor
NO_MAGNITUDE = 99.0  # SExtractor's mark of a flux that is not positive


@dataclass(frozen=True)
class Image:
    """An image ready to be measured: sky-subtracted, its noise, bad pixels, and who owns each pixel."""

    signal: FloatArray
    noise: FloatArray
    sky: FloatArray
    bad: NDArray[np.bool_]
    mask: MaskArray
    segmentation: NDArray[np.int32]
    gain: float | None
    unit: str

    def options(self, count: int) -> dict[str, Any]:
        """Return what every aperture of ``sep`` is told: leave out bad pixels and those of other sources."""
        return {"mask": self.bad, "segmap": self.segmentation, "seg_id": np.arange(1, count + 1, dtype=np.int32)}

    def errors(self) -> dict[str, Any]:
        """Return what the errors of fluxes follow from: noise of the sky, Poisson noise of the source."""
        return {"err": self.noise, "gain": self.gain}


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
    shape = _shape_columns(found)
    auto = _auto(image, found, kron_factor, least_kron)
    iso_error = _isophotal_error(image, found)
    half_light = _half_light_radius(image, found, auto["flux"])
    x_window, y_window = _windowed(image, found, half_light)
    columns = {
        "NUMBER": Column(np.arange(1, len(found) + 1, dtype=np.int32), "", "running number in this list"),
        "X_IMAGE": Column(found["x"] + 1.0, "pixel", "barycentre"),
        "Y_IMAGE": Column(found["y"] + 1.0, "pixel", "barycentre"),
        "XWIN_IMAGE": Column(x_window + 1.0, "pixel", "windowed position"),
        "YWIN_IMAGE": Column(y_window + 1.0, "pixel", "windowed position"),
        "XPEAK_IMAGE": Column(found["xpeak"].astype(np.int32) + 1, "pixel", "brightest pixel"),
        "YPEAK_IMAGE": Column(found["ypeak"].astype(np.int32) + 1, "pixel", "brightest pixel"),
        **shape,
        "KRON_RADIUS": Column(auto["radius"].astype(np.float32), "", "AUTO ellipse in units of A and B"),
        "FLUX_AUTO": Column(auto["flux"], image.unit, "in the Kron ellipse"),
        "FLUXERR_AUTO": Column(auto["error"], image.unit, "error of FLUX_AUTO"),
        "FLUX_ISO": Column(found["flux"].astype(np.float64), image.unit, "isophotal"),
        "FLUXERR_ISO": Column(iso_error, image.unit, "error of FLUX_ISO"),
        **_aperture_columns(image, found, apertures, zeropoint),
        **_magnitudes("AUTO", auto["flux"], auto["error"], zeropoint),
        **_magnitudes("ISO", found["flux"].astype(np.float64), iso_error, zeropoint),
        "FLUX_MAX": Column(found["peak"].astype(np.float32), image.unit, "above the sky"),
        "FLUX_RADIUS": Column(half_light.astype(np.float32), "pixel", "holds half of FLUX_AUTO"),
        "BACKGROUND": Column(_at_peaks(image.sky, found), image.unit, "sky at the brightest pixel"),
        "THRESHOLD": Column(found["thresh"].astype(np.float32), image.unit, "of the detection"),
    }
    flags, mask_flags = _flags(image, found, auto)
    columns["FLAGS"] = Column(flags, "", "SExtractor's extraction flags")
    columns["IMAFLAGS_ISO"] = Column(mask_flags, "", "mask bits in the isophote, OR")
    return columns


def _shape_columns(found: NDArray[Any]) -> dict[str, Column]:
    single = np.float32
    fwhm = 2 * np.sqrt(np.log(2) * (found["a"].astype(np.float64) ** 2 + found["b"] ** 2))
    return {
        "X2_IMAGE": Column(found["x2"], "pixel**2", "variance along x"),
        "Y2_IMAGE": Column(found["y2"], "pixel**2", "variance along y"),
        "XY_IMAGE": Column(found["xy"], "pixel**2", "covariance"),
        "ERRX2_IMAGE": Column(found["errx2"], "pixel**2", "variance of the barycentre"),
        "ERRY2_IMAGE": Column(found["erry2"], "pixel**2", "variance of the barycentre"),
        "ERRXY_IMAGE": Column(found["errxy"], "pixel**2", "covariance of the barycentre"),
        "A_IMAGE": Column(found["a"].astype(single), "pixel", "rms along the major axis"),
        "B_IMAGE": Column(found["b"].astype(single), "pixel", "rms along the minor axis"),
        "THETA_IMAGE": Column(np.rad2deg(found["theta"]).astype(single), "deg", "of the major axis from x"),
        "ELONGATION": Column((found["a"] / found["b"]).astype(single), "", "A over B"),
        "ELLIPTICITY": Column((1 - found["b"] / found["a"]).astype(single), "", "1 - B/A"),
        "FWHM_IMAGE": Column(fwhm.astype(single), "pixel", "of a Gaussian with these moments"),
        "ISOAREA_IMAGE": Column(found["npix"].astype(np.int32), "pixel**2", "pixels above the threshold"),
    }


def _auto(image: Image, found: NDArray[Any], kron_factor: float, least_kron: float) -> dict[str, Any]:
    """Return flux, error, flags and radius of the Kron ellipses (Kron 1980, ApJS 43, 305)."""
    import sep

    options = image.options(len(found))
    ellipse = [found[name].astype(np.float64) for name in ("x", "y", "a", "b", "theta")]
    ellipse[4] = np.clip(ellipse[4], -np.pi / 2, np.pi / 2)
    kron, _ = sep.kron_radius(image.signal, *ellipse, KRON_REACH, **options)
    radius = np.maximum(kron_factor * np.where(np.isfinite(kron), kron, 0.0), least_kron)
    flux, error, flags = sep.sum_ellipse(image.signal, *ellipse, radius, **image.errors(), **options, subpix=5)
    covered, _, _ = sep.sum_ellipse((image.segmentation > 0).astype(np.float32), *ellipse, radius, subpix=1)
    area = np.pi * ellipse[2] * ellipse[3] * radius**2
    others = (covered - np.minimum(found["npix"], covered)) / np.maximum(area, 1.0)
    return {"flux": flux, "error": error, "flags": flags, "radius": radius, "others": others}


def _isophotal_error(image: Image, found: NDArray[Any]) -> Floats:
    sky = found["npix"] * _at_peaks(image.noise, found).astype(np.float64) ** 2
    own = np.maximum(found["flux"], 0.0) / image.gain if image.gain else 0.0
    return np.asarray(np.sqrt(sky + own), dtype=np.float64)


def _half_light_radius(image: Image, found: NDArray[Any], flux: Floats) -> Floats:
    import sep

    reach = np.maximum(KRON_REACH * found["a"].astype(np.float64), 3.0)
    positive = np.where(flux > 0, flux, 1.0)
    radius, _ = sep.flux_radius(image.signal, found["x"], found["y"], reach, 0.5, normflux=positive, subpix=5,
                                **image.options(len(found)))  # fmt: skip
    return np.asarray(np.where((flux > 0) & np.isfinite(radius), radius, 0.0))


def _windowed(image: Image, found: NDArray[Any], half_light: Floats) -> tuple[Floats, Floats]:
    """Return windowed positions (SExtractor's manual, XWIN_IMAGE); the barycentre where the iteration runs away."""
    import sep

    sigma = np.clip(2.0 / 2.35 * half_light, 0.5, None)
    x, y, _ = sep.winpos(image.signal, found["x"], found["y"], sigma, mask=image.bad)
    away = np.hypot(x - found["x"], y - found["y"])
    kept = np.isfinite(away) & (away <= np.maximum(2.0, 2.0 * found["a"]))
    return np.where(kept, x, found["x"]), np.where(kept, y, found["y"])


def _aperture_columns(image: Image, found: NDArray[Any], diameters: Floats, zeropoint: float) -> dict[str, Column]:
    import sep

    options = image.options(len(found))
    fluxes, errors = [], []
    for diameter in diameters:
        flux, error, _ = sep.sum_circle(
            image.signal, found["x"], found["y"], diameter / 2, **image.errors(), **options, subpix=5
        )
        fluxes.append(flux)
        errors.append(error)
    flux, error = np.column_stack(fluxes), np.column_stack(errors)
    text = "diameters " + " ".join(f"{diameter:g}" for diameter in diameters)
    return {
        "FLUX_APER": Column(flux, image.unit, text),
        "FLUXERR_APER": Column(error, image.unit, "errors of FLUX_APER"),
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


def _at_peaks(plane: FloatArray, found: NDArray[Any]) -> FloatArray:
    return np.asarray(plane[found["ypeak"], found["xpeak"]], dtype=np.float32)


def _flags(image: Image, found: NDArray[Any], auto: dict[str, Any]) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Return SExtractor's FLAGS, and the mask bits that lie in each isophote."""
    import sep

    bits = np.zeros(len(found) + 1, dtype=np.uint16)
    y, x = np.nonzero((image.segmentation > 0) & (image.mask != 0))
    np.bitwise_or.at(bits, image.segmentation[y, x], image.mask[y, x])
    own = bits[1:]
    flags = np.zeros(len(found), dtype=np.int16)
    flags[auto["others"] > NEIGHBOUR_FRACTION] |= NEIGHBOURS
    flags[(found["flag"] & sep.OBJ_MERGED) != 0] |= BLENDED
    flags[(own & SATURATED) != 0] |= IS_SATURATED
    flags[(found["flag"] & sep.OBJ_TRUNC) != 0] |= TRUNCATED
    flags[(auto["flags"] & sep.APER_TRUNC) != 0] |= APERTURE_INCOMPLETE
    return flags, own.astype(np.int32)
