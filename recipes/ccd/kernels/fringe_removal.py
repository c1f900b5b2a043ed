"""How strong a fringe pattern is in a frame: sums over the cells of a mesh, each with a sloping sky of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up

LEAST_PART = 0.3  # of a cell's pixels that must be usable
MAD_TO_SIGMA = 1.4826  # of a Gaussian


@compiled
def correlate(
    data: Any, fringe: Any, bad: Any, mesh: int, scale: float, threshold: float, first: int, end: int, sums: Any
) -> None:
    """Fit plane and pattern to each cell of rows `first` to `end` of the mesh.

    Writes for each the weighted sum of squares of the pattern less its plane, and of its product with the data. Pixels
    farther than `threshold` sigma from the median of data - scale * pattern are left out; sigma, which also weighs, is
    1.4826 MAD of these.
    """
    height, width = data.shape
    rest, picked = np.empty(mesh * mesh, np.float32), np.empty(mesh * mesh, np.int64)
    for row in range(first, end):
        for column in range(sums.shape[1]):
            sums[row, column, :] = 0.0
            count = 0
            for y in range(row * mesh, min(row * mesh + mesh, height)):
                for x in range(column * mesh, min(column * mesh + mesh, width)):
                    if not bad[y, x]:
                        rest[count] = data[y, x] - scale * fringe[y, x]
                        picked[count] = y * width + x
                        count += 1
            if count < max(LEAST_PART * mesh * mesh, 16):
                continue
            median: Any = np.median(rest[:count])
            sigma = MAD_TO_SIGMA * np.median(np.abs(rest[:count] - median))
            if not sigma > 0:
                continue
            normal, right = np.zeros((3, 3)), np.zeros((3, 2))
            squares, product = 0.0, 0.0
            for index in range(count):
                if abs(rest[index] - median) > threshold * sigma:
                    continue
                y, x = picked[index] // width, picked[index] % width
                terms = (1.0, (x - column * mesh) / mesh - 0.5, (y - row * mesh) / mesh - 0.5)
                value, pattern = float(data[y, x]) - median, float(fringe[y, x])
                for one in range(3):
                    for other in range(3):
                        normal[one, other] += terms[one] * terms[other]
                    right[one, 0] += terms[one] * pattern
                    right[one, 1] += terms[one] * value
                squares += pattern * pattern
                product += pattern * value
            if abs(np.linalg.det(normal)) < 1e-6 * max(normal[0, 0], 1.0) ** 3:
                continue
            solved = np.linalg.solve(normal, right)
            for one in range(3):
                squares -= right[one, 0] * solved[one, 0]
                product -= right[one, 0] * solved[one, 1]
            sums[row, column, 0] = squares / sigma**2
            sums[row, column, 1] = product / sigma**2


@compiled
def subtract(
    data: Any, variance: Any, mask: Any, fringe: Any, spread: Any, unknown: Any, scale: Any, error: Any, bit: Any
) -> None:
    """Subtract the pattern of some rows in place, with its noise and that of its scale; mark where it is not known."""
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            if unknown[y, x]:
                mask[y, x] |= bit
                continue
            if variance[y, x] > 0:
                data[y, x] -= scale * fringe[y, x]
                variance[y, x] += scale * scale * spread[y, x] + error * error * fringe[y, x] * fringe[y, x]


@warm_up
def _compile() -> None:
    shape = (8, 8)
    data = np.arange(64, dtype=np.float32).reshape(shape) % 5
    bad, mask = np.zeros(shape, np.bool_), np.zeros(shape, np.uint16)
    correlate(data, data, bad, 8, 0.0, 5.0, 0, 1, np.zeros((1, 1, 2)))
    subtract(data, data + np.float32(1), mask, data, data, bad, np.float32(1), np.float32(1), np.uint16(128))
