"""Sky background of a frame: its level and noise on a mesh, and one number for each.

The mesh is SExtractor's (Bertin & Arnouts 1996, A&AS 117, 393, section 3): in each cell the histogram is clipped about
the median, the background is its mode (2.5 median - 1.5 mean) or the median where the cell is crowded, and the map is a
bicubic spline through the median-filtered cells. Measured by sep (Barbary 2016, JOSS 1, 58), SExtractor's own code: an
own mesh of 512 bins a cell was three times as fast and lost the sky beside bright stars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.errors import UsageError
from recipes.frame import FloatArray, MaskArray
from recipes.masks import LARGEST_VALUE

LEAST_NOISE = 1e-6


class NoSkyError(UsageError):
    """The sky of a frame cannot be measured."""


@dataclass(frozen=True)
class Sky:
    """Level and noise of the sky, as numbers and as maps (in the frame's unit)."""

    level: float
    noise: float
    level_map: FloatArray
    noise_map: FloatArray


def measure_sky(data: FloatArray, bad: NDArray[np.bool_], mesh: int = 64, filter_size: int = 3, name: str = "") -> Sky:
    """Measure the sky of `data` where it is not `bad`, on cells of `mesh` pixels.

    Parameters
    ----------
    data : array
        Science pixels.
    bad : array of bool
        Pixels to leave out.
    mesh : int
        Side of a cell [pixel].
    filter_size : int
        Side of the median filter over the cells.
    name : str, optional
        How errors call the frame; empty where who catches them says it.

    Returns
    -------
    Sky
        Level and noise.

    Raises
    ------
    NoSkyError
        Every pixel is bad, or none is a number.
    """
    import sep

    about = f"{name}: " if name else ""
    if bad.all():
        raise NoSkyError(f"{about}every pixel is masked", hint="look at the calibrations and the saturation level")
    side_y, side_x = (_side(length, mesh) for length in data.shape)
    lost = bad | ~(np.abs(data) < LARGEST_VALUE)
    if lost.all():
        raise NoSkyError(f"{about}no pixel is a number", hint="look at the calibrations")
    pixels = np.ascontiguousarray(np.where(lost, 0, data), dtype=np.float32)
    if pixels.size == 1:  # sep takes a cell's only pixel twice
        return Sky(float(pixels[0, 0]), LEAST_NOISE, pixels, np.full_like(pixels, LEAST_NOISE))
    background = sep.Background(pixels, mask=lost, bw=side_x, bh=side_y, fw=filter_size, fh=filter_size)
    noise_map = np.maximum(background.rms(dtype=np.float32), np.float32(LEAST_NOISE))
    return Sky(float(background.globalback), float(background.globalrms), background.back(dtype=np.float32), noise_map)


def _side(length: int, mesh: int) -> int:
    """Return the side of the cells along an axis: `mesh`, or less where the last one would be a sliver."""
    if length <= mesh or not 0 < length % mesh < mesh / 4:
        return min(mesh, length)
    return -(-length // -(-length // mesh))


def robust_noise(values: NDArray[np.floating], about: float | None = None) -> float:
    """Return 1.4826 times the median absolute deviation: the standard deviation of a Gaussian."""
    if values.size == 0:
        return float("nan")
    centre = np.median(values) if about is None else about
    return float(1.4826 * np.median(np.abs(values - centre)))


def is_bad(mask: MaskArray, bits: int = 0xFFFF) -> NDArray[np.bool_]:
    """Return where `mask` carries any of `bits`."""
    return np.asarray((mask & np.uint16(bits)) != 0)
