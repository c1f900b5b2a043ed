"""Seeded random numbers: one independent stream for each purpose, so that no frame depends on another's order."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the random stream of that seed and purpose; the same for the same arguments, on every machine."""
    words = [word if isinstance(word, int) else zlib.crc32(word.encode()) for word in purpose]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
