"""The smooth part of an image: medians of a mesh, interpolated between its nodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.frame import FloatArray

_FEWEST_FRACTION = 0.1


def smooth_background(data: FloatArray, good: NDArray[np.bool_], box: int) -> FloatArray:
    """Return the image's background: medians of boxes, smoothed over 3 × 3 boxes, linearly interpolated.

    The way of SExtractor (Bertin & Arnouts 1996, A&AS 117, 393, section 3) with plain medians.

    Parameters
    ----------
    data : array of float32
        Image; what is not `good` is not looked at.
    good : array of bool
        Pixels to use. A box with hardly any takes the value of its neighbours.
    box : int
        Width of a box [pixel].

    Returns
    -------
    array of float32
        Of the shape of `data`; 0 where no pixel at all is good.
    """
    from scipy import ndimage

    height, width = data.shape
    rows, columns = max(1, round(height / box)), max(1, round(width / box))
    edges_y = np.linspace(0, height, rows + 1).astype(int)
    edges_x = np.linspace(0, width, columns + 1).astype(int)
    mesh = np.full((rows, columns), np.nan, np.float64)
    for row in range(rows):
        strip = data[edges_y[row] : edges_y[row + 1]]
        usable = good[edges_y[row] : edges_y[row + 1]]
        for column in range(columns):
            part = slice(edges_x[column], edges_x[column + 1])
            values = strip[:, part][usable[:, part]]
            if values.size > _FEWEST_FRACTION * strip[:, part].size:
                mesh[row, column] = np.median(values)
    mesh = _filled(mesh)
    if min(mesh.shape) >= 3:
        mesh = ndimage.median_filter(mesh, size=3, mode="nearest")
    along_x = _interpolated(mesh, edges_x, width, axis=1)
    return _interpolated(along_x, edges_y, height, axis=0).astype(np.float32)


def _filled(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mesh with empty nodes set to the nearest filled one."""
    from scipy import ndimage

    empty = ~np.isfinite(mesh)
    if not empty.any():
        return mesh
    if empty.all():
        return np.zeros_like(mesh)
    nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    return np.asarray(mesh[tuple(nearest)])


def _interpolated(mesh: NDArray[np.float64], edges: NDArray[np.intp], length: int, axis: int) -> NDArray[np.float64]:
    """Interpolate along one axis between the centres of the boxes, and go on straight beyond the outermost."""
    centres = (edges[:-1] + edges[1:] - 1) / 2
    if len(centres) == 1:
        return np.repeat(mesh, length, axis=axis)
    pixels = np.arange(length)
    left = np.clip(np.searchsorted(centres, pixels, side="right") - 1, 0, len(centres) - 2)
    fraction = (pixels - centres[left]) / (centres[left + 1] - centres[left])
    shape = (1, -1) if axis == 1 else (-1, 1)
    weight = fraction.reshape(shape)
    return np.take(mesh, left, axis) * (1 - weight) + np.take(mesh, left + 1, axis) * weight
