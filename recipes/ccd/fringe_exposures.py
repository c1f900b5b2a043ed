"""One reduced exposure as a fringe map sees it: without sky and sources, over the level of its sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.sky import measure_sky
from recipes.ccd.sky_stack import MOST_COVERED, PixelSet, SkyMesh, thumbnail
from recipes.ccd.source_masking import mask_sources
from recipes.frame import FloatArray, Frame


@dataclass(frozen=True)
class FringeExposure:
    """A reduced exposure whose rows can be had as fractions of the level of its sky, without sky and sources."""

    frame: Frame
    level: float
    noise: float
    mesh: SkyMesh
    unusable: PixelSet
    thumbnail: NDArray[np.bool_]
    covered: float

    @property
    def name(self) -> str:
        """Name of the frame."""
        return self.frame.name

    def strip(self, y0: int, y1: int) -> tuple[FloatArray, FloatArray]:
        """Return rows over the level of the sky, NaN where they show something else, and their standard deviations."""
        strip = self.frame.strip(y0, y1)
        rest = (strip.data - self.mesh.rows(y0, y1)) / np.float32(self.level)
        values = np.where(self.unusable.rows(y0, y1), np.float32(np.nan), rest)
        if strip.variance is None:
            return np.asarray(values, np.float32), np.full(values.shape, self.noise / self.level, np.float32)
        least = np.float32((0.1 * self.noise) ** 2)  # a variance of 0 would give a pixel all the say
        sigma = np.sqrt(np.maximum(strip.variance, least)) / np.float32(self.level)
        return np.asarray(values, np.float32), np.asarray(sigma, np.float32)


def expose(frame: Frame, back_size: int, pattern: FloatArray | None = None) -> tuple[FringeExposure | None, str]:
    """Return a reduced frame with its sources masked, or None and why it is of no use.

    Parameters
    ----------
    frame : Frame
        Reduced exposure with its sky.
    back_size : int
        Side of the mesh of the sky [pixel].
    pattern : array of float32, optional
        Fringes as far as they are known, as a fraction of the sky: taken away before sources are looked for, and
        faint ones are then looked for too.

    Returns
    -------
    exposure : FringeExposure or None
        To be stacked.
    reason : str
        Empty where it can be used.

    Raises
    ------
    NoSkyError
        Its sky cannot be measured.
    """
    bad = frame.mask != 0
    if bad.all():
        return None, "no pixel is good"
    data = np.where(bad, np.float32(0), frame.data)
    sky = measure_sky(data, bad, back_size)
    if not sky.level > 0:
        return None, f"its sky of {sky.level:.4g} {frame.unit} is not above zero"
    signal = data - sky.level_map
    noise = sky.noise_map
    if pattern is not None:
        data = data - np.float32(sky.level) * pattern
        sky = measure_sky(data, bad, back_size)
        signal, noise = data - sky.level_map, sky.noise_map
    sources = mask_sources(signal, noise, bad, faint=pattern is not None)
    unusable = bad | sources
    covered = int(np.count_nonzero(sources & ~bad)) / int(np.count_nonzero(~bad))
    if covered > MOST_COVERED or unusable.all():
        return None, f"sources cover {covered:.0%} of it"
    level = float(np.median(data[~unusable]))
    if not level > 0:
        return None, f"its sky of {level:.4g} {frame.unit} is not above zero"
    mesh = SkyMesh.of(data, ~unusable, back_size)
    return FringeExposure(frame, level, sky.noise, mesh, PixelSet(unusable), thumbnail(sources), covered), ""
