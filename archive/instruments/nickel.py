"""Lick Observatory, 1-m Nickel, Direct Imaging Camera.

OBSTYPE knows only OBJECT and DARK: the observer's OBJECT tells biases and sky flats. GAIN is an index of the
controller. Overscan columns are counted by COVER. Binning is the step of the "U" coordinates; the WCS is pointing only.
"""

from archive.translation.camera import Camera

CAMERA = Camera(
    name="nickel",
    instrume=("Nickel Direct Camera*",),
    keywords={"date_obs": ("DATE-BEG",), "filter": ("FILTNAM",), "temperature": ("TEMPDET",), "nominal_gain": ()},
    longitude=-121.637,
)
