"""How two programs' means of one stack are told to differ by what they rejected, and by nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Explained:
    """Pixels whose mean is that of no contiguous part of the sorted values, and the largest error of the others."""

    unexplained: int
    largest_error: float
    numbers: NDArray[np.intp]  # how many values went into each pixel's mean


def explain(stack: NDArray[np.float64], mean: NDArray[np.floating], tolerance: float) -> Explained:
    """Find for each pixel which of its values were averaged.

    A clip about a centre keeps a contiguous part of the sorted values. Of all parts that could have been kept the
    largest is taken whose mean differs from `mean` by no more than `tolerance`.
    """
    ordered = np.sort(stack, axis=0)
    count = len(ordered)
    sums = np.concatenate([np.zeros((1, *mean.shape)), np.cumsum(ordered, axis=0)])
    error = np.full(mean.shape, np.inf)
    numbers = np.zeros(mean.shape, np.intp)
    for length in range(count, 0, -1):
        for first in range(count - length + 1):
            candidate = np.abs((sums[first + length] - sums[first]) / length - mean)
            better = (candidate <= tolerance) & (numbers == 0)
            error[better], numbers[better] = candidate[better], length
    found = numbers > 0
    return Explained(int(np.count_nonzero(~found)), float(error[found].max()) if found.any() else np.inf, numbers)
