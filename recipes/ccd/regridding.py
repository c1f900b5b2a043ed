r"""Regridding: a frame resampled onto the common grid of the sky, with its variance and its mask.

Flux is conserved: a value is what falls onto a pixel of the grid, the interpolated pixel times the area of the grid's
pixel in pixels of the frame there (so stars keep the flux that the frame has them with). Where the grid's pixels are
the larger ones, each is the mean of several places in it.

Variance. Resampling correlates neighbours and makes each pixel quieter: for weights :math:`w_i` its variance is
:math:`\sum w_i^2 \sigma_i^2`, which varies with the phase between the pixels, in a moiré over the frame. What is
written is that variance with :math:`\sum w_i^2` taken as its mean over the frame: the noise that empty sky shows from
pixel to pixel. The sum over many pixels is noisier than it tells, by the number that goes with it,
``noise_correlation``: the variance of a pixel divided by what it would be for independent pixels of the same noise in
large apertures. ``variance / noise_correlation`` is that: it weighs frames against each other, whatever their phases.

Masked pixels. Gaps up to three pixels wide are bridged, so that the kernel meets no outlier; others, saturated pixels
always, are continued inwards from their border, so that no lobe of the kernel rings around them. A pixel of the grid
that has a masked pixel among the four around its place carries its bits, and INTERPOLATED where it was bridged; within
wide gaps the values are those of the frame, linearly interpolated, so that a saturated star still looks like one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.grid import Grid
from recipes.ccd.pixel_places import PixelPlaces, find_places
from recipes.errors import UsageError
from recipes.frame import FloatArray, MaskArray
from recipes.masks import NO_DATA

if TYPE_CHECKING:
    from recipes.ccd.kernels.lanczos import Kernel

Method = Literal["NEAREST", "BILINEAR", "LANCZOS2", "LANCZOS3", "LANCZOS4"]

# Side of the pieces in which a frame is resampled: its pixels and those of the grid stay in a core's own cache.
TILE = 512  # at most WIDEST of the kernels
_INSIDE = 1e-3  # pixel by which a place may lie beyond the outermost centres
_MOST_SAMPLES = 16  # places across a pixel of the grid: their number goes with the square
_SAMPLES_OF_NOISE = 4096
_GOLDEN = (0.7548776662466927, 0.5698402909980532)  # steps that fill a square evenly (Roberts 2018, R2)


@dataclass(frozen=True)
class Regridded:
    """A frame on the grid.

    ``x0``, ``y0`` are the grid's pixel of the first one of the arrays, ``cards`` their coordinate system.
    ``noise_correlation`` is the variance of a pixel over that of independent pixels which are as noisy in
    large apertures (see above).
    ``places_error`` is the largest error of the interpolated positions that was found [pixel of the frame].
    """

    data: FloatArray
    variance: FloatArray
    mask: MaskArray
    x0: int
    y0: int
    cards: dict[str, Any]
    noise_correlation: float = 1.0
    places_error: float = 0.0


def regrid(
    data: FloatArray,
    variance: FloatArray,
    mask: MaskArray,
    cards: Mapping[str, Any],
    grid: Grid,
    *,
    method: Method = "LANCZOS3",
    scale: float = 1.0,
    name: str = "a frame",
) -> Regridded:
    """Resample a frame onto the grid.

    Parameters
    ----------
    data : array
        Pixels of the frame.
    variance : array
        Their variance [unit of `data`, squared]; what has none above zero counts as no data.
    mask : array
        Bits of :mod:`recipes.masks`.
    cards : mapping
        Coordinate system of the frame, with any distortion that astropy reads (TAN, TPV, SIP ...).
    grid : Grid
        The grid.
    method : {"NEAREST", "BILINEAR", "LANCZOS2", "LANCZOS3", "LANCZOS4"}
        Interpolation.
    scale : float
        What values are multiplied with, such as for a common zeropoint.
    name : str
        How errors call the frame.

    Returns
    -------
    Regridded
        The box of the grid that the frame covers; outside the frame NO_DATA, with value and variance zero.

    Raises
    ------
    UsageError
        The frame has no coordinate system or one that cannot be inverted, lies far from the grid, its pixels are
        smaller than the grid's by more than a factor of 16, or `scale` is not above zero.
    """
    from recipes.ccd.kernels.lanczos import Kernel
    from recipes.ccd.kernels.lanczos_weights import weights_of

    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"{name} cannot be scaled by {scale}", hint="look at its zeropoint")
    if not data.shape == variance.shape == mask.shape:
        raise UsageError(f"data, variance and mask of {name} do not have one shape")
    shape = (data.shape[0], data.shape[1])
    box = grid.box(cards, shape, name)
    places = find_places(cards, shape, grid, box, name)
    x0, y0, width, height = box
    samples = _samples(places)
    if samples > _MOST_SAMPLES:
        raise UsageError(
            f"the grid's pixels are {samples} times those of {name}",
            hint=f"choose a pixel_scale of at most {_MOST_SAMPLES} times the frame's",
        )
    taps, terms = weights_of(method)
    noise_factor, area = _noise_factor(places, shape, box, taps, terms, samples)
    made = Regridded(np.empty((height, width), np.float32), np.empty((height, width), np.float32),
                     np.empty((height, width), np.uint16), x0, y0, grid.cards(x0, y0), noise_factor * area,
                     places.error)  # fmt: skip
    kernel = Kernel(taps, terms, samples, scale, noise_factor)
    pieces = [(*rows, *columns) for rows in _even(height) for columns in _even(width)]
    threads.each(lambda piece: _resample_tile((data, variance, mask), places, kernel, made, *piece), pieces)
    return made


def _resample_tile(
    source: tuple[FloatArray, FloatArray, MaskArray], places: PixelPlaces, kernel: Kernel, made: Regridded, y: int,
    end_y: int, x: int, end_x: int,
) -> None:  # fmt: skip
    """Resample one piece of the grid, in place."""
    from recipes.ccd.kernels.lanczos import Mesh, Planes, new_run, resample
    from recipes.ccd.kernels.lanczos_filling import tile_of

    rows, columns = end_y - y, end_x - x
    window = slice(y, end_y), slice(x, end_x)
    height, width = source[0].shape
    part = _nodes_around(places, y, x, rows, columns)
    bounds = _needed(part, height, width)
    if bounds is None:
        made.data[window], made.variance[window], made.mask[window] = 0, 0, NO_DATA
        return
    y0, _, x0, _ = bounds
    tile = tile_of(*source, bounds)
    nodes = np.array(part, order="C")
    nodes[0] -= x0
    nodes[1] -= y0
    limits = (-_INSIDE - x0, width - 1 + _INSIDE - x0, -_INSIDE - y0, height - 1 + _INSIDE - y0)
    step = places.step
    mesh = Mesh(nodes, step, (y // step - 1) * step - y, (x // step - 1) * step - x, limits)
    resample(tile, mesh, kernel, new_run(), Planes(made.data, made.variance, made.mask),
             (y, x, rows, columns))  # fmt: skip


def _even(length: int) -> list[tuple[int, int]]:
    """Return first and end of pieces of about one length, TILE at most."""
    number = -(-length // TILE)
    return [(length * piece // number, length * (piece + 1) // number) for piece in range(number)]


def _nodes_around(places: PixelPlaces, y: int, x: int, rows: int, columns: int) -> NDArray[np.float64]:
    """Return the nodes of the cells that a piece of the box lies in, with one more on every side."""
    step = places.step
    return places.nodes[:, y // step : -(-(y + rows) // step) + 3, x // step : -(-(x + columns) // step) + 3]


def _needed(nodes: NDArray[np.float64], height: int, width: int) -> tuple[int, int, int, int] | None:
    """Return first row, end, first column, end of the frame's pixels that a piece needs; None where it needs none."""
    from recipes.ccd.kernels.lanczos_filling import MARGIN

    bounds = []
    for plane, length in ((nodes[1], height), (nodes[0], width)):
        known = plane[np.isfinite(plane)]
        if not known.size:
            return None
        least, most = float(known.min()), float(known.max())
        if most < -1 or least > length:
            return None
        bounds += [max(0, math.floor(least) - MARGIN), min(length, math.ceil(most) + MARGIN + 1)]
    y0, y1, x0, x1 = bounds
    return (y0, y1, x0, x1) if y0 < y1 and x0 < x1 else None


