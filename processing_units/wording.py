"""Numbers of things in sentences, for whoever tells users of jobs and runs."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return ``1 job``, ``2 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
