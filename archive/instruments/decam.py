"""Dark Energy Camera at the Blanco. Its Community Pipeline writes data quality as codes since 2014 (version 3.5)."""

from archive.translation.camera import Camera
from recipes import masks

# NOIRLab Data Handbook, DECam Community Pipeline, data quality maps.
CAMERA = Camera(
    name="decam",
    instrume=("DECam",),
    keywords={"filter": ("BAND",)},
    longitude=-70.815,
    mask_codes=True,
    mask_bits={
        1: masks.COLD,  # in the static map of bad pixels
        2: masks.NO_DATA,
        3: masks.SATURATED,
        4: masks.SATURATED,  # bleed trail
        5: masks.COSMIC_RAY,
        6: masks.NO_DATA,  # low weight
        7: masks.COSMIC_RAY,  # differs from the exposures beside it
        8: masks.SATELLITE,
    },
)
