"""Where each pixel of a grid lies on a frame: exact at the nodes of a coarse mesh, interpolated between them, checked.

The frame's coordinate system, whatever its distortion, is only used from pixels to sky; the way back is found by
Newton's method at the nodes. The check goes the first way again: positions on the frame, taken to the grid, must come
back to where they were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.grid import Grid
from recipes.ccd.wcs import celestial, sky_positions
from recipes.errors import UsageError

Floats = NDArray[np.float64]

TOLERANCE = 2e-4  # pixel, at the places of the check: leaves room below 1e-3 between them
_WIDEST, _NARROWEST = 64, 4
_MOST_NODES = 300_000
_ITERATIONS = 40
_CONVERGED = 1e-7
_CHECK_STEP = 37.0  # pixel; no multiple of a mesh
_DIFFERENCE = 0.5  # pixel, for derivatives


@dataclass(frozen=True)
class PixelPlaces:
    """Nodes of a mesh over a box of the grid: x and y on the frame (first pixel 0), and frame pixels per grid pixel.

    ``nodes`` is of shape (3, rows, columns); node (1, 1) is the first pixel of the box, the others every ``step``.
    ``error`` is the largest one found by the check [pixel].
    """

    nodes: Floats
    step: int
    error: float

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Return x and y on the frame, and the area ratio, of pixels of the box (first pixel 0); NaN where unknown."""
        rows, columns = self.nodes.shape[1:]
        cell_x = np.clip(np.floor(x / self.step).astype(int) + 1, 1, columns - 3)
        cell_y = np.clip(np.floor(y / self.step).astype(int) + 1, 1, rows - 3)
        across, up = _cubic_weights(x / self.step - (cell_x - 1)), _cubic_weights(y / self.step - (cell_y - 1))
        found = np.zeros((3, *np.shape(x)))
        for i in range(4):
            for j in range(4):
                found += up[i] * across[j] * self.nodes[:, cell_y - 1 + i, cell_x - 1 + j]
        return found[0], found[1], found[2]


def find_places(
    cards: Mapping[str, Any],
    shape: tuple[int, int],
    grid: Grid,
    box: tuple[int, int, int, int],
    name: str = "a frame",
) -> PixelPlaces:
    """Return where the pixels of a box of the grid lie on a frame.

    Parameters
    ----------
    cards : mapping
        Coordinate system of the frame.
    shape : tuple of int
        Its rows and columns.
    grid : Grid
        The grid.
    box : tuple of int
        First x, first y, width and height of the part of the grid.
    name : str
        How errors call the frame.

    Returns
    -------
    PixelPlaces
        Right to 1e-3 pixel everywhere on the frame.

    Raises
    ------
    UsageError
        The coordinate system cannot be read, or folds so that a place of the sky is on several pixels.
    """
    wcs = celestial(cards)
    if wcs is None:
        raise UsageError(f"{name} has no coordinate system, so no place on a grid",
                         hint="run Science with a reference catalogue on it")  # fmt: skip
    frame = _FrameOnGrid(wcs, grid, shape)
    check = frame.lattice()
    on_grid = frame.to_grid(*check)
    step, error = _WIDEST, math.inf
    affordable = not frame.folds(*check, on_grid)
    while affordable and step >= _NARROWEST:
        places = _mesh(frame, box, step)
        x, y, _ = places.at(on_grid[0] - box[0], on_grid[1] - box[1])
        error = float(np.hypot(x - check[0], y - check[1]).max())
        if error <= TOLERANCE:  # not so for NaN
            return PixelPlaces(places.nodes, step, error)
        step //= 2
        affordable = box[2] * box[3] < _MOST_NODES * step**2
    raise UsageError(
        f"the distortion in the coordinate system of {name} cannot be inverted: "
        + (f"its pixels are found again only to {error:.2g} pixel" if error < math.inf else "the frame is folded"),
        hint="solve its astrometry again with a lower distortion degree",
    )


