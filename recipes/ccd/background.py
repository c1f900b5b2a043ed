"""The smooth part of an image: what its columns and rows share, and medians of a mesh, interpolated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.frame import FloatArray, strip_bounds

_FEWEST_FRACTION = 0.1

# Width [pixel] of the running median over the medians of columns and of rows: it follows the steps that readout leaves
# near the edges of a chip, and passes over up to five bad columns side by side.
_PROFILE_WIDTH = 11
# Pixels of a column or row that its median is taken over: with the running median it is good to 0.02 sigma.
_PIXELS_OF_A_LINE = 512
# Parts of a line and of a box that must be left out anew before their medians are taken anew: it moves them by less
# than 0.1 sigma.
_PART_OF_A_LINE, _PART_OF_A_BOX = 0.05, 0.02
_ROWS_OF_A_PIECE = 256


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
    return SmoothBackground(data, good, box).whole()


class SmoothBackground:
    """The background of an image, see :func:`smooth_background`, which can follow a change of what is good."""

    def __init__(self, data: FloatArray, good: NDArray[np.bool_], box: int) -> None:
        self._data = np.require(data, np.float32, ["C", "W"])
        height, width = data.shape
        rows, columns = max(1, round(height / box)), max(1, round(width / box))
        self._edges_y = np.linspace(0, height, rows + 1).astype(np.int64)
        self._edges_x = np.linspace(0, width, columns + 1).astype(np.int64)
        self._medians = np.full((rows, columns), np.nan)
        self._good = np.array(good)
        self._measure(good)

    def whole(self) -> FloatArray:
        """Return the background."""
        from recipes.ccd.kernels import mesh as kernels

        out = np.empty(self._data.shape, np.float32)
        threads.each(lambda rows: kernels.interpolated(*self._parts(), *rows, out), self._pieces())
        return out

    def subtracted(self, out: FloatArray | None = None) -> FloatArray:
        """Return the image less its background, in `out` where that is given."""
        from recipes.ccd.kernels import mesh as kernels

        flat = np.empty(self._data.shape, np.float32) if out is None else out
        threads.each(
            lambda rows: kernels.subtract_interpolated(self._data, *self._parts(), *rows, flat), self._pieces()
        )
        return flat

    def follow(self, good: NDArray[np.bool_]) -> bool:
        """Measure anew where `good` has changed enough to matter; return whether anything was."""
        changed = good != self._good
        lines = max(np.count_nonzero(changed, axis=axis).max() / changed.shape[axis] for axis in (0, 1))
        if lines > _PART_OF_A_LINE:
            self._measure(good)
            return True
        by_rows = np.add.reduceat(changed, self._edges_y[:-1], axis=0, dtype=np.int64)
        by_boxes = np.add.reduceat(by_rows, self._edges_x[:-1], axis=1)
        areas = np.diff(self._edges_y)[:, np.newaxis] * np.diff(self._edges_x)
        rows = np.flatnonzero((by_boxes > _PART_OF_A_BOX * areas).any(axis=1))
        if len(rows):
            self._good = np.array(good)
            self._measure_boxes([(int(row), int(row) + 1) for row in rows])
        return bool(len(rows))

    def _pieces(self) -> list[tuple[int, int]]:
        return strip_bounds(self._data.shape[0], _ROWS_OF_A_PIECE)

    def _parts(self) -> tuple[float, FloatArray, FloatArray, FloatArray, NDArray[np.int64], NDArray[np.float64]]:
        return self._level, self._of_columns, self._of_rows, self._along_x, self._left, self._fraction

    def _measure(self, good: NDArray[np.bool_]) -> None:
        from recipes.ccd.kernels import mesh as kernels

        self._good = np.array(good)  # a copy: who gave it may change it
        height, width = self._data.shape
        self._level = self._rough_level()
        medians, usable = np.zeros(width, np.float32), np.zeros(width, np.bool_)
        kernels.column_medians(self._data, self._good, self._level, _spread(height), medians, usable)
        self._of_columns = _profile(medians, usable)
        medians, usable = np.zeros(height, np.float32), np.zeros(height, np.bool_)
        kernels.row_medians(self._data, self._good, self._level, self._of_columns, _spread(width), medians, usable)
        self._of_rows = _profile(medians, usable)
        self._measure_boxes(strip_bounds(len(self._edges_y) - 1, 4))

    def _rough_level(self) -> float:
        """Return the median of some thousand good pixels, from which the rest is counted; 0 where none is good."""
        height, width = self._data.shape
        y, x = np.ix_(_spread(height), _spread(width))
        values = self._data[y, x][self._good[y, x]]
        values = values if values.size else self._data[self._good]
        return float(np.float32(np.median(values))) if values.size else 0.0

    def _measure_boxes(self, rows: list[tuple[int, int]]) -> None:
        """Measure some rows of boxes, and interpolate along the rows of the mesh."""
        from scipy import ndimage

        from recipes.ccd.kernels import mesh as kernels

        threads.each(
            lambda bounds: kernels.box_medians(self._data, self._good, self._level, self._of_columns, self._of_rows,
                                               self._edges_y, self._edges_x, *bounds, _FEWEST_FRACTION, self._medians),
            rows,
        )  # fmt: skip
        mesh = _filled(self._medians)
        if min(mesh.shape) >= 3:
            mesh = ndimage.median_filter(mesh, size=3, mode="nearest")
        left, fraction = _places(self._edges_x, self._data.shape[1])
        right = np.minimum(left + 1, mesh.shape[1] - 1)
        self._along_x = (mesh[:, left] * (1 - fraction) + mesh[:, right] * fraction).astype(np.float32)
        self._left, self._fraction = _places(self._edges_y, self._data.shape[0])


def _spread(length: int) -> NDArray[np.int64]:
    """Return some hundred places spread over a line, all where there are no more."""
    return np.unique(np.linspace(0, length - 1, min(length, _PIXELS_OF_A_LINE)).astype(np.int64))


def _profile(medians: FloatArray, usable: NDArray[np.bool_]) -> FloatArray:
    """Return the running median over the medians of columns or rows; zeros where none is usable."""
    from scipy import ndimage

    if not usable.any():
        return np.zeros(len(medians), np.float32)
    # A line with hardly a good pixel takes the value of its neighbours.
    filled = np.interp(np.arange(len(medians)), np.flatnonzero(usable), medians[usable])
    width = min(_PROFILE_WIDTH, len(medians))
    return np.asarray(ndimage.median_filter(filled, size=width, mode="nearest"), np.float32)


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


def _places(edges: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each pixel the box before it and how far it is towards the next (beyond 0 to 1 at the ends)."""
    centres = (edges[:-1] + edges[1:] - 1) / 2
    if len(centres) == 1:
        return np.zeros(length, np.int64), np.zeros(length)
    pixels = np.arange(length)
    left = np.clip(np.searchsorted(centres, pixels, side="right") - 1, 0, len(centres) - 2)
    return left, (pixels - centres[left]) / (centres[left + 1] - centres[left])
