r"""Adding up frames of one grid: which ones fit, how much each weighs, and the sum, in strips.

Weights. A frame weighs :math:`c / V`, V being the variance that its sky has around a pixel (mean of a mesh cell) and c
the noise correlation of its regridding: as if its pixels were independent. The variance of the stars' own light is
left out of the weights, or the mean of frames of different seeing would lose light where stars are bright; it is in the
variance of the coadd, which is propagated from pixel to pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.grid import Grid
from recipes.frame import FloatArray, Frame, MaskArray, strip_bounds
from recipes.progress import report

if TYPE_CHECKING:
    from recipes.ccd.kernels.coadding_sky import Mesh, Piece

Combine = Literal["WEIGHTED", "CLIPPED", "MEDIAN"]
Doubles = NDArray[np.float64]

# Bytes that the strips of all threads may take together, whatever the number of frames.
_BUDGET = 96 * 2**20
_SUMS = 68  # bytes a pixel of the sums and of what is read of one frame
_HIGH = 64  # rows of a cell of which every second one is enough: the level is still known to 2 % of the noise
_HIGHEST = 32  # rows of a strip: its sums stay in the cache
_STACKED = 12  # bytes a pixel and frame of a stack


@dataclass(frozen=True)
class Member:
    """A frame that takes part: its first pixel on the grid, its sky and weight on a mesh, and factor to the flux scale.

    ``weight`` is that of a typical pixel, ``variance`` its variance, ``sky`` and ``noise`` the median of its cells.
    """

    frame: Frame
    x0: int
    y0: int
    factor: float
    correlation: float
    mesh: Mesh
    weight: float
    variance: float
    sky: float
    noise: float

    @property
    def height(self) -> int:
        """Rows."""
        return self.frame.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.frame.shape[1]


@dataclass(frozen=True)
class Coadded:
    """The sum: planes, number of frames in each pixel, pixels of each frame that were rejected or used."""

    data: FloatArray
    variance: FloatArray
    mask: MaskArray
    count: NDArray[np.uint16]
    x0: int
    y0: int
    rejected: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def measure_member(
    frame: Frame, grid: Grid, factor: float, back_size: int, filter_size: int, *, subtract: bool
) -> Member | str:
    """Return a frame with its sky and weight; or, in words, why it has none.

    Parameters
    ----------
    frame : Frame
        Of the grid, with variance.
    grid : Grid
        The grid.
    factor : float
        What its values are multiplied with.
    back_size, filter_size : int
        Side of a mesh cell [pixel], and of the median filter over the cells.
    subtract : bool
        Whether the sky is subtracted; it is measured in any case.
    """
    from recipes.ccd.kernels.coadding_sky import Mesh, mesh_row

    rows, columns = (_edges(length, back_size) for length in frame.shape)
    cells = np.full((3, len(rows) - 1, len(columns) - 1), np.nan)
    for row in range(len(rows) - 1):
        start, end = int(rows[row]), int(rows[row + 1])
        piece = _piece(frame, start, end, factor, step=2 if end - start >= _HIGH else 1)
        mesh_row(piece, columns, *(plane[row] for plane in cells))
    level, noise, variance = cells
    known = np.isfinite(level) & (variance > 0)
    if not known.any():
        return "no part of it has enough good pixels with a variance"
    correlation = frame.number("noise_correlation") or 1.0
    weight = _filled(np.where(known, correlation / np.where(known, variance, 1), np.nan))
    level = _filtered(_filled(np.where(known, level, np.nan)), filter_size)
    sides = frame.shape[0] / (len(rows) - 1), frame.shape[1] / (len(columns) - 1)
    mesh = Mesh(_going_on(level if subtract else 0 * level), np.pad(weight, 1, mode="edge"), *sides)
    x0, y0 = grid.origin(frame.wcs)
    typical = float(np.median(variance[known]))
    return Member(frame, x0, y0, factor, correlation, mesh, correlation / typical, typical,
                  float(np.median(level[known])), float(np.median(noise[known])))  # fmt: skip


def combine_members(
    members: Sequence[Member], combine: Combine, sigma: float, fraction: float, progress: tuple[float, float]
) -> Coadded:
    """Add the members up.

    Parameters
    ----------
    members : sequence of Member
        At least one.
    combine : {"WEIGHTED", "CLIPPED", "MEDIAN"}
        Weighted mean, the same of what is not far from the frames' median, or that median.
    sigma, fraction : float
        CLIPPED: far is more than `sigma` of the noise plus `fraction` of the median.
    progress : tuple of float
        Of the job, at the beginning and at the end.

    Returns
    -------
    Coadded
        On the smallest box that holds all.
    """
    x0, y0 = min(member.x0 for member in members), min(member.y0 for member in members)
    width = max(member.x0 + member.width for member in members) - x0
    height = max(member.y0 + member.height for member in members) - y0
    made = Coadded(np.empty((height, width), np.float32), np.empty((height, width), np.float32),
                   np.empty((height, width), np.uint16), np.empty((height, width), np.uint16), x0, y0,
                   np.zeros(len(members), np.int64))  # fmt: skip
    bytes_a_pixel = _SUMS + (0 if combine == "WEIGHTED" else _STACKED * len(members))
    rows = max(1, min(_HIGHEST, _BUDGET // threads.allowed() // (bytes_a_pixel * width)))
    strips = strip_bounds(height, rows)
    at_once = 4 * threads.allowed()
    for first in range(0, len(strips), at_once):
        report(progress[0] + (progress[1] - progress[0]) * first / len(strips), "adding up")
        for rejected in threads.each(
            lambda bounds: _combine_strip(members, combine, sigma, fraction, made, *bounds),
            strips[first : first + at_once],
        ):
            made.rejected[:] += rejected
    return made


def _combine_strip(
    members: Sequence[Member], combine: Combine, sigma: float, fraction: float, made: Coadded, start: int, end: int
) -> NDArray[np.int64]:
    """Fill rows `start` to `end` of what is made; return how many pixels of each member were rejected."""
    from recipes.ccd.kernels.coadding import add, empty_sums, finish, rows_of
    from recipes.ccd.kernels.coadding_stack import REACH, clip, median, middles, stack

    columns = made.data.shape[1]
    # What is clipped depends on the rows next to it.
    low, high = (max(start - REACH, 0), min(end + REACH, len(made.data))) if combine == "CLIPPED" else (start, end)
    sums = empty_sums(high - low, columns)
    here = [(number, *found) for number, member in enumerate(members) if (found := _rows_in(member, made, low, high))]
    rejected = np.zeros(len(members), np.int64)
    planes = 0 if combine == "WEIGHTED" else len(here)
    values, variances, weights = np.zeros((3, planes, high - low, columns), np.float32)
    for place, (number, first, last, at_y) in enumerate(here):
        member = members[number]
        piece, at_x = _piece(member.frame, first, last, member.factor), member.x0 - made.x0
        if combine == "WEIGHTED":
            add(piece, member.mesh, first, sums, at_y, at_x)
        else:
            stack(piece, member.mesh, first, sums, values[place], variances[place], weights[place], at_y, at_x)
    inner = rows_of(sums, start - low, end - low)
    if combine == "CLIPPED" and here:
        of_here, middle = np.zeros(len(here), np.int64), np.empty((high - low, columns), np.float32)
        middles(values, weights, middle)
        clip((values, variances, weights, middle), start - low, sigma, fraction, inner, of_here)
        rejected[[number for number, *_ in here]] = of_here
    elif combine == "MEDIAN" and here:
        median(values, variances, weights, inner)
    window = slice(start, end)
    finish(inner, made.data[window], made.variance[window], made.mask[window], made.count[window])
    return rejected


def _rows_in(member: Member, made: Coadded, start: int, end: int) -> tuple[int, int, int] | None:
    """Return the first row and the end of a member's rows in a strip of the coadd, and where that lies in it."""
    bottom = member.y0 - made.y0
    first, last = max(start, bottom) - bottom, min(end, bottom + member.height) - bottom
    return (first, last, first + bottom - start) if first < last else None


