"""What else falls on a chip: cosmic rays, the trail of a satellite, and charge that overflows along columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from observatory.optics import Place

Floats = NDArray[np.float64]

TRAIL_ELECTRONS = 260.0  # a pixel on the trail's ridge
TRAIL_WIDTH = 1.6  # sigma, pixels


def cosmic_rays(shape: tuple[int, int], mean_hits: float, random: np.random.Generator) -> Floats:
    """Return electrons of cosmic rays: straight tracks of 1 to 30 pixels, a pixel wide, some 1000 electrons a pixel."""
    image = np.zeros(shape)
    for _ in range(random.poisson(mean_hits)):
        length = min(random.exponential(5.0), 30.0)
        angle = random.uniform(0, 2 * np.pi)
        density = np.exp(random.normal(np.log(1100.0), 0.6))  # electrons a pixel of the path
        steps = max(2, int(length * 5))
        t = np.linspace(0, length, steps)
        y = random.uniform(0, shape[0]) + t * np.sin(angle)
        x = random.uniform(0, shape[1]) + t * np.cos(angle)
        inside = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])
        # A point-like hit leaves the charge of one pixel's path.
        np.add.at(image, (y[inside].astype(int), x[inside].astype(int)), density * max(length, 1.0) / steps)
    return image


def satellite_trail(place: Place, random: np.random.Generator) -> Floats:
    """Return electrons of a trail across the whole mosaic, as seen by the chip at `place`.

    The line is drawn in the focal plane, so `random` must be the same stream for every chip of an exposure.
    """
    angle = np.deg2rad(random.uniform(20, 70))
    shift = random.uniform(-60, 60)
    u, v = place.focal()
    distance = u * np.sin(angle) - v * np.cos(angle) - shift
    return np.asarray(TRAIL_ELECTRONS * np.exp(-0.5 * (distance / TRAIL_WIDTH) ** 2))


def overflow(electrons: Floats, full_well: float) -> NDArray[np.bool_]:
    """Let charge beyond the full well run along its column, both ways, in place; return the full pixels."""
    for column in np.flatnonzero((electrons > full_well).any(axis=0)):
        half = 0.5 * np.maximum(electrons[:, column] - full_well, 0.0)
        kept = np.minimum(electrons[:, column], full_well)
        kept = _pour(kept, half, full_well)
        electrons[:, column] = _pour(kept[::-1], half[::-1], full_well)[::-1]
    return np.asarray(electrons >= full_well)


def _pour(kept: Floats, excess: Floats, full_well: float) -> Floats:
    """Move `excess` towards higher rows until every pixel has room; what passes the edge is lost."""
    kept = kept.copy()
    carried = 0.0
    for row in np.arange(np.flatnonzero(excess)[0], len(kept)):
        carried += excess[row]
        taken = min(carried, full_well - kept[row])
        kept[row] += taken
        carried -= taken
    return kept
