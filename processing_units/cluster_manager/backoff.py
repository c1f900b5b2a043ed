"""Pauses between tries: doubling, bounded, with jitter, so that a thousand nodes do not come back in one instant."""

from __future__ import annotations

import random


def jittered(seconds: float) -> float:
    """Vary a pause by up to a fifth, so that nodes started together do not stay together."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret


class Backoff:
    """The next pause [s]; ``reset`` after a success."""

    def __init__(self, first: float = 0.25, longest: float = 10.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def pause(self) -> float:
        """Return the pause to make now; the next one is twice as long."""
        now, self._next = self._next, min(self._longest, self._next * 2)
        return jittered(now)

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = self._first
