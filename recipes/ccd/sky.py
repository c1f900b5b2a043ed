"""Sky background of a frame: its level and noise on a mesh, and one number for each.

The mesh is SExtractor's (Bertin & Arnouts 1996, A&AS 117, 393, section 3): in each cell the histogram is clipped about
the median, the background is its mode (2.5 median - 1.5 mean) or the median where the cell is crowded, and the map is a
bicubic spline through the median-filtered cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.errors import UsageError
from recipes.frame import FloatArray, MaskArray


@dataclass(frozen=True)
class Sky:
    """Level and noise of the sky, as numbers and as maps (in the frame's unit)."""

    level: float
    noise: float
    level_map: FloatArray
    noise_map: FloatArray


def measure_sky(data: FloatArray, bad: NDArray[np.bool_], mesh: int = 64, filter_size: int = 3) -> Sky:
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

    Returns
    -------
    Sky
        Level and noise.

    Raises
    ------
    UsageError
        Every pixel is bad.
    """
    import sep

    if bad.all():
        raise UsageError("every pixel of the frame is masked", hint="look at the calibrations and the saturation level")
    side_y, side_x = (min(mesh, length) for length in data.shape)
    pixels = np.ascontiguousarray(np.where(bad, 0, data), dtype=np.float32)
    background = sep.Background(pixels, mask=bad, bw=side_x, bh=side_y, fw=filter_size, fh=filter_size)
    noise_map = np.maximum(background.rms(dtype=np.float32), np.float32(1e-6))
    return Sky(float(background.globalback), float(background.globalrms), background.back(dtype=np.float32), noise_map)


def robust_noise(values: NDArray[np.floating], about: float | None = None) -> float:
    """Return 1.4826 times the median absolute deviation: the standard deviation of a Gaussian."""
    if values.size == 0:
        return float("nan")
    centre = np.median(values) if about is None else about
    return float(1.4826 * np.median(np.abs(values - centre)))


def is_bad(mask: MaskArray, bits: int = 0xFFFF) -> NDArray[np.bool_]:
    """Return where `mask` carries any of `bits`."""
    return np.asarray((mask & np.uint16(bits)) != 0)