def _samples(places: PixelPlaces) -> int:
    """Return at how many places in each direction a pixel of the grid is sampled: 1 unless it is larger than those."""
    area = places.nodes[2][np.isfinite(places.nodes[2])]
    return max(1, math.ceil(math.sqrt(float(np.median(area))) - 0.1))


def _noise_factor(
    places: PixelPlaces, shape: tuple[int, int], box: tuple[int, int, int, int], taps: int,
    terms: NDArray[np.float32], samples: int,
) -> tuple[float, float]:  # fmt: skip
    """Return the mean over the frame of the sum of the squared weights that make a pixel, and of its area ratio."""
    from recipes.ccd.kernels.lanczos_weights import weights_at

    index = np.arange(1, _SAMPLES_OF_NOISE + 1)
    x, y = (np.floor(index * step % 1.0 * side) for step, side in zip(_GOLDEN, box[2:], strict=True))
    frame_x, frame_y, area = places.at(x, y)
    height, width = shape
    inside = (frame_x >= 0) & (frame_y >= 0) & (frame_x <= width - 1) & (frame_y <= height - 1)
    if not inside.any():
        return 1.0, 1.0
    mean_area = float(area[inside].mean())
    if taps == 2 and samples == 1:
        return 1.0, mean_area
    if samples == 1:
        along, across = (weights_at(place[inside] % 1.0, terms) for place in (frame_x, frame_y))
        return float(np.mean(np.square(along).sum(axis=0) * np.square(across).sum(axis=0))), mean_area
    x, y = x[inside], y[inside]
    side = 2 * samples + 12
    weights = np.zeros((len(x), side, side))
    base_x, base_y = np.floor(frame_x[inside]).astype(int), np.floor(frame_y[inside]).astype(int)
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    for dy in offsets:
        for dx in offsets:
            px, py, _ = places.at(x + dx, y + dy)
            _spread(weights, px - base_x, py - base_y, taps, terms)
    return float(np.mean(np.square(weights / samples**2).sum(axis=(1, 2)))), mean_area


def _spread(
    weights: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], taps: int, terms: NDArray[np.float32]
) -> None:
    """Add the weights that a place gives to the pixels around it, which lie about the middle of `weights`."""
    from recipes.ccd.kernels.lanczos_weights import weights_at

    if taps == 2:
        x, y = np.floor(x + 0.5), np.floor(y + 0.5)
    ix, iy = np.floor(x).astype(int), np.floor(y).astype(int)
    along, across = weights_at(x - ix, terms), weights_at(y - iy, terms)
    rows, side = np.arange(len(weights)), weights.shape[1]
    for j in range(taps):
        for i in range(taps):
            at_y = np.clip(iy + j + side // 2 - taps // 2, 0, side - 1)
            at_x = np.clip(ix + i + side // 2 - taps // 2, 0, side - 1)
            weights[rows, at_y, at_x] += across[j] * along[i]
