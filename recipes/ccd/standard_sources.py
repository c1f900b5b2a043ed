"""The sources of a frame among which standard stars are found, and why one of them is not to be trusted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.detection import DEFAULT_KERNEL, extract
from recipes.ccd.photometry import IS_SATURATED, Image, measure_sources
from recipes.ccd.psf import measure_psf
from recipes.ccd.search_image import prepare
from recipes.frame import Frame, MaskArray
from recipes.masks import INTERPOLATED, SATURATED
from recipes.progress import report
from recipes.tables import Column

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# As SourceList by default, so that its AUTO and ISO fluxes are those that the zeropoint is for.
DETECT_THRESH, DETECT_MINAREA, DEBLEND_LEVELS, DEBLEND_CONTRAST = 1.5, 5, 32, 0.005
BACK_SIZE, BACK_FILTERSIZE = 64, 3
KRON_FACTOR, LEAST_KRON = 2.5, 3.5
TRUNCATED, APERTURE_INCOMPLETE = 8, 16  # bits of SExtractor's FLAGS
LEAST_SIGNAL = 20.0  # signal to noise of a star that is used: of fainter ones, those too bright by chance are seen
CORE = 1.0  # FWHM from the centre in which no pixel may be bad; those farther out were filled and hold little light
MOST_OTHER_LIGHT = 0.05  # of a star's own that its neighbours may have
USUAL_FWHM = 3.0  # pixels, where nothing tells


def measured_sources(frame: Frame, diameter: float) -> tuple[dict[str, Column], float]:
    """Return the sources of a frame by SExtractor's names, with one aperture [pixel], and the stars' FWHM [pixel]."""
    image = prepare(frame, None, BACK_SIZE, BACK_FILTERSIZE)
    found, segmentation = extract(image.signal, DETECT_THRESH, noise=image.noise, bad=image.bad, gain=image.gain,
                                  minimum_area=DETECT_MINAREA, kernel=DEFAULT_KERNEL, deblend_levels=DEBLEND_LEVELS,
                                  deblend_contrast=DEBLEND_CONTRAST)  # fmt: skip
    report(0.4, "measuring sources")
    here = Image(image.signal, image.noise, image.sky.level_map, image.bad, image.mask, segmentation, image.gain,
                 frame.unit)  # fmt: skip
    columns = measure_sources(here, found, kron_factor=KRON_FACTOR, least_kron=LEAST_KRON,
                              apertures=np.array([diameter]), zeropoint=0.0)  # fmt: skip
    psf = measure_psf(image.signal, image.noise, image.unfit)
    return columns, psf.fwhm if psf else frame.number("psf_fwhm") or USUAL_FWHM


def fluxes(sources: Mapping[str, Column], flux_type: str) -> tuple[Floats, Floats]:
    """Return the fluxes of all sources and their errors: AUTO, ISO or those of the one aperture (APER)."""
    count = len(sources["NUMBER"].values)
    both = (np.asarray(sources[f"{name}_{flux_type}"].values, np.float64) for name in ("FLUX", "FLUXERR"))
    flux, error = (values.reshape(count, -1)[:, 0] if count else np.empty(0) for values in both)
    return flux, error


def remarks(
    sources: Mapping[str, Column],
    which: NDArray[np.int64],
    signal_to_noise: Floats,
    reach: float,
    mask: MaskArray,
    fwhm: float,
) -> NDArray[np.str_]:
    """Return for each source why it is not to be used; empty where nothing speaks against it.

    Parameters
    ----------
    sources : mapping of Column
        All sources of the frame.
    which : array of int
        Places of those in question.
    signal_to_noise : array
        Of these.
    reach : float
        Distance within which light of others counts [pixel].
    mask : array
        Of the frame.
    fwhm : float
        Of its stars [pixel].

    Returns
    -------
    array of str
        The gravest reason.
    """
    flags = sources["FLAGS"].values[which].astype(np.int64)
    in_isophote = sources["IMAFLAGS_ISO"].values[which].astype(np.int64)
    found = np.full(len(which), "", dtype="U24")
    reasons = (
        ("faint", ~(signal_to_noise >= LEAST_SIGNAL)),
        ("blended", _other_light(sources, which, reach) > MOST_OTHER_LIGHT),
        ("bad pixels", _bad_core(sources, which, mask, fwhm)),
        ("at the edge", (flags & (TRUNCATED | APERTURE_INCOMPLETE)) != 0),
        ("saturated", ((flags & IS_SATURATED) != 0) | ((in_isophote & SATURATED) != 0)),
    )
    for reason, applies in reasons:
        found[applies] = reason
    return found


def _other_light(sources: Mapping[str, Column], which: NDArray[np.int64], reach: float) -> Floats:
    """Return the light of sources within `reach` pixels of each, in units of its own."""
    from scipy.spatial import cKDTree

    places = np.column_stack([sources["XWIN_IMAGE"].values, sources["YWIN_IMAGE"].values])
    flux = np.maximum(sources["FLUX_ISO"].values, 0.0)
    if not len(which):
        return np.empty(0)
    near = cKDTree(places).query_ball_point(places[which], reach)
    others = np.array([flux[found].sum() - flux[own] for own, found in zip(which, near, strict=True)])
    return np.asarray(np.divide(others, flux[which], out=np.full(len(which), np.inf), where=flux[which] > 0))


def _bad_core(sources: Mapping[str, Column], which: NDArray[np.int64], mask: MaskArray, fwhm: float) -> Bools:
    bad = (mask & ~np.uint16(INTERPOLATED)) != 0
    reach = max(CORE * fwhm, 1.5)
    span = int(np.ceil(reach))
    hit = np.zeros(len(which), dtype=bool)
    x, y = (sources[name].values[which] - 1 for name in ("XWIN_IMAGE", "YWIN_IMAGE"))
    for place, (column, row) in enumerate(zip(x, y, strict=True)):
        rows = np.arange(max(round(row) - span, 0), min(round(row) + span + 1, bad.shape[0]))
        columns = np.arange(max(round(column) - span, 0), min(round(column) + span + 1, bad.shape[1]))
        near = np.hypot(rows[:, None] - row, columns[None, :] - column) <= reach
        hit[place] = bool((bad[np.ix_(rows, columns)] & near).any())
    return hit
