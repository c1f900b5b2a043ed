"""The forms of coordinates that observers' headers come in, and stars on a frame that has one of them."""

from __future__ import annotations

import numpy as np

from recipes.attributes import FrameAttributes
from recipes.frame import Frame

FORMS = {
    "TAN": {},
    "TPV": {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.0, "PV2_1": 1.0, "PV1_7": 3.0, "PV1_9": 2.0,
            "PV1_4": 0.05, "PV2_7": 3.0, "PV2_9": 4.0, "PV2_5": -0.04},
    "SIP": {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 3, "B_ORDER": 3, "A_2_0": 2e-5,
            "A_1_2": 4e-8, "B_1_1": -2e-5, "B_0_3": 3e-8},
}  # fmt: skip

# Where the stars are [pixel, from one on].
X, Y = (grid.ravel() for grid in np.meshgrid(np.linspace(31.3, 370.1, 5), np.linspace(28.8, 371.4, 5)))


def cards_of(form: str) -> dict[str, object]:
    """Return the cards of a frame of 400 x 400 pixels."""
    return {"RADESYS": "ICRS", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 40.0,
            "CRPIX1": 180.0, "CRPIX2": 220.0, "CD1_1": -2e-4, "CD1_2": 2e-5, "CD2_1": 2e-5,
            "CD2_2": 2e-4} | FORMS[form]  # fmt: skip


def frame_of(form: str) -> Frame:
    """Return the frame with its stars."""
    rows, columns = np.mgrid[1:401, 1:401]
    image = sum(1e4 * np.exp(-((columns - a) ** 2 + (rows - b) ** 2) / 8) for a, b in zip(X, Y, strict=True))
    return Frame(image, variance=np.ones_like(image), unit="electron", wcs=cards_of(form), name="stars.fits",
                 attributes=FrameAttributes(exposure_time=1.0))  # fmt: skip
