"""The cameras that the archive knows: one file each in this package, and the site's own TOML files."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from django.conf import settings

import archive.instruments
from archive.headers import Header
from archive.instruments.generic import BadCamera, camera_from_toml
from archive.translation.camera import Camera


@cache
def all_cameras() -> dict[str, Camera]:
    """Return the cameras that come with the archive, by name."""
    found = {}
    for module in pkgutil.iter_modules(archive.instruments.__path__):
        camera = getattr(importlib.import_module(f"archive.instruments.{module.name}"), "CAMERA", None)
        if isinstance(camera, Camera):
            found[camera.name] = camera
    return dict(sorted(found.items()))


def cameras_of_site() -> dict[str, Camera]:
    """Return the cameras described in the site's folder ``cameras``; a file that is wrong raises :class:`BadCamera`."""
    folder = Path(settings.HOME) / "cameras"
    found = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            camera = camera_from_toml(path.read_text())
        except (BadCamera, UnicodeDecodeError) as error:
            raise BadCamera(f"{path.name}: {error}") from None
        found[camera.name] = camera
    return found


def find_camera(name: str) -> Camera | None:
    """Return the camera of that name, the site's own before those that come with the archive."""
    return cameras_of_site().get(name) or all_cameras().get(name)


def recognise(header: Header) -> Camera | None:
    """Return the camera that wrote a file with this header, or None."""
    for camera in (*cameras_of_site().values(), *all_cameras().values()):
        if camera.recognises(header):
            return camera
    return None
