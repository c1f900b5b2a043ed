"""Apache Point Observatory, ARCSAT 0.5-m. MaxIm DL's headers, some rewritten by PinPoint: a wrong AIRMASS, an old DATE.

Its flats are of the dome; no overscan.
"""

from archive.translation.camera import Camera

CAMERA = Camera(
    name="arcsat",
    instrume=("dcam-spare",),
    types={"flat": "RawDomeFlat", "flat field": "RawDomeFlat"},
    longitude=-105.820,
)
