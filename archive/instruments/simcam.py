"""The simulated observatory's camera (observatory/README.md). Its read noise is in adu."""

from archive.translation.camera import Camera

CAMERA = Camera(name="simcam", instrume=("SimCam",), read_noise_unit="adu")
