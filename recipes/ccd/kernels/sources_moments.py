"""Kernels of what is measured on the pixels of a source above the threshold: position, shape, isophotal flux.

The formulas are those of SExtractor's manual, "Isophotal measurements" (Bertin & Arnouts 1996, A&AS 117, 393).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, warm_up

# Places of the numbers of a source in its row.
NPIX, X, Y, X2, Y2, XY, A, B, THETA, CXX, CYY, CXY, ABCOR = range(13)
FILTERED_FLUX, FILTERED_PEAK, XPEAK, YPEAK, THRESHOLD, FLAG, SINGULAR = range(13, 20)
FLUX, FLUX_VARIANCE, PEAK, AREA, FWHM, ERRX2, ERRY2, ERRXY, MARGIN, LEAST_THRESHOLD = range(20, 30)
FIELDS = 30

BLENDED, TRUNCATED = 2, 8  # bits of SExtractor's FLAGS

_SINGULAR = 0.00694  # determinant below which a source is thinner than a pixel: (1/12)**2
_PIXEL_VARIANCE = 1 / 12
_LEAST_WIDTH = 13.0  # a source's FWHM is at most that of a Gaussian whose area is so many times A*B


@compiled
def describe(
    members: NDArray[np.int64],
    xs: NDArray[np.int32],
    ys: NDArray[np.int32],
    filtered: NDArray[np.float32],
    signal: NDArray[np.float32],
    threshold: float,
    keeps_centre: bool,
    row: Any,
) -> None:
    """Measure position and shape of the pixels `members`; `keeps_centre` takes the centre that `row` holds already."""
    x0, y0 = xs[members[0]], ys[members[0]]
    total = sum_x = sum_y = sum_xx = sum_yy = sum_xy = 0.0
    peak, filtered_peak = -1e30, -1e30
    for index in members:
        value = float(filtered[index])
        x, y = float(xs[index] - x0), float(ys[index] - y0)
        total += value
        sum_x += value * x
        sum_y += value * y
        sum_xx += value * x * x
        sum_yy += value * y * y
        sum_xy += value * x * y
        if value > filtered_peak:
            filtered_peak = value
            row[XPEAK], row[YPEAK] = xs[index], ys[index]
        peak = max(peak, float(signal[index]))
    x, y = sum_x / total, sum_y / total
    if keeps_centre:
        xc, yc = row[X] - x0, row[Y] - y0
        x2 = sum_xx / total + xc * xc - 2 * x * xc
        y2 = sum_yy / total + yc * yc - 2 * y * yc
        xy = sum_xy / total + xc * yc - x * yc - xc * y
        x, y = xc, yc
    else:
        x2, y2, xy = sum_xx / total - x * x, sum_yy / total - y * y, sum_xy / total - x * y
    row[SINGULAR] = 0
    determinant = x2 * y2 - xy * xy
    if determinant < _SINGULAR:
        x2, y2 = x2 + _PIXEL_VARIANCE, y2 + _PIXEL_VARIANCE
        determinant = x2 * y2 - xy * xy
        row[SINGULAR] = 1
    # About a given centre the moments of odd pixels can leave the determinant negative: then the source is a point.
    if not determinant > 0 or not x2 > 0 or not y2 > 0:
        x2, y2, xy = _PIXEL_VARIANCE, _PIXEL_VARIANCE, 0.0
        determinant = x2 * y2
        row[SINGULAR] = 1
    half = math.sqrt(0.25 * (x2 - y2) ** 2 + xy * xy)
    major = 0.5 * (x2 + y2) + half
    minor = determinant / major
    row[NPIX], row[X], row[Y], row[X2], row[Y2], row[XY] = len(members), x + x0, y + y0, x2, y2, xy
    row[A], row[B] = math.sqrt(major), math.sqrt(minor)
    row[THETA] = 0.5 * math.atan2(2 * xy, x2 - y2) if x2 != y2 else math.pi / 4
    row[CXX], row[CYY], row[CXY] = y2 / determinant, x2 / determinant, -2 * xy / determinant
    row[FILTERED_FLUX], row[FILTERED_PEAK], row[THRESHOLD] = total, filtered_peak, threshold
    middle = 0.5 * (threshold + peak)
    core = outer = 0
    for index in members:
        outer += signal[index] > threshold
        core += signal[index] > middle
    row[ABCOR] = 1.0
    if middle > 0 and threshold > 0:
        ratio = threshold / middle
        difference = float(core - outer) if core < outer else -1.0
        correction = difference / (2 * math.pi * math.log(ratio if ratio < 1.0 else 0.99) * row[A] * row[B])
        row[ABCOR] = min(correction, 1.0)


@compiled
def measure_isophote(
    members: NDArray[np.int64],
    xs: NDArray[np.int32],
    ys: NDArray[np.int32],
    filtered: NDArray[np.float32],
    measured: NDArray[np.float32],
    noise: NDArray[np.float32],
    noise_here: NDArray[np.float32],
    relative_threshold: float,
    gain: float,
    minimum_area: int,
    row: Any,
) -> None:
    """Measure flux, peak, area, width and the errors of the position of the pixels `members`.

    `measured` and `noise_here` are of the image that is measured, `filtered` and `noise` of that of the detection.
    `gain` 0 leaves the source's own noise out.
    """
    flux = variance = sum_error = error_x = error_y = error_xy = 0.0
    peak, area, least = -1e30, 0, 1e30
    excess = np.empty(len(members), np.float32)
    for place, index in enumerate(members):
        value = float(measured[index])
        flux += value
        peak = max(peak, value)
        sigma = float(noise_here[index])
        variance += sigma * sigma
        area += value > relative_threshold * sigma
        least = min(least, relative_threshold * sigma)
        error = float(noise[index]) ** 2
        if gain > 0 and filtered[index] > 0:
            error += filtered[index] / gain
        x, y = xs[index] - row[X], ys[index] - row[Y]
        sum_error += error
        error_x += error * x * x
        error_y += error * y * y
        error_xy += error * x * y
        excess[place] = filtered[index] - relative_threshold * noise[index]
    square = row[FILTERED_FLUX] ** 2
    error_x, error_y, error_xy = error_x / square, error_y / square, error_xy / square
    sum_error *= _PIXEL_VARIANCE / square
    if row[SINGULAR] and error_x * error_y - error_xy * error_xy < sum_error * sum_error:
        error_x, error_y = error_x + sum_error, error_y + sum_error
    if gain > 0 and flux > 0:
        variance += flux / gain
    row[FLUX], row[FLUX_VARIANCE], row[PEAK], row[AREA], row[LEAST_THRESHOLD] = flux, variance, peak, area, least
    row[ERRX2], row[ERRY2], row[ERRXY] = error_x, error_y, error_xy
    row[MARGIN] = 0.0
    if len(members) >= minimum_area:
        # The least of the brightest pixels that make a source. SExtractor's own count takes the first pixel of a source
        # that has no more than these, and passes over the one after them otherwise; so do we, to keep the same sources.
        if len(members) == minimum_area:
            row[MARGIN] = excess[0]
        else:
            excess[minimum_area] = -1e30
            row[MARGIN] = np.sort(excess)[len(members) - minimum_area]
    row[FWHM] = _width(members, xs, ys, measured, max(peak / 5, least), row)


@compiled
def _width(
    members: NDArray[np.int64],
    xs: NDArray[np.int32],
    ys: NDArray[np.int32],
    measured: NDArray[np.float32],
    limit: float,
    row: Any,
) -> float:
    """Return the FWHM of a Gaussian fitted to the logarithm of the pixels above `limit`, weighted by their squares."""
    if limit <= 0:
        return 0.0
    weights = sum_r = sum_rr = sum_v = sum_rv = 0.0
    for index in members:
        value = float(measured[index])
        if value > limit:
            squared = (xs[index] - row[X]) ** 2 + (ys[index] - row[Y]) ** 2
            weight, logarithm = value * value, math.log(value)
            weights += weight
            sum_r += squared * weight
            sum_rr += squared * squared * weight
            sum_v += logarithm * weight
            sum_rv += logarithm * squared * weight
    determinant = weights * sum_rr - sum_r * sum_r
    if not determinant > 0:
        return 0.0
    slope = max(-(weights * sum_rv - sum_r * sum_v) / determinant, 1 / (_LEAST_WIDTH * row[A] * row[B]))
    width = 2 * math.sqrt(math.log(2.0) / slope)
    return width - 1 / (4 * width)  # pixels widen: the manual's correction, found by simulation


@warm_up
def _warm_up() -> None:
    members = np.arange(4)
    xs, ys = np.array([1, 2, 1, 2], np.int32), np.array([1, 1, 2, 2], np.int32)
    values = np.array([1, 2, 3, 4], np.float32)
    rows = np.zeros((1, FIELDS))
    describe(members, xs, ys, values, values, 0.5, False, rows[0])
    measure_isophote(members, xs, ys, values, values, values, values, 1.5, 1.0, 2, rows[0])
