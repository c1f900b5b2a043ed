"""Trails of satellites: straight lines across a frame, found by a Hough transform of the sky-subtracted image.

Each cell of a binned image of signal to noise, clipped so that stars weigh no more than a trail does, votes for the
lines through it (Hough 1962; Duda & Hart 1972). A line that wins must hold along its length and be narrow, then it is
traced in the pixels themselves. Columns and rows of the detector are not trails.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.sky import robust_noise
from recipes.frame import FloatArray, strip_bounds

Floats = NDArray[np.float64]

BINNED_SIDE = 256  # cells along the longer side: a trail of a few pixels is not diluted much, and it takes 0.1 s
CLIP = 2.5  # sigma that a cell may count: a star's cell counts no more than a faint trail's
MAXIMUM_TRAILS = 8
SEGMENTS = 12
NEEDED_SEGMENTS = 0.6  # of the line must show the trail
SEGMENT_THRESHOLD = 3.0  # sigma of the ridge in one segment
SURROUNDINGS = 14.0  # pixels beside the place of a ridge that tell what the sky is there
WIDEST = 40  # pixels from the ridge to the edge of a trail
AXIS_ANGLE = np.deg2rad(0.4)  # lines nearer to a row or column than this are the detector's own
SHORTEST = 0.25  # of the shorter side: lines that only cut a corner are not judged


@dataclass(frozen=True)
class Trail:
    """A trail: points with x cos(angle) + y sin(angle) = distance, out to ``half_width`` pixels."""

    angle: float
    distance: float
    half_width: float
    significance: float


def find_trails(
    signal: FloatArray, noise: FloatArray, bad: NDArray[np.bool_], *, threshold: float
) -> tuple[NDArray[np.bool_], list[Trail]]:
    """Find trails in a sky-subtracted image.

    Parameters
    ----------
    signal : array
        Sky-subtracted pixels.
    noise : array
        Noise of the sky in each pixel, in the same unit.
    bad : array of bool
        Pixels to leave out.
    threshold : float
        Significance in the Hough plane from which a line is looked at [sigma].

    Returns
    -------
    mask : array of bool
        True on trails.
    trails : list of Trail
        What was found, the most significant first.
    """
    side = max(1, -(-max(signal.shape) // BINNED_SIDE))
    cells = _binned(signal, noise, bad, side)
    mask = np.zeros(signal.shape, dtype=bool)
    trails: list[Trail] = []
    # A line that was looked at is taken out of the cells, so every turn sees another one.
    for _ in range(2 * MAXIMUM_TRAILS):
        angle, distance, significance = _strongest_line(cells)
        if significance < threshold or len(trails) == MAXIMUM_TRAILS:
            break
        trail = _traced(signal, noise, bad | mask, angle, (distance + 0.5) * side - 0.5, side, significance)
        if trail is not None:
            mask |= _along(signal.shape, trail)
            trails.append(trail)
        reach = 2.0 if trail is None else trail.half_width / side + 2.0
        _forget(cells, angle, distance, reach)
    return mask, trails


def _binned(signal: FloatArray, noise: FloatArray, bad: NDArray[np.bool_], side: int) -> Floats:
    """Return the signal to noise of cells of `side` pixels, of width 1 and clipped; NaN where half a cell is bad."""
    from recipes.ccd.kernels.trails import bin_cells

    shape = signal.shape[0] // side, signal.shape[1] // side
    total, counts = np.empty(shape), np.empty(shape, np.int64)
    threads.each(lambda rows: bin_cells(signal, noise, bad, side, total, counts, *rows), strip_bounds(shape[0], 8))
    with np.errstate(divide="ignore", invalid="ignore"):
        cells = total / np.sqrt(counts)
    cells[counts < 0.5 * side * side] = np.nan
    known = cells[np.isfinite(cells)]
    if known.size == 0:
        return np.asarray(cells)
    cells = _without_stripes(np.asarray(cells))
    known = cells[np.isfinite(cells)]
    centre = float(np.median(known))
    width_now = robust_noise(known, centre)
    cells = np.clip((cells - centre) / max(width_now, 1e-9), -CLIP, CLIP)
    return np.asarray(cells - np.nanmean(cells))


def _without_stripes(cells: Floats) -> Floats:
    """Take the medians of columns, then of rows, from the cells: the detector's own lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a column without a good cell
        cells = cells - np.nanmedian(cells, axis=0, keepdims=True)
        return np.asarray(cells - np.nanmedian(cells, axis=1, keepdims=True))


def _strongest_line(cells: Floats) -> tuple[float, float, float]:
    """Return angle, distance [cells] and significance of the line that most cells vote for."""
    from recipes.ccd.kernels.trails import vote

    if np.isfinite(cells).sum() < 100:
        return 0.0, 0.0, 0.0
    height, width = cells.shape
    reach = int(np.hypot(height, width)) + 2
    angles = np.arange(0.0, np.pi, 1.0 / max(height, width))
    angles = angles[~_along_axis(angles)]
    total, number = np.empty((len(angles), 2 * reach)), np.empty((len(angles), 2 * reach), np.int32)
    threads.each(lambda part: vote(cells, angles, reach, total, number, *part), strip_bounds(len(angles), 32))
    significance = np.full(total.shape, np.nan)
    enough = number >= SHORTEST * min(height, width)
    significance[enough] = total[enough] / np.sqrt(number[enough])
    judged = np.isfinite(significance)
    if not judged.any():
        return 0.0, 0.0, 0.0
    # Sky that is not flat makes all lines scatter more than noise does: the lines' own scatter is the measure.
    significance /= max(robust_noise(significance[judged], 0.0), 1.0)
    best = int(np.nanargmax(significance))
    row, column = divmod(best, 2 * reach)
    return float(angles[row]), float(column - reach), float(significance[row, column])


