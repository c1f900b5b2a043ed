"""The simulated observatory's camera (observatory/README.md). Its read noise is in adu."""

from archive.translation.camera import Camera
from recipes.attributes import Photometry

# Colour terms and extinction as the simulation has them (observatory/README.md).
_FILTERS = {"g": (0.06, 0.17), "r": (-0.04, 0.09), "i": (0.03, 0.05), "z": (-0.05, 0.04)}

CAMERA = Camera(
    name="simcam",
    instrume=("SimCam",),
    read_noise_unit="adu",
    photometry={
        name: Photometry(band=name, system="AB", colour="g-r", colour_term=term, extinction=extinction)
        for name, (term, extinction) in _FILTERS.items()
    },
)
