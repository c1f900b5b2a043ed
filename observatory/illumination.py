"""What flats get wrong about illumination: light that did not come from where the flat takes it to come from.

Scattered light brightens the middle of a flat and makes stars there too faint after division (Manfroid 1995, A&AS 113,
587). Here it is a polynomial of order 2 over the focal plane, in magnitudes by which stars come out too faint.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from observatory.optics import PIXEL_SCALE, Place
from observatory.plan import Plan

Floats = NDArray[np.float64]

SCALE = 0.15  # degree: the unit of the polynomial's coordinates
# Powers of xi (east) and eta (north), and the coefficients in units of the plan's `illumination`.
COEFFICIENTS = {(1, 0): 0.35, (0, 1): -0.2, (2, 0): -0.9, (1, 1): 0.25, (0, 2): -1.1}


def illumination_error(plan: Plan, place: Place, x: Floats, y: Floats) -> Floats:
    """Return by how much stars at 0-based pixels of a chip come out too faint [mag]."""
    dx, dy = x - (place.columns - 1) / 2, y - (place.rows - 1) / 2
    u, v = np.tensordot(place.matrix, np.stack([dx, dy]), axes=1)
    east = -(u + place.centre_x) * PIXEL_SCALE / 3600 / SCALE
    north = (v + place.centre_y) * PIXEL_SCALE / 3600 / SCALE
    total = sum(factor * east**i * north**j for (i, j), factor in COEFFICIENTS.items())
    return np.asarray(plan.illumination * total, dtype=np.float64)


def illumination_of_chip(plan: Plan, place: Place) -> Floats:
    """Return the error [mag] at every pixel of a chip."""
    y, x = np.mgrid[0 : place.rows, 0 : place.columns].astype(np.float64)
    return illumination_error(plan, place, x, y)


def illumination_truth(plan: Plan) -> dict[str, Any]:
    """Return the polynomial for ``night.json``: stars are too faint by the sum of factor * xi**i * eta**j [mag]."""
    terms = [{"xi": i, "eta": j, "factor": plan.illumination * factor} for (i, j), factor in COEFFICIENTS.items()]
    return {"scale": SCALE, "terms": terms}