def _along_axis(angle: Floats) -> NDArray[np.bool_]:
    """Whether lines run along a row or a column."""
    from_axis = angle % (np.pi / 2)
    return np.asarray(np.minimum(from_axis, np.pi / 2 - from_axis) < AXIS_ANGLE)


def _forget(cells: Floats, angle: float, distance: float, reach: float) -> None:
    y, x = np.mgrid[0 : cells.shape[0], 0 : cells.shape[1]]
    cells[np.abs(x * np.cos(angle) + y * np.sin(angle) - distance) <= reach] = np.nan


def _traced(
    signal: FloatArray,
    noise: FloatArray,
    bad: NDArray[np.bool_],
    angle: float,
    distance: float,
    side: int,
    significance: float,
) -> Trail | None:
    """Follow a line in the pixels: fit its ridge, see that it goes on along its length, and measure its width."""
    from recipes.ccd.kernels.trails import near_line

    margin = 2.0 * side + WIDEST
    y, x = near_line(signal.shape, float(np.cos(angle)), float(np.sin(angle)), distance, margin, bad)
    ratio = np.clip(signal[y, x] / noise[y, x], -3.0, 6.0)
    across = x * np.cos(angle) + y * np.sin(angle) - distance
    along = -x * np.sin(angle) + y * np.cos(angle)
    fit = _ridge(across, along, ratio, 2.0 * side + 2.0)
    if fit is None:
        return None
    slope, offset = fit
    half_width = _half_width(across - slope * along - offset, ratio)
    if half_width is None:
        return None
    # x cos + y sin - slope (-x sin + y cos) = distance + offset, brought back to the normal form
    a, b = np.cos(angle) + slope * np.sin(angle), np.sin(angle) - slope * np.cos(angle)
    length = float(np.hypot(a, b))
    if _along_axis(np.asarray(np.arctan2(b, a))):
        return None
    return Trail(float(np.arctan2(b, a)), (distance + offset) / length, half_width, significance)


def _ridge(across: Floats, along: Floats, ratio: Floats, search: float) -> tuple[float, float] | None:
    """Fit the ridge's place along the line; None where too few segments show it."""
    edges = np.linspace(along.min(), along.max() + 1e-6, SEGMENTS + 1)
    places, positions, shown, judged = [], [], 0, 0
    reach = search + SURROUNDINGS
    bins = np.arange(-reach - 0.5, reach + 1.0)
    middle = np.abs(bins[:-1] + 0.5) <= search
    for low, high in pairwise(edges):
        inside = (along >= low) & (along < high) & (np.abs(across) <= reach)
        number, _ = np.histogram(across[inside], bins)
        total, _ = np.histogram(across[inside], bins, weights=ratio[inside])
        if number.sum() < 3 * len(number):
            continue
        judged += 1
        # Three neighbouring bins together: a trail is as wide as the seeing.
        height = np.convolve(total, np.ones(3), "same") / np.sqrt(
            np.maximum(np.convolve(number, np.ones(3), "same"), 1)
        )
        height -= np.median(height[~middle])
        best = int(np.argmax(np.where(middle, height, -np.inf)))
        if height[best] < SEGMENT_THRESHOLD * max(robust_noise(height[~middle], 0.0), 1.0):
            continue
        shown += 1
        near = slice(max(best - 3, 0), best + 4)
        weight = np.maximum(height[near], 0.0)
        places.append(float((weight * (bins[:-1] + 0.5)[near]).sum() / weight.sum()))
        positions.append(0.5 * (low + high))
    if judged < 3 or shown < max(3, NEEDED_SEGMENTS * judged):
        return None
    return _line_through(np.array(positions), np.array(places), NEEDED_SEGMENTS * judged)


def _line_through(positions: Floats, places: Floats, needed: float) -> tuple[float, float] | None:
    """Fit a line robustly (Theil-Sen, then the points near it); None where fewer points than `needed` lie on it."""
    i, j = np.triu_indices(len(positions), 1)
    slope = float(np.median((places[j] - places[i]) / (positions[j] - positions[i])))
    offset = float(np.median(places - slope * positions))
    near = np.abs(places - slope * positions - offset) < 2.5  # pixels
    if near.sum() < max(3.0, needed):
        return None
    fitted = np.polyfit(positions[near], places[near], 1)
    return float(fitted[0]), float(fitted[1])


def _half_width(across: Floats, ratio: Floats) -> float | None:
    """Return how far the trail reaches from its ridge [pixel]; None where it has no end within reason."""
    bins = np.arange(-WIDEST - 0.5, WIDEST + 1.0)
    number, _ = np.histogram(across, bins)
    total, _ = np.histogram(across, bins, weights=ratio)
    profile = total / np.maximum(number, 1)
    error = 1.0 / np.sqrt(np.maximum(number, 1))
    outside = np.abs(bins[:-1] + 0.5) > 0.6 * WIDEST
    profile = profile - np.median(profile[outside])
    error = np.maximum(error, robust_noise(profile[outside], 0.0))
    ridge = len(profile) // 2
    if profile[ridge - 1 : ridge + 2].max() < 4 * error[ridge]:
        return None
    reach = 0
    for side in (1, -1):
        step = 1
        while step < WIDEST and profile[ridge + side * step] > 2.0 * error[ridge + side * step]:
            step += 1
        reach = max(reach, step)
    return float(reach + 1) if reach < WIDEST else None


def _along(shape: tuple[int, int], trail: Trail) -> NDArray[np.bool_]:
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    away = x * np.cos(trail.angle) + y * np.sin(trail.angle) - trail.distance
    return np.asarray(np.abs(away) <= trail.half_width)
