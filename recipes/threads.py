"""How many threads a job may use, and work shared among them.

The number comes from the job file (the slot's share of the node's cores). Threads are made when they are needed and end
with the work, so that none lives in a process that forks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_threads: ContextVar[int] = ContextVar("threads", default=1)


def allow(number: int) -> None:
    """Let what follows use up to `number` threads, and never more than the process may have cores."""
    _threads.set(max(1, min(number, len(os.sched_getaffinity(0)))))


def allowed() -> int:
    """Return how many threads may be used."""
    return _threads.get()


def each(function: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """Return `function` of each piece, in order, on as many threads as are allowed.

    Only work that releases the interpreter's lock (compiled kernels, numpy, zlib) gets faster. Results must not depend
    on the order in which pieces are done: sums over pieces are taken afterwards, in order.
    """
    return list(in_turn(function, pieces))


def in_turn(function: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Yield what :func:`each` returns, one by one as they are done."""
    pieces = list(pieces)
    number = min(allowed(), len(pieces))
    if number <= 1:
        yield from map(function, pieces)
        return
    with ThreadPoolExecutor(number) as pool:
        yield from pool.map(function, pieces)
