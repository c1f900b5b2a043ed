"""The point-spread function of a frame, from its own stars: width, half-light radius and a Moffat profile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.detection import extract
from recipes.frame import FloatArray, strip_bounds

Floats = NDArray[np.float64]

DETECTION = 8.0  # sigma of a star's pixels
BRIGHT = 20.0  # sigma of the peak of stars whose size is well measured
LEAST_STARS = 3
ENOUGH_STARS = 8
MOST_STARS = 80
MOST_SOURCES = 400  # of which the half-light radius is measured: more tell no better where stars are
STARS_AT_ONCE = 64  # of one call; what is measured does not hang on it
LOCUS = 0.15  # stars have half-light radii within this fraction of their mode


@dataclass(frozen=True)
class PointSpread:
    """Width of the stars' light: FWHM and half-light radius [pixel], slope of the Moffat profile, stars used."""

    fwhm: float
    half_light_radius: float
    beta: float
    stars: int

    def profile(self, radius: Floats) -> Floats:
        """Return the surface brightness of a star of flux 1 at `radius` pixels from its centre."""
        width = self.fwhm / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        return np.asarray((self.beta - 1) / (np.pi * width**2) * (1 + (radius / width) ** 2) ** -self.beta)

    @property
    def noise_area(self) -> float:
        """Pixels of sky whose noise a star of this shape is seen against: one over the integral of its square."""
        reach = int(np.ceil(6 * self.fwhm)) + 2
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        stamp = self.profile(np.hypot(x, y))
        return float(stamp.sum() ** 2 / (stamp**2).sum())


def measure_psf(signal: FloatArray, noise: FloatArray, bad: NDArray[np.bool_]) -> PointSpread | None:
    """Measure the point-spread function of a sky-subtracted image; None where it has too few stars.

    Parameters
    ----------
    signal : array
        Sky-subtracted pixels.
    noise : array
        Noise of the sky in each pixel.
    bad : array of bool
        Pixels to leave out; saturated ones belong to them.

    Returns
    -------
    PointSpread or None
        What was measured.
    """
    return psf_of(find_stars(signal, noise, bad), signal, bad)


def find_stars(signal: FloatArray, noise: FloatArray, bad: NDArray[np.bool_]) -> NDArray[np.void]:
    """Return the sources of a sky-subtracted image that may be stars: alone, round and whole.

    Parameters
    ----------
    signal : array
        Sky-subtracted pixels.
    noise : array
        Noise of the sky in each pixel.
    bad : array of bool
        Pixels to leave out; saturated ones belong to them.

    Returns
    -------
    structured array
        As the detection gives them.
    """
    found, _ = extract(np.ascontiguousarray(signal, dtype=np.float32), DETECTION, noise=noise, bad=bad, minimum_area=5)
    found = found[(found["flag"] == 0) & _isolated(found["x"], found["y"]) & _whole(found, bad)]
    if len(found) < LEAST_STARS:
        return np.asarray(found[:0])
    return _some(found[_round(found) & _bright(found, noise)])


def psf_of(found: NDArray[np.void], signal: FloatArray, bad: NDArray[np.bool_]) -> PointSpread | None:
    """Return the point-spread function of what may be stars; None where too few of them are.

    Parameters
    ----------
    found : structured array
        Of :func:`find_stars`.
    signal : array
        Sky-subtracted pixels.
    bad : array of bool
        Pixels to leave out, which may be more than when the sources were found.

    Returns
    -------
    PointSpread or None
        What was measured.
    """
    found = found[_whole(found, bad)]
    if len(found) < LEAST_STARS:
        return None
    radius = _half_light_radii(found, signal, bad)
    keep = radius > 0.5
    found, radius = found[keep], radius[keep]
    if len(found) < LEAST_STARS:
        return None
    mode = _half_sample_mode(np.sort(radius))
    on_locus = np.abs(radius / mode - 1) < LOCUS
    stars = found[on_locus]
    if len(stars) < LEAST_STARS:
        return None
    stars = stars[np.argsort(stars["flux"], kind="stable")[::-1][:MOST_STARS]]
    fitted = _fit_moffat(signal, bad, stars, mode)
    if fitted is None:
        return None
    fwhm, beta = fitted
    return PointSpread(fwhm, float(np.median(radius[on_locus])), beta, len(stars))


def _half_light_radii(found: NDArray[np.void], signal: FloatArray, bad: NDArray[np.bool_]) -> Floats:
    """Return the half-light radius [pixel] of each source, NaN where it is too near to the edge."""
    from recipes.ccd.kernels.stars import half_light_radii

    pixels, left_out = np.require(signal, np.float32, ["C", "W"]), np.require(bad, np.bool_, ["C", "W"])
    x, y = (np.ascontiguousarray(found[name], np.float64) for name in ("x", "y"))
    reach, radii = 12.0 + 3 * found["a"], np.empty(len(found))
    threads.each(
        lambda part: half_light_radii(pixels, left_out, *(plane[slice(*part)] for plane in (x, y, reach, radii))),
        strip_bounds(len(found), STARS_AT_ONCE),
    )
    return radii