def _piece(frame: Frame, first: int, last: int, factor: float, step: int = 1) -> Piece:
    """Return rows of a frame, or every `step`-th of them, as the kernels take them."""
    from recipes.ccd.kernels.coadding_sky import piece_of

    data, variance, mask = frame.planes(first, last)
    shape = last - first, frame.shape[1]
    return piece_of(
        np.zeros(shape, np.float32) if data is None else data,
        np.zeros(shape, np.float32) if variance is None else variance,
        np.zeros(shape, np.uint16) if mask is None else mask,
        factor,
        step,
    )


def _edges(length: int, size: int) -> NDArray[np.int64]:
    return np.linspace(0, length, max(1, round(length / size)) + 1).astype(np.int64)


def _filled(cells: Doubles) -> Doubles:
    """Return the cells with unknown ones as the nearest known."""
    from scipy import ndimage

    unknown = ~np.isfinite(cells)
    if not unknown.any():
        return cells
    nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return np.asarray(cells[tuple(nearest)])


def _filtered(cells: Doubles, size: int) -> Doubles:
    from scipy import ndimage

    return np.asarray(ndimage.median_filter(cells, size=size, mode="nearest")) if size > 1 else cells


def _going_on(cells: Doubles) -> Doubles:
    """Return the cells with one more on every side, on a straight line with the two before."""
    for _ in range(2):
        next_ones = (2 * cells[0] - cells[1], 2 * cells[-1] - cells[-2]) if len(cells) > 1 else (cells[0], cells[0])
        cells = np.vstack([next_ones[0], cells, next_ones[1]]).T
    return np.ascontiguousarray(cells)


def coadded_correlation(members: Sequence[Member]) -> float:
    """Return the noise correlation of the weighted mean of typical pixels of the members."""
    weights = np.array([member.weight for member in members])
    variances = np.array([member.variance for member in members])
    correlations = np.array([member.correlation for member in members])
    whole = float(np.sum(weights**2 * variances))
    return whole / float(np.sum(weights**2 * variances / correlations)) if math.isfinite(whole) and whole > 0 else 1.0
