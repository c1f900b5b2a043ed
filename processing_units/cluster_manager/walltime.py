"""The time that a queueing system gives its job, which is all that the cluster manager inside has for its jobs."""

from __future__ import annotations

import time

# A job that had so much of the whole time and did not end needs more than any queue job of this unit has.
NEARLY_ALL = 0.8

_SHORTEST_MARGIN_SECONDS = 2.0
_LONGEST_MARGIN_SECONDS = 60.0
_MARGIN = 0.1


class Walltime:
    """Counts from the start of the process. Jobs end a margin before the queue does, so that all is still reported."""

    def __init__(self, seconds: float) -> None:
        margin = min(_LONGEST_MARGIN_SECONDS, max(_SHORTEST_MARGIN_SECONDS, _MARGIN * seconds))
        self._deadline = time.monotonic() + seconds - margin
        self.whole = self.left

    def begin(self) -> None:
        """From now on jobs can be taken: what is left now is the most that one can have."""
        self.whole = self.left

    @property
    def left(self) -> float:
        """How long jobs may still take [s]."""
        return max(0.0, self._deadline - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether it is time to leave."""
        return self.left == 0.0
