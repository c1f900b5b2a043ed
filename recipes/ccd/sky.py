"""Sky background of a frame: its level and noise on a mesh, and one number for each.

The mesh is SExtractor's (Bertin & Arnouts 1996, A&AS 117, 393, section 3; its manual, "Modeling the background"): in
each cell the histogram is clipped about the median until it changes no more, the background is its mode (2.5 median -
1.5 mean) or the median where the cell is crowded, and the map is a bicubic spline through the median-filtered cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.errors import UsageError
from recipes.frame import FloatArray, MaskArray, strip_bounds

Floats = NDArray[np.float64]

LEAST_GOOD = 0.5  # of a cell's pixels; where less are good it takes the value of the nearest cell
LEAST_NOISE = 1e-6
STRIP_ROWS = 128


@dataclass(frozen=True)
class Sky:
    """Level and noise of the sky, as numbers and as maps (in the frame's unit)."""

    level: float
    noise: float
    level_map: FloatArray
    noise_map: FloatArray


def measure_sky(data: FloatArray, bad: NDArray[np.bool_], mesh: int = 64, filter_size: int = 3) -> Sky:
    """Measure the sky of `data` where it is not `bad`, on cells of `mesh` pixels.

    Parameters
    ----------
    data : array
        Science pixels.
    bad : array of bool
        Pixels to leave out.
    mesh : int
        Side of a cell [pixel].
    filter_size : int
        Side of the median filter over the cells.

    Returns
    -------
    Sky
        Level and noise.

    Raises
    ------
    UsageError
        Every pixel is bad.
    """
    from recipes.ccd.kernels import sky_mesh as kernels

    if bad.all():
        raise UsageError("every pixel of the frame is masked", hint="look at the calibrations and the saturation level")
    pixels, left_out = np.require(data, np.float32, ["C", "W"]), np.require(bad, np.bool_, ["C", "W"])
    edges_y, edges_x = (_edges(length, mesh) for length in data.shape)
    shape = len(edges_y) - 1, len(edges_x) - 1
    levels, noises, counts = np.empty(shape), np.empty(shape), np.empty(shape, np.int64)
    threads.each(
        lambda row: kernels.measure_cells(pixels, left_out, edges_y, edges_x, row, levels, noises, counts),
        range(shape[0]),
    )
    enough = counts > LEAST_GOOD * np.diff(edges_y)[:, np.newaxis] * np.diff(edges_x)
    enough = enough if enough.any() else counts > 0
    if not enough.any():
        raise UsageError("no pixel of the frame is a number", hint="look at the calibrations")
    levels, noises = (_median_filtered(_filled(plane, enough), filter_size) for plane in (levels, noises))
    return Sky(
        float(np.median(levels)), float(np.median(noises)),
        _interpolated(levels, edges_y, edges_x, -np.inf), _interpolated(noises, edges_y, edges_x, LEAST_NOISE),
    )  # fmt: skip


def _edges(length: int, mesh: int) -> NDArray[np.int64]:
    """Return where cells of at most `mesh` pixels begin, and where the last one ends."""
    return np.linspace(0, length, -(-length // mesh) + 1).astype(np.int64)


def _filled(plane: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return a plane of the mesh with the cells that are not known set to the nearest one that is."""
    from scipy import ndimage

    if known.all():
        return plane
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(plane[tuple(nearest)])


def _median_filtered(plane: Floats, size: int) -> Floats:
    """Return the medians of boxes of `size` cells, smaller towards the edges so that a cell stays in the middle.

    A box that reached further to one side would flatten a slope at the edge.
    """
    half = size // 2
    if not half:
        return plane
    side = 2 * half + 1
    boxes = np.lib.stride_tricks.sliding_window_view(np.pad(plane, half, constant_values=np.inf), (side, side)).copy()
    offsets = np.abs(np.arange(-half, half + 1))
    reaches = [np.minimum(half, np.minimum(np.arange(length), np.arange(length)[::-1])) for length in plane.shape]
    boxes[(offsets > reaches[0][:, np.newaxis])[:, np.newaxis, :, np.newaxis] & np.ones(boxes.shape, bool)] = np.inf
    boxes[(offsets > reaches[1][:, np.newaxis])[np.newaxis, :, np.newaxis, :] & np.ones(boxes.shape, bool)] = np.inf
    number = (2 * reaches[0] + 1)[:, np.newaxis] * (2 * reaches[1] + 1)
    ordered = np.sort(boxes.reshape(*plane.shape, -1), axis=2)
    return np.asarray(np.take_along_axis(ordered, number[:, :, np.newaxis] // 2, axis=2)[:, :, 0])


def _interpolated(plane: Floats, edges_y: NDArray[np.int64], edges_x: NDArray[np.int64], least: float) -> FloatArray:
    """Return the natural bicubic spline through the cells' centres in each pixel, no less than `least`."""
    from recipes.ccd.kernels import sky_mesh as kernels

    nodes_y, nodes_x = ((edges[:-1] + edges[1:] - 1) / 2 for edges in (edges_y, edges_x))
    along_x = _bends(nodes_x, plane, 1)
    mesh = np.stack([plane, _bends(nodes_y, plane, 0), along_x, _bends(nodes_y, along_x, 0)])
    out = np.empty((int(edges_y[-1]), int(edges_x[-1])), np.float32)
    threads.each(
        lambda rows: kernels.fill_spline(mesh, nodes_y, nodes_x, np.float32(least), *rows, out),
        strip_bounds(len(out), STRIP_ROWS),
    )
    return out


def _bends(nodes: Floats, values: Floats, axis: int) -> Floats:
    """Return the second derivatives at the nodes of the natural cubic spline along an axis."""
    from scipy.interpolate import CubicSpline

    if len(nodes) == 1:
        return np.zeros_like(values)
    return np.asarray(CubicSpline(nodes, values, axis=axis, bc_type="natural")(nodes, 2))


def robust_noise(values: NDArray[np.floating], about: float | None = None) -> float:
    """Return 1.4826 times the median absolute deviation: the standard deviation of a Gaussian."""
    if values.size == 0:
        return float("nan")
    centre = np.median(values) if about is None else about
    return float(1.4826 * np.median(np.abs(values - centre)))


def is_bad(mask: MaskArray, bits: int = 0xFFFF) -> NDArray[np.bool_]:
    """Return where `mask` carries any of `bits`."""
    return np.asarray((mask & np.uint16(bits)) != 0)
