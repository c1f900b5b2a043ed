"""Medians of a few values by selection, compiled into the kernels that take many of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up


@compiled
def median_of_odd(values: Any, number: int) -> Any:
    """Return the median of the first `number` (odd) of `values`, which are shuffled.

    Of half of the values and one more, the smallest and the largest cannot be the median: they are forgotten, another
    value comes in, and so on until three are left. No branch depends on the values, so it runs at full speed.
    """
    low, high = 0, number // 2 + 1
    following = high + 1
    if number == 1:
        return values[0]
    while True:
        smallest, largest = min(values[low], values[high]), max(values[low], values[high])
        for index in range(low + 1, high):
            value = values[index]
            smaller, value = min(value, smallest), max(value, smallest)
            smallest = smaller
            larger, value = max(value, largest), min(value, largest)
            largest = larger
            values[index] = value
        if following >= number:
            return values[low + 1]
        low += 1
        values[high] = values[following]
        following += 1


@compiled
def median_of_any(values: Any, number: int) -> Any:
    """Return the median of the first `number` of `values`, which are sorted in place; the lower of two where even."""
    for index in range(1, number):
        value = values[index]
        place = index
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
    return values[(number - 1) // 2]


@warm_up
def _compile() -> None:
    for number in (9, 25, 49):
        median_of_odd(np.arange(number, dtype=np.float32), number)
    median_of_any(np.arange(4, dtype=np.float32), 4)
