"""Columns and rows at a flat's edges that get no light: an overscan that no header tells shows so in the pixels.

A hint for a person, never more: what is found is not used until somebody writes it into the camera's file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive.translation.translate import RawFrame
from recipes.attributes import FrameAttributes, Section
from recipes.errors import UsageError
from recipes.fits_reading import open_fits, read_raw_frame

KINDS = ("RawDomeFlat", "RawTwilightFlat")
_SCANS = ("prescan_x", "overscan_x", "prescan_y", "overscan_y")
# Lines that are looked at, spread over the chip.
_LINES = 48
# An edge of so few lines is the chip's own; one of more than this share of the chip is shade.
_FEWEST, _MOST = 3, 0.25
# Without light: within this share of the light's level from the edge's own; the step to light is at least so high.
_DARK, _STEP = 0.02, 0.3
# What follows the dark lines reaches the step within so many lines: shade rises slowly, an overscan ends at once.
_SHARP = 3


def hints_of(frames: list[RawFrame], path: Path, name: str) -> dict[str, str]:
    """Return by chip a hint at overscan that no header tells; only flats show it."""
    asked = [frame for frame in frames if frame.kind in KINDS and not _is_told(frame.attributes)]
    if not asked:
        return {}
    found = {}
    try:
        with open_fits(path, name) as file:
            for frame in asked:
                hdu = file.raw_image(getattr(frame.attributes, "extension", None))
                if hdu.is_compressed_image:  # to unpack all of it for a hint would take too long
                    continue
                sections = unlit_sections(read_raw_frame(file, frame.attributes).data)
                if sections:
                    found[frame.attributes.chip] = _told(sections)
    except (UsageError, OSError):
        return {}  # whether it can be read is not decided here
    return found


def unlit_sections(pixels: NDArray[np.float32]) -> dict[str, str]:
    """Return the sections of a flat that get no light, by what they would be."""
    height, width = pixels.shape
    if min(height, width) < 32:
        return {}
    across = np.median(pixels[np.linspace(0.2 * height, 0.8 * height, _LINES).astype(int)], axis=0)
    along = np.median(pixels[:, np.linspace(0.2 * width, 0.8 * width, _LINES).astype(int)], axis=1)
    left, right = _dark_lines(across), _dark_lines(across[::-1])
    below, above = _dark_lines(along), _dark_lines(along[::-1])
    x0, x1, y0, y1 = left, width - right, below, height - above
    found = {
        "prescan_x": Section(y0, y1, 0, left),
        "overscan_x": Section(y0, y1, x1, width),
        "prescan_y": Section(0, below, x0, x1),
        "overscan_y": Section(y1, height, x0, x1),
    }
    return {name: _iraf(section) for name, section in found.items() if min(section.shape) > 0}


def _dark_lines(profile: NDArray[np.float32]) -> int:
    """Return how many lines at the beginning of a profile get no light, 0 where that is not plain."""
    size = len(profile)
    light = float(np.median(profile[size // 4 : -(size // 4)]))
    base = float(np.median(profile[:_FEWEST]))
    contrast = light - base
    if not np.isfinite(contrast) or contrast <= max(0.1 * abs(light), 20.0):
        return 0
    dark = np.abs(profile - base) < _DARK * contrast
    count = size if dark.all() else int(np.argmin(dark))
    if not _FEWEST <= count <= _MOST * size:
        return 0
    beyond = float(np.max(profile[count : count + _SHARP]))
    return count if beyond - base > _STEP * contrast else 0


def _is_told(attributes: FrameAttributes) -> bool:
    return bool(attributes.amplifiers) or any(getattr(attributes, name) for name in _SCANS)


def _told(sections: dict[str, str]) -> str:
    lines = ", ".join(f'{name} = "{section}"' for name, section in sections.items())
    return (
        "hint: at its edges are lines without light, and no header tells of an overscan; "
        f"if they are one, write into the camera's file: [fixed] {lines}"
    )


def _iraf(section: Section) -> str:
    return f"[{section.x0 + 1}:{section.x1},{section.y0 + 1}:{section.y1}]"
