"""Kernels of photometry: fluxes in circles and ellipses, growth curves, windowed positions.

Apertures as SExtractor's manual describes them ("Photometry", "Windowed positional measurements"): pixels that belong
to other sources, or are bad, are replaced by those opposite the source's centre (MASK_TYPE CORRECT), else by 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up

# What of a source goes in.
X, Y, CXX, CYY, CXY, A, B = range(7)
SHAPE_FIELDS = 7
# What comes out; fluxes and errors of the apertures follow.
AUTO_FLUX, AUTO_ERROR, AUTO_RADIUS, HALF_LIGHT, X_WINDOW, Y_WINDOW, WINDOW_VARIANCE_X, WINDOW_VARIANCE_Y, FLAGS = range(
    9
)
WINDOW_COVARIANCE = 9
APERTURES = 10

CROWDED, INCOMPLETE = 1, 16  # bits of SExtractor's FLAGS

_KRON_REACH = 6.0  # isophotal radii over which the Kron radius is measured
_CROWD = 0.1  # part of the ellipse's pixels that belong to others from which a source is called crowded
_SUB = 5  # parts of a pixel, along x and along y, at the edge of a circle
_EDGE = 0.75  # pixels nearer to a circle are taken in parts: more than half a diagonal
_STEPS = 64  # of a growth curve
_GROWTH_REACH = 6.0  # times A
_LEAST_HALF_LIGHT = 0.5  # pixel
_WINDOW_REACH = 4.0  # sigma of the window
_WINDOW_ROUNDS = 16
_WINDOW_STEP = 1e-4  # pixel: the position no longer changes
_HALF_FWHM_PER_SIGMA = 2.35 / 2


@inlined
def usable(planes: Any, x: int, y: int, number: int) -> bool:
    """Whether a pixel belongs to no other source and is not bad."""
    owner = planes[2][y, x]
    return (owner in (0, number)) and not planes[3][y, x]


@inlined
def opposite(planes: Any, x: int, y: int, xc: float, yc: float, number: int) -> Any:
    """Return place and existence of a usable pixel on the other side of the centre."""
    x2, y2 = math.floor(2 * xc + 0.49999 - x), math.floor(2 * yc + 0.49999 - y)
    height, width = planes[0].shape
    if x2 < 0 or x2 >= width or y2 < 0 or y2 >= height:
        return 0, 0, False
    return x2, y2, usable(planes, x2, y2, number)


@inlined
def light(planes: Any, x: int, y: int, xc: float, yc: float, number: int) -> Any:
    """Return value and variance of a pixel as an aperture counts it, and whether it had to be replaced."""
    if usable(planes, x, y, number):
        return float(planes[0][y, x]), float(planes[1][y, x]) ** 2, False
    x2, y2, there = opposite(planes, x, y, xc, yc, number)
    if there:
        return float(planes[0][y2, x2]), float(planes[1][y2, x2]) ** 2, True
    return 0.0, 0.0, True


@inlined
def bounds(centre: float, reach: float, size: int) -> Any:
    """Return first pixel, end, and whether the range was cut at the edge."""
    low, high = int(centre - reach + 0.499999), int(centre + reach + 1.499999)
    return max(low, 0), min(high, size), low < 0 or high > size


@compiled
def _covered(dx: float, dy: float, radius: float) -> float:
    """Return the part of a pixel at (dx, dy) from the centre that lies in a circle, counted on a grid within it."""
    squared = dx * dx + dy * dy
    inner = max(radius - _EDGE, 0.0)
    if squared <= inner * inner:
        return 1.0
    if squared >= (radius + _EDGE) ** 2:
        return 0.0
    inside = 0
    for i in range(_SUB):
        y = dy + (i + 0.5) / _SUB - 0.5
        for j in range(_SUB):
            x = dx + (j + 0.5) / _SUB - 0.5
            inside += x * x + y * y < radius * radius
    return inside / (_SUB * _SUB)


@compiled
def circle(planes: Any, source: Any, number: int, radius: float, gain: float) -> Any:
    """Return flux and variance in a circle, and whether it reaches beyond the edge."""
    xc, yc = source[X], source[Y]
    height, width = planes[0].shape
    xa, xb, cut_x = bounds(xc, radius, width)
    ya, yb, cut_y = bounds(yc, radius, height)
    flux = variance = 0.0
    for y in range(ya, yb):
        for x in range(xa, xb):
            part = _covered(x - xc, y - yc, radius)
            if part > 0:
                value, its_variance, _ = light(planes, x, y, xc, yc, number)
                flux += part * value
                variance += part * its_variance
    if gain > 0 and flux > 0:
        variance += flux / gain
    return flux, variance, cut_x or cut_y


@compiled
def _ellipse_bounds(source: Any, factor: float, width: int, height: int) -> Any:
    """Return the rectangle around an ellipse of `factor` times A and B, and whether it was cut at the edge."""
    along_x = source[CXX] - source[CXY] ** 2 / (4 * source[CYY])
    along_y = source[CYY] - source[CXY] ** 2 / (4 * source[CXX])
    reach_x = factor / math.sqrt(along_x) if along_x > 0 else 0.0
    reach_y = factor / math.sqrt(along_y) if along_y > 0 else 0.0
    xa, xb = round(source[X] - reach_x), round(source[X] + reach_x) + 1
    ya, yb = round(source[Y] - reach_y), round(source[Y] + reach_y) + 1
    cut = xa < 0 or ya < 0 or xb > width or yb > height
    return max(xa, 0), min(xb, width), max(ya, 0), min(yb, height), cut


@compiled
def kron(planes: Any, weigh: Any, source: Any, number: int, factor: float, least: float, gain: float, row: Any) -> None:
    """Measure the flux in an ellipse of `factor` Kron radii (Kron 1980, ApJS 43, 305), found on the planes `weigh`."""
    height, width = planes[0].shape
    cxx, cyy, cxy = source[CXX], source[CYY], source[CXY]
    xa, xb, ya, yb, cut = _ellipse_bounds(source, _KRON_REACH, width, height)
    flags = INCOMPLETE if cut else 0
    moment = total = 0.0
    area = others = 0
    for y in range(ya, yb):
        for x in range(xa, xb):
            dx, dy = x - source[X], y - source[Y]
            squared = cxx * dx * dx + cyy * dy * dy + cxy * dx * dy
            if squared <= _KRON_REACH * _KRON_REACH:
                area += 1
                if usable(weigh, x, y, number):
                    moment += math.sqrt(max(squared, 0.0)) * weigh[0][y, x]
                    total += weigh[0][y, x]
                else:
                    others += 1
    radius = max(factor * moment / total, least) if moment > 0 and total > 0 else least
    if others > _CROWD * area:
        flags |= CROWDED
    xa, xb, ya, yb, cut = _ellipse_bounds(source, radius, width, height)
    if cut:
        flags |= INCOMPLETE
    flux = variance = 0.0
    area = others = 0
    for y in range(ya, yb):
        for x in range(xa, xb):
            dx, dy = x - source[X], y - source[Y]
            if cxx * dx * dx + cyy * dy * dy + cxy * dx * dy <= radius * radius:
                value, its_variance, replaced = light(planes, x, y, source[X], source[Y], number)
                flux += value
                variance += its_variance
                area += 1
                others += replaced
    if others > _CROWD * area:
        flags |= CROWDED
    if gain > 0 and flux > 0:
        variance += flux / gain
    row[AUTO_FLUX], row[AUTO_ERROR] = flux, math.sqrt(variance)
    row[AUTO_RADIUS] = radius if flux > 0 else 0.0
    row[FLAGS] = flags


@compiled
def half_light_radius(planes: Any, source: Any, number: int, flux: float) -> Any:
    """Return the radius that holds half of `flux`, and whether the growth curve reaches beyond the edge.

    The curve is summed in steps of a 64th of 6 A; first near the centre, farther only where half is not reached there.
    """
    xc, yc = source[X], source[Y]
    height, width = planes[0].shape
    limit = _GROWTH_REACH * source[A]
    step = limit / _STEPS
    _, _, cut_x = bounds(xc, limit + 1.5, width)
    _, _, cut_y = bounds(yc, limit + 1.5, height)
    wanted = 0.5 * flux
    growth = np.empty(_STEPS)
    reach = min(limit, 2.0 * source[A] + 1.0)
    while True:
        steps = _STEPS if reach >= limit else int(reach / step)
        growth[:] = 0.0
        xa, xb, _ = bounds(xc, reach + 1.5, width)
        ya, yb, _ = bounds(yc, reach + 1.5, height)
        for y in range(ya, yb):
            for x in range(xa, xb):
                dx, dy = x - xc, y - yc
                if dx * dx + dy * dy >= (reach + 1.5) ** 2:
                    continue
                value, _, _ = light(planes, x, y, xc, yc, number)
                _spread(growth, dx, dy, value, step, steps)
        total = 0.0
        for place in range(steps):
            before, total = total, total + growth[place]
            if total >= wanted:
                inside = (wanted - before) / growth[place] if growth[place] != 0 else 0.0
                return min(step * (place + inside), limit), cut_x or cut_y
        if reach >= limit:
            return limit, cut_x or cut_y
        reach = min(2 * reach, limit)


@compiled
def _spread(growth: Any, dx: float, dy: float, value: float, step: float, steps: int) -> None:
    """Share a pixel's light among the rings of a growth curve."""
    distance = math.sqrt(dx * dx + dy * dy)
    per_step = 1 / step
    place = int(distance * per_step)
    beyond = distance - place * step
    if beyond >= _EDGE and beyond <= step - _EDGE:
        if place < steps:
            growth[place] += value
        return
    share = value / (_SUB * _SUB)
    for i in range(_SUB):
        y = dy + (i + 0.5) / _SUB - 0.5
        for j in range(_SUB):
            x = dx + (j + 0.5) / _SUB - 0.5
            place = int(math.sqrt(x * x + y * y) * per_step)
            if place < steps:
                growth[place] += share