class _FrameOnGrid:
    """A frame's pixels (the first is 0) on the grid and back."""

    def __init__(self, wcs: Any, grid: Grid, shape: tuple[int, int]) -> None:
        self._wcs, self._grid, self._shape = wcs, grid, shape
        height, width = shape
        middle = np.array([(width - 1) / 2]), np.array([(height - 1) / 2])
        self._middle = np.array([middle[0][0], middle[1][0]])
        self._middle_on_grid = np.array([value[0] for value in self.to_grid(*middle)])
        self._linear = np.linalg.inv(self._derivatives(*middle)[0])

    def to_grid(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return self._grid.pixels(*sky_positions(self._wcs, x + 1, y + 1))

    def lattice(self) -> tuple[Floats, Floats]:
        """Return places all over the frame, its border included."""
        axes = [np.linspace(0, side - 1, max(2, int(side / _CHECK_STEP) + 2)) for side in self._shape]
        y, x = np.meshgrid(*axes, indexing="ij")
        return x.ravel(), y.ravel()

    def from_grid(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the places on the frame, and frame pixels per grid pixel, of places on the grid; NaN where none."""
        wanted = np.stack([x, y])
        place = self._middle[:, None] + self._linear @ (wanted - self._middle_on_grid[:, None])
        with np.errstate(all="ignore"):
            inverse = _inverse(self._derivatives(*place))
            left = np.arange(len(x))
            for _ in range(_ITERATIONS):
                missing = wanted[:, left] - np.stack(self.to_grid(*place[:, left]))
                change = np.einsum("nij,jn->in", inverse[left], missing)
                place[:, left] += change
                left = left[~(np.abs(change).max(axis=0) <= _CONVERGED)]
                if not len(left):
                    break
            place[:, left] = np.nan
            area = 1.0 / np.abs(_determinant(self._derivatives(*place)))
        return place[0], place[1], area

    def folds(self, x: Floats, y: Floats, on_grid: tuple[Floats, Floats]) -> bool:
        """Whether the frame's pixels, whose places on the grid are given, do not all lie the same way round there."""
        d = _DIFFERENCE
        near = np.stack(self.to_grid(np.concatenate([x + d, x]), np.concatenate([y, y + d])))
        right, above = (part - np.stack(on_grid) for part in np.split(near, 2, axis=1))
        turn = right[0] * above[1] - right[1] * above[0]
        return not ((turn > 0).all() or (turn < 0).all())

    def _derivatives(self, x: Floats, y: Floats) -> Floats:
        """Return d(grid)/d(frame) at each place, of shape (places, 2, 2)."""
        d = _DIFFERENCE  # asked for together: most of the time is that of each call
        near = self.to_grid(np.concatenate([x + d, x - d, x, x]), np.concatenate([y, y, y + d, y - d]))
        right, left, above, below = np.split(np.stack(near), 4, axis=1)
        return np.asarray(np.stack([(right - left) / (2 * d), (above - below) / (2 * d)], axis=-1).transpose(1, 0, 2))


def _determinant(matrices: Floats) -> Floats:
    return np.asarray(matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0])


def _inverse(matrices: Floats) -> Floats:
    a, b, c, d = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1]
    adjoint = np.stack([np.stack([d, -b], axis=-1), np.stack([-c, a], axis=-1)], axis=-2)
    return np.asarray(adjoint / _determinant(matrices)[:, None, None])


def _mesh(frame: _FrameOnGrid, box: tuple[int, int, int, int], step: int) -> PixelPlaces:
    x0, y0, width, height = box
    along_x = x0 + step * np.arange(-1.0, -(-width // step) + 2)
    along_y = y0 + step * np.arange(-1.0, -(-height // step) + 2)
    y, x = np.meshgrid(along_y, along_x, indexing="ij")
    found = frame.from_grid(x.ravel(), y.ravel())
    return PixelPlaces(np.stack([plane.reshape(x.shape) for plane in found]), step, np.nan)


def _cubic_weights(t: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the weights of four equidistant nodes at -1, 0, 1, 2."""
    return (
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    )
