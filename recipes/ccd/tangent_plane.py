"""The gnomonic projection on a plane that touches the sky (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Return the unit vectors, one a row, of positions [degree]."""
    alpha, delta = np.deg2rad(np.asarray(ra, np.float64)), np.deg2rad(np.asarray(dec, np.float64))
    return np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)


def directions(vectors: Floats) -> tuple[Floats, Floats]:
    """Return right ascension (0 to 360) and declination [degree] of vectors of any length."""
    ra = np.rad2deg(np.arctan2(vectors[..., 1], vectors[..., 0])) % 360.0
    dec = np.rad2deg(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1])))
    return np.where(ra == 360.0, 0.0, ra), dec


def local_axes(ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
    """Return the unit vectors towards east and north at positions [degree]; at a pole, as its right ascension says."""
    alpha, delta = np.deg2rad(np.asarray(ra, np.float64)), np.deg2rad(np.asarray(dec, np.float64))
    east = np.stack([-np.sin(alpha), np.cos(alpha), np.zeros_like(alpha)], axis=-1)
    north = np.stack([-np.sin(delta) * np.cos(alpha), -np.sin(delta) * np.sin(alpha), np.cos(delta)], axis=-1)
    return east, north


def project(ra: ArrayLike, dec: ArrayLike, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Return the plane's coordinates [degree], towards east and north, of positions about the point (`ra0`, `dec0`).

    What lies on the other half of the sky has none: NaN.
    """
    vectors = unit_vectors(ra, dec)
    east, north = local_axes(ra0, dec0)
    depth = vectors @ unit_vectors(ra0, dec0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(depth > 1e-6, np.rad2deg(1.0) / depth, np.nan)
    return (vectors @ east) * scale, (vectors @ north) * scale


def deproject(xi: ArrayLike, eta: ArrayLike, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Return positions [degree] of the plane's coordinates [degree]: the inverse of :func:`project`."""
    east, north = local_axes(ra0, dec0)
    x, y = np.deg2rad(np.asarray(xi, np.float64)), np.deg2rad(np.asarray(eta, np.float64))
    return directions(unit_vectors(ra0, dec0) + x[..., np.newaxis] * east + y[..., np.newaxis] * north)


def separation(ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike) -> Floats:
    """Return the angle between positions [degree], right also for small ones and at the poles."""
    chord = np.linalg.norm(unit_vectors(ra1, dec1) - unit_vectors(ra2, dec2), axis=-1)
    return np.asarray(np.rad2deg(2 * np.arcsin(np.clip(chord / 2, 0.0, 1.0))))