@compiled
def window(planes: Any, source: Any, number: int, half_light: float, gain: float, row: Any) -> None:
    """Measure the position weighted by a Gaussian as wide as the source, and its variance.

    The isophotal position stays where the iteration has no light or runs away.
    """
    height, width = planes[0].shape
    sigma = max(half_light, _LEAST_HALF_LIGHT) / _HALF_FWHM_PER_SIGMA
    reach = _WINDOW_REACH * sigma
    falling = -0.5 / (sigma * sigma)
    xc, yc = source[X], source[Y]
    row[X_WINDOW], row[Y_WINDOW] = xc, yc
    row[WINDOW_VARIANCE_X] = row[WINDOW_VARIANCE_Y] = row[WINDOW_COVARIANCE] = np.nan
    inner, outer = max(reach - 0.5, 0.0) ** 2, (reach + 0.5) ** 2
    profile = np.empty(2 * int(reach) + 6)
    total = error_x = error_y = error_xy = 0.0
    for _ in range(_WINDOW_ROUNDS):
        xa, xb, _ = bounds(xc, reach, width)
        ya, yb, _ = bounds(yc, reach, height)
        for x in range(xa, xb):
            profile[x - xa] = math.exp(falling * (x - xc) ** 2)
        total = sum_x = sum_y = error_x = error_y = error_xy = 0.0
        for y in range(ya, yb):
            dy = y - yc
            down = math.exp(falling * dy * dy)
            for x in range(xa, xb):
                dx = x - xc
                squared = dx * dx + dy * dy
                if squared >= outer:
                    continue
                part = 1.0 if squared <= inner else reach + 0.5 - math.sqrt(squared)
                weight = part * down * profile[x - xa]
                value, variance, _ = light(planes, x, y, xc, yc, number)
                total += weight * value
                sum_x += weight * value * dx
                sum_y += weight * value * dy
                if gain > 0 and value > 0:
                    variance += value / gain
                variance *= weight * weight
                error_x += variance * (dx * dx + 1 / 12)
                error_y += variance * (dy * dy + 1 / 12)
                error_xy += variance * dx * dy
        if not total > 0:
            return
        step_x, step_y = sum_x / total, sum_y / total
        xc, yc = xc + 2 * step_x, yc + 2 * step_y  # twice: a window that lies beside the source sees half of the shift
        away = math.hypot(xc - source[X], yc - source[Y])
        if not away <= max(2.0, 2.0 * source[A]):
            return
        if step_x * step_x + step_y * step_y < _WINDOW_STEP * _WINDOW_STEP:
            break
    row[X_WINDOW], row[Y_WINDOW] = xc, yc
    scale = 4 / (total * total)
    row[WINDOW_VARIANCE_X], row[WINDOW_VARIANCE_Y] = error_x * scale, error_y * scale
    row[WINDOW_COVARIANCE] = error_xy * scale


