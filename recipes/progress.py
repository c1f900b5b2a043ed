"""How a recipe tells how far it is: ``report(0.4, "stacking")``, heard by whoever runs it and by nobody otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import TypeVar

Listener = Callable[[float, str], None]
Item = TypeVar("Item")

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def listen(listener: Listener | None) -> None:
    """Let `listener` be called with the fraction done (0..1) and the stage; None ends it."""
    _listener.set(listener)


def report(fraction: float, stage: str) -> None:
    """Say that the job is this far, in this stage; costs nothing when nobody listens."""
    listener = _listener.get()
    if listener is not None:
        listener(min(max(fraction, 0.0), 1.0), stage)


def tracked(items: Iterable[Item], stage: str, start: float = 0.0, end: float = 1.0) -> Iterator[Item]:
    """Yield `items`, reporting progress from `start` to `end` as they are taken."""
    sequence: Sequence[Item] = list(items)
    for number, item in enumerate(sequence):
        report(start + (end - start) * number / len(sequence), stage)
        yield item
    report(end, stage)