def _isolated(x: Floats, y: Floats, distance: float = 14.0) -> NDArray[np.bool_]:
    """Return which positions have no other one within `distance` pixels."""
    from scipy.spatial import cKDTree

    if len(x) < 2:
        return np.ones(len(x), dtype=bool)
    nearest, _ = cKDTree(np.column_stack([x, y])).query(np.column_stack([x, y]), k=2)
    return np.asarray(nearest[:, 1] > distance)


def _round(found: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return which sources are as round as most: not galaxies on edge, nor what is left of trails."""
    elongation = found["a"] / np.maximum(found["b"], 1e-3)
    usual = float(np.median(elongation[np.argsort(found["flux"])[len(found) // 2 :]]))
    return np.asarray(elongation < 1.25 * max(usual, 1.3))


def _bright(found: NDArray[np.void], noise: FloatArray) -> NDArray[np.bool_]:
    """Return which sources stand well above the noise; all of them where these are few."""
    height = found["peak"] / noise[found["ypeak"], found["xpeak"]]
    bright = height > BRIGHT
    return bright if bright.sum() >= ENOUGH_STARS else np.ones(len(found), dtype=bool)


def _some(found: NDArray[np.void]) -> NDArray[np.void]:
    """Return as many as are needed, evenly from the whole frame."""
    if len(found) <= MOST_SOURCES:
        return found
    return np.asarray(found[np.linspace(0, len(found) - 1, MOST_SOURCES).astype(int)])


def _whole(found: NDArray[np.void], bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which sources have no bad pixel near their peak and lie clear of the frame's edge."""
    height, width = bad.shape
    x, y = np.rint(found["x"]).astype(int), np.rint(found["y"]).astype(int)
    inside = (x >= 8) & (y >= 8) & (x < width - 8) & (y < height - 8)
    x, y = np.clip(x, 2, max(width - 3, 2)), np.clip(y, 2, max(height - 3, 2))
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            inside &= ~bad[np.minimum(y + dy, height - 1), np.minimum(x + dx, width - 1)]
    return np.asarray(inside)


def _half_sample_mode(values: Floats) -> float:
    """Return the mode of sorted values (Bickel & Frühwirth 2006): halve to the densest half until few are left."""
    while len(values) > 3:
        half = -(-len(values) // 2)
        widths = values[half - 1 :] - values[: len(values) - half + 1]
        start = int(np.argmin(widths))
        values = values[start : start + half]
    return float(np.mean(values))


def _fit_moffat(
    signal: FloatArray, bad: NDArray[np.bool_], stars: NDArray[np.void], scale: float
) -> tuple[float, float] | None:
    """Fit a Moffat profile to the stars' pixels laid over each other; return FWHM and slope."""
    from scipy.optimize import least_squares

    reach = max(4, int(np.ceil(3.5 * scale)))
    radii, values = _pooled(signal, bad, stars, reach)
    if len(radii) < 20:
        return None
    # Medians over rings: neighbours and what is left of cosmic rays do not matter.
    edges = np.linspace(0, reach, 2 * reach + 1)
    ring = np.digitize(radii, edges) - 1
    centres, medians = [], []
    for index in range(2 * reach):
        inside = ring == index
        if inside.sum() >= 5:
            centres.append(float(np.median(radii[inside])))
            medians.append(float(np.median(values[inside])))
    if len(centres) < 4:
        return None
    r, v = np.array(centres), np.array(medians)

    def residuals(given: Floats) -> Floats:
        peak, fwhm, beta, floor = given
        width = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
        return np.asarray(peak * (1 + (r / width) ** 2) ** -beta + floor - v)

    start = [float(v.max()), 2.0 * scale, 3.0, 0.0]
    bounds = ([0, 0.5, 1.2, -np.inf], [np.inf, 8 * scale + 4, 12.0, np.inf])
    fitted = least_squares(residuals, start, bounds=bounds, x_scale=[start[0], 2 * scale, 1.0, 0.1 * start[0]])
    return (float(fitted.x[1]), float(fitted.x[2])) if fitted.success else None


def _pooled(signal: FloatArray, bad: NDArray[np.bool_], stars: NDArray[np.void], reach: int) -> tuple[Floats, Floats]:
    """Return radii and values, in units of the star's flux within `reach`, of the pixels around all stars."""
    import sep

    pixels = np.ascontiguousarray(signal, dtype=np.float32)
    x, y, _ = sep.winpos(pixels, stars["x"], stars["y"], np.full(len(stars), 0.42 * reach / 1.75), mask=bad)
    flux, _, _ = sep.sum_circle(pixels, x, y, np.full(len(stars), float(reach)), mask=bad)
    radii, values = [], []
    height, width = signal.shape
    for x0, y0, total in zip(x, y, flux, strict=True):
        ya, yb = max(int(y0) - reach, 0), min(int(y0) + reach + 2, height)
        xa, xb = max(int(x0) - reach, 0), min(int(x0) + reach + 2, width)
        if total <= 0 or ya >= yb or xa >= xb:
            continue
        rows, columns = np.mgrid[ya:yb, xa:xb]
        good = ~bad[ya:yb, xa:xb]
        radii.append(np.hypot(columns - x0, rows - y0)[good])
        values.append((signal[ya:yb, xa:xb] / total)[good])
    if not radii:
        return np.empty(0), np.empty(0)
    return np.concatenate(radii), np.concatenate(values)
