"""Kernel of the search for how a frame lies on the sky: the offset that most pairs of stars agree on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, warm_up


@compiled
def best_offsets(
    stars: NDArray[np.float64],
    references: NDArray[np.float64],
    matrices: NDArray[np.float64],
    limit: float,
    cell: float,
) -> Any:
    """Return for each matrix the most pairs that agree on an offset, and that offset.

    Offsets of reference stars from turned stars are counted in cells of side `cell`, up to ±`limit` on each axis; a
    count is that of two by two neighbouring cells, so that none is halved by a cell's edge.

    Parameters
    ----------
    stars, references : array
        Positions, rows of two.
    matrices : array
        K × 2 × 2.
    limit, cell : float
        Same unit as the positions.

    Returns
    -------
    counts : array of int32
    offsets : array
        K × 2, the middle of the two by two cells.
    """
    cells = int(np.ceil(2 * limit / cell)) + 1
    grid = np.zeros((cells, cells), np.int32)
    counts = np.zeros(len(matrices), np.int32)
    offsets = np.zeros((len(matrices), 2))
    for k in range(len(matrices)):
        grid[:] = 0
        for i in range(len(stars)):
            x = matrices[k, 0, 0] * stars[i, 0] + matrices[k, 0, 1] * stars[i, 1] - limit
            y = matrices[k, 1, 0] * stars[i, 0] + matrices[k, 1, 1] * stars[i, 1] - limit
            for j in range(len(references)):
                column = (references[j, 0] - x) / cell
                row = (references[j, 1] - y) / cell
                if 0 <= column < cells and 0 <= row < cells:
                    grid[int(row), int(column)] += 1
        most = -1
        for row in range(cells - 1):
            for column in range(cells - 1):
                count = grid[row, column] + grid[row, column + 1] + grid[row + 1, column] + grid[row + 1, column + 1]
                if count > most:
                    most = count
                    offsets[k, 0] = (column + 1) * cell - limit
                    offsets[k, 1] = (row + 1) * cell - limit
        counts[k] = most
    return counts, offsets


@warm_up
def _compile() -> None:
    few = np.zeros((2, 2))
    best_offsets(few, few, np.zeros((1, 2, 2)), 2.0, 1.0)
