"""Queries for many numbered rows, in pieces that every database takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_AT_ONCE = 500  # numbers in one IN (...)


def batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the numbers in pieces, as many as go into one IN (...)."""
    for start in range(0, len(numbers), _AT_ONCE):
        yield numbers[start : start + _AT_ONCE]
