"""The comparisons by which a fixed number of values are sorted, whatever they are."""

from __future__ import annotations

from functools import cache


@cache
def sorting_network(size: int) -> tuple[tuple[int, int], ...]:
    """Return the comparisons (lower place, higher place) that sort so many values, in order.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, section 5.2.2, algorithm M).
    """
    pairs: list[tuple[int, int]] = []
    top = 1 << max(size - 1, 1).bit_length() - 1
    step = top
    while step > 0:
        merge, offset, bit = top, step, 0
        while True:
            pairs += [(index, index + offset) for index in range(size - offset) if index & step == bit]
            if merge == step:
                break
            offset, merge, bit = merge - step, merge >> 1, step
        step >>= 1
    return tuple(pairs)
