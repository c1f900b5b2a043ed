"""Detection of sources as SExtractor does it (Bertin & Arnouts 1996, A&AS 117, 393)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.frame import FloatArray, strip_bounds

# SExtractor's default.conv: a pyramid of FWHM 2 pixels.
DEFAULT_KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)

_STRIP_ROWS = 256
_AREAS_AT_ONCE = 512  # of one call; what is found does not hang on it

# Names of what is found, in the order of the numbers of :mod:`recipes.ccd.kernels.sources_moments`.
_NAMES = (
    "npix", "x", "y", "x2", "y2", "xy", "a", "b", "theta", "cxx", "cyy", "cxy", "abcor", "cflux", "cpeak", "xpeak",
    "ypeak", "thresh", "flag", "singular", "flux", "flux_variance", "peak", "area", "fwhm", "errx2", "erry2", "errxy",
    "margin", "least_thresh",
)  # fmt: skip
_WHOLE = {"npix", "xpeak", "ypeak", "flag", "area"}
SOURCE = np.dtype([(name, np.int64 if name in _WHOLE else np.float64) for name in _NAMES])


def extract(
    signal: FloatArray,
    threshold: float,
    *,
    noise: FloatArray,
    bad: NDArray[np.bool_] | None = None,
    gain: float | None = None,
    minimum_area: int = 5,
    kernel: NDArray[np.float32] | None = None,
    deblend_levels: int = 32,
    deblend_contrast: float = 0.005,
    measured: FloatArray | None = None,
    measured_noise: FloatArray | None = None,
    clean: bool = True,
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Find sources in a sky-subtracted image.

    Parameters
    ----------
    signal : array
        Sky-subtracted pixels, float32.
    threshold : float
        In units of the noise.
    noise : array
        Noise of the sky in each pixel.
    bad : array of bool, optional
        Pixels to leave out.
    gain : float, optional
        Electrons for each unit of `signal`, for the errors of positions and fluxes.
    minimum_area : int
        Pixels above the threshold that make a source.
    kernel : array, optional
        Filter for the detection, with odd sides; None for none.
    deblend_levels, deblend_contrast : int, float
        Thresholds on which blends are taken apart, and the least part of a blend's flux that makes a source.
    measured, measured_noise : array, optional
        Another image of the same pixels, of which isophotal flux, peak, area and width are taken (dual mode).
    clean : bool
        Give detections in the wings of brighter sources to these.

    Returns
    -------
    sources : structured array
        Of type ``SOURCE``: pixel positions from 0, moments [pixel**2], ``flux`` and ``peak`` of the image itself,
        ``cflux`` and ``cpeak`` of the filtered one, ``flag`` with SExtractor's bits 2 (blended) and 8 (at the edge).
    segmentation : array of int32
        Number (from 1) of the source that each pixel belongs to, 0 of none.

    Notes
    -----
    Written after the paper and SExtractor's manual; pixels between deblended sources are drawn by a number that hangs
    on the pixel alone, and cleaning goes from bright to faint, so that the same image gives the same sources whatever
    the number of threads.
    """
    from recipes.ccd.kernels import sources

    signal = np.ascontiguousarray(signal, np.float32)
    noise = np.ascontiguousarray(noise, np.float32)
    height, width = signal.shape
    weights = np.empty((0, 0), np.float32) if kernel is None else np.asarray(kernel / np.abs(kernel).sum(), np.float32)
    unusable = np.empty((0, width), np.bool_) if bad is None or not bad.any() else bad
    filtered, above = np.empty((height, width), np.float32), np.empty((height, width), np.bool_)
    count = np.empty(height, np.int64)

    def filter_strip(bounds: tuple[int, int]) -> None:
        sources.threshold_rows(signal, unusable, noise, threshold, weights, *bounds, filtered, above, count)

    threads.each(filter_strip, strip_bounds(height, _STRIP_ROWS))
    runs = sources.connect(above, np.concatenate(([0], np.cumsum(count))), minimum_area)
    planes = (filtered, signal, noise, signal if measured is None else np.ascontiguousarray(measured, np.float32),
              noise if measured_noise is None else np.ascontiguousarray(measured_noise, np.float32))  # fmt: skip
    settings = (float(threshold), float(gain or 0.0), int(minimum_area), int(deblend_levels), float(deblend_contrast))
    return _measure_areas(runs, planes, settings, clean)


def _measure_areas(
    runs: tuple[NDArray[Any], ...], planes: tuple[FloatArray, ...], settings: tuple[Any, ...], clean: bool
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    from recipes.ccd.kernels import sources
    from recipes.ccd.kernels.sources_areas import measure_areas

    row, begin, end, order, first = runs
    segmentation = np.zeros(planes[0].shape, np.int32)
    pieces = [(low, min(low + _AREAS_AT_ONCE, len(first) - 1)) for low in range(0, len(first) - 1, _AREAS_AT_ONCE)]
    parts = threads.each(lambda piece: measure_areas(piece, runs, planes, settings, segmentation), pieces)
    base = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    rows = np.concatenate(parts) if parts else np.empty((0, len(_NAMES)))
    kept, number = _cleaned(rows) if clean else (rows, np.arange(len(rows) + 1, dtype=np.int32))

    def renumber(which: int) -> None:
        low, high = pieces[which]
        sources.renumber(segmentation, row, begin, end, order[first[low] : first[high]], int(base[which]), number)

    threads.each(renumber, range(len(pieces)))
    found = np.zeros(len(kept), SOURCE)
    for place, name in enumerate(_NAMES):
        found[name] = kept[:, place]
    return found, segmentation


def _cleaned(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return what is left after cleaning, and the new number of each old one (0 stays 0)."""
    from recipes.ccd.kernels.sources_cleaning import eaten_by

    place = {name: index for index, name in enumerate(_NAMES)}
    brightest_first = np.argsort(-rows[:, place["cflux"]], kind="stable")
    eater = eaten_by(rows, brightest_first)
    # A source that ate may be eaten by none: eaters are taken from bright to faint.
    alive = eater < 0
    new = np.cumsum(alive) * alive
    number = np.concatenate(([0], np.where(alive, new, new[eater]))).astype(np.int32)
    kept = rows.copy()
    for victim in np.flatnonzero(~alive):
        mine, its = kept[eater[victim]], rows[victim]
        for name in ("npix", "cflux", "flux", "flux_variance", "area"):
            mine[place[name]] += its[place[name]]
        flag = place["flag"]
        mine[flag] = int(mine[flag]) | (int(its[flag]) & 8)
    return kept[alive], number
