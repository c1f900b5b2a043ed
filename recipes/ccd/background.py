"""The smooth part of an image: what its columns and rows share, and medians of a mesh, interpolated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.frame import FloatArray

_FEWEST_FRACTION = 0.1


# Width [pixel] of the running median over the medians of columns and of rows: it follows the steps that readout leaves
# near the edges of a chip, and passes over up to five bad columns side by side.
_PROFILE_WIDTH = 11


def smooth_background(data: FloatArray, good: NDArray[np.bool_], box: int) -> FloatArray:
    """Return the image's background: what columns and rows share, and medians of boxes interpolated between them.

    Columns and rows first, since the structure that the electronics leave (and the edge of a chip) is sharp in one
    direction and constant in the other; then the way of SExtractor (Bertin & Arnouts 1996, A&AS 117, 393, section 3)
    with plain medians.

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
    if not good.any():
        return np.zeros(data.shape, np.float32)
    level = np.float32(np.median(data[good]))
    rest = np.where(good, data - level, np.float32(0))
    columns = _profile(rest, good, axis=0)
    rest = rest - columns
    rows = _profile(rest, good, axis=1)
    return level + columns + rows + _mesh_background(rest - rows, good, box)


def _profile(data: FloatArray, good: NDArray[np.bool_], axis: int) -> FloatArray:
    """Return the running median over the medians of columns (axis 0) or rows (axis 1), in a shape that broadcasts."""
    from scipy import ndimage

    medians = np.median(data, axis=axis)
    usable = np.count_nonzero(good, axis=axis) > 0.5 * data.shape[axis]
    if not usable.any():
        return np.zeros((1, 1), np.float32)
    # A line with hardly a good pixel takes the value of its neighbours.
    medians = np.interp(np.arange(len(medians)), np.flatnonzero(usable), medians[usable])
    width = min(_PROFILE_WIDTH, len(medians))
    smooth = ndimage.median_filter(medians, size=width, mode="nearest").astype(np.float32)
    return np.expand_dims(smooth, axis)


def _mesh_background(data: FloatArray, good: NDArray[np.bool_], box: int) -> FloatArray:
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
