"""SBIG STL-1001E (Kodak KAF-1001E) at any telescope, as CCDSoft and its successors write it.

No overscan; flats are often called "Light Frame" and must be told at ingest (``--type domeflat``). The header names no
site: far from Greenwich, describe the camera with its longitude in a TOML file.
"""

from archive.translation.camera import Camera

CAMERA = Camera(name="sbig_stl1001", instrume=("SBIG STL-1001*",))
