"""The one table of mask bits: what each bit of a ``MASK`` plane means.

A mask written by this package carries the card ``MASKCONV = 'BADBITS'`` (0 is good, each bit is a cause). Maps of
others say either ``1=GOOD`` (as Astro-WISE writes) or ``1=BAD`` (as ESO writes); a map that does not say is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HOT = 1
COLD = 2
SATURATED = 4
COSMIC_RAY = 8
SATELLITE = 16
NO_DATA = 32
INTERPOLATED = 64
FRINGE_UNTRUSTED = 128
USER = 256

MASK_BITS: dict[int, str] = {
    HOT: "hot",
    COLD: "cold",
    SATURATED: "saturated",
    COSMIC_RAY: "cosmic ray",
    SATELLITE: "satellite trail",
    NO_DATA: "no data",
    INTERPOLATED: "interpolated",
    FRINGE_UNTRUSTED: "fringe untrusted",
    USER: "user",
}

LARGEST_VALUE = 1e15  # of a pixel that has data: beyond it nothing is a number of photons, and sums lose the rest

CONVENTION_CARD = "MASKCONV"
CONVENTION = "BADBITS"
CONVENTIONS = (CONVENTION, "1=GOOD", "1=BAD")


def in_our_bits(values: NDArray[np.generic], convention: str) -> NDArray[np.uint16]:
    """Return `values`, a map written in `convention`, in the bits of this table (maps of others become ``USER``)."""
    if convention == CONVENTION:
        return np.asarray(values).astype(np.uint16, copy=False)
    bad = (values == 0) if convention == "1=GOOD" else (values != 0)
    return np.where(bad, USER, 0).astype(np.uint16)


def count_by_cause(mask: NDArray[np.uint16]) -> dict[str, int]:
    """Return how many pixels of `mask` carry each bit, by the bit's meaning."""
    masked = mask[mask != 0]  # few pixels
    return {meaning: int(np.count_nonzero(masked & np.uint16(bit))) for bit, meaning in MASK_BITS.items()}