@compiled
def measure(
    planes: Any,
    weigh: Any,
    sources: NDArray[np.float64],
    first: int,
    end: int,
    radii: NDArray[np.float64],
    settings: Any,
    rows: NDArray[np.float64],
) -> None:
    """Measure sources `first` to `end` (numbered from 1 in the segmentation) into `rows`.

    `planes` are signal, noise, segmentation and bad pixels of the image that is measured; `weigh` those of the one that
    the Kron radius is taken from; `radii` those of the apertures; `settings` Kron factor, its least value, and the gain
    (0: unknown).
    """
    factor, least, gain = settings
    for index in range(first, end):
        source, row = sources[index], rows[index]
        number = index + 1
        kron(planes, weigh, source, number, factor, least, gain, row)
        flags = int(row[FLAGS])
        for place in range(len(radii)):
            flux, variance, cut = circle(planes, source, number, radii[place], gain)
            row[APERTURES + 2 * place], row[APERTURES + 2 * place + 1] = flux, math.sqrt(variance)
            if cut:
                flags |= INCOMPLETE
        radius, cut = half_light_radius(planes, source, number, row[AUTO_FLUX])
        if cut:
            flags |= INCOMPLETE
        row[HALF_LIGHT] = radius if row[AUTO_FLUX] > 0 else 0.0
        row[FLAGS] = flags
        window(planes, source, number, row[HALF_LIGHT], gain, row)


@warm_up
def _warm_up() -> None:
    image, noise = np.zeros((16, 16), np.float32), np.ones((16, 16), np.float32)
    image[6:9, 6:9] = 10.0
    planes = (image, noise, np.zeros((16, 16), np.int32), np.zeros((16, 16), np.bool_))
    sources = np.array([[7.0, 7.0, 1.0, 1.0, 0.0, 1.0, 1.0]])
    measure(planes, planes, sources, 0, 1, np.array([2.5]), (2.5, 3.5, 1.0), np.zeros((1, APERTURES + 2)))
