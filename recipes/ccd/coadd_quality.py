"""How good a coadd is: its stars in each section, how faint a star it shows, how many frames lie on each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.coadding import Coadded
from recipes.ccd.psf import PointSpread, measure_psf
from recipes.ccd.sky import measure_sky, robust_noise
from recipes.ccd.sub_windows import sub_windows
from recipes.frame import FloatArray
from recipes.masks import NO_DATA
from recipes.quality import Measured

SECTIONS = 3  # in each direction
MAP = 8  # cells of the coverage map in each direction
LIMIT = 5.0  # sigma of a star at the limiting magnitude
_LEAST_GOOD = 0.02
_ENOUGH = 40_000  # pixels of a section: its noise is known to 0.5 %
_LARGE = 4096  # pixels
_REACH = 15
_PHASES = (-0.375, -0.125, 0.125, 0.375)


@dataclass(frozen=True)
class CoaddQuality:
    """What was measured: stars of each section (None where too few), sky and depth.

    ``noise_ratio`` is the noise of the sky over that which the variance tells; ``depth`` the flux of a star of five
    sigma (None without stars).
    """

    stars: dict[tuple[int, int], PointSpread]
    sky_level: float
    sky_noise: float
    noise_ratio: float
    depth: float | None
    whole: PointSpread | None = None

    @property
    def fwhm(self) -> float | None:
        """Median of the sections [pixel]."""
        return float(np.median([psf.fwhm for psf in self.all_stars])) if self.all_stars else None

    @property
    def all_stars(self) -> list[PointSpread]:
        """Return those of the sections, or of the whole where no section has enough."""
        return list(self.stars.values()) or ([self.whole] if self.whole else [])


def measure_coadd(coadded: Coadded, correlation: float, mesh: int) -> CoaddQuality:
    """Measure a coadd, section by section.

    Parameters
    ----------
    coadded : Coadded
        The sum.
    correlation : float
        Its noise correlation.
    mesh : int
        Side of the cells on which the sky is measured [pixel].
    """
    shape = (coadded.data.shape[0], coadded.data.shape[1])
    measured = threads.each(
        lambda window: _measure_section(coadded, window, mesh), sub_windows(shape, SECTIONS, SECTIONS)
    )
    known = [section for section in measured if section is not None]
    if not known:
        return CoaddQuality({}, float("nan"), float("nan"), float("nan"), None)
    stars = {
        (number // SECTIONS + 1, number % SECTIONS + 1): section.stars
        for number, section in enumerate(measured)
        if section is not None and section.stars is not None
    }
    levels, noises, pulls, variances = zip(
        *((section.level, section.noise, section.pull, section.variance) for section in known), strict=True
    )
    whole = None if stars else _stars_of_the_middle(coadded, mesh)
    depth = None
    if stars or whole:
        typical = whole or sorted(stars.values(), key=lambda psf: psf.fwhm)[len(stars) // 2]
        depth = LIMIT * math.sqrt(noise_area(typical) * float(np.median(variances)) / correlation)
    level, noise, ratio = (float(np.median(values)) for values in (levels, noises, pulls))
    return CoaddQuality(stars, level, noise, ratio, depth, whole)


class _Section(NamedTuple):
    """What one section shows; ``pull`` is its noise over that which the variance tells."""

    stars: PointSpread | None
    level: float
    noise: float
    pull: float
    variance: float


def _measure_section(coadded: Coadded, window: tuple[slice, slice], mesh: int) -> _Section | None:
    """Measure a section; None where hardly a pixel of it is good."""
    bad = coadded.mask[window] != 0
    if bad.size - np.count_nonzero(bad) < max(64, _LEAST_GOOD * bad.size):
        return None
    sky = measure_sky(coadded.data[window], bad, mesh)
    signal = np.where(bad, np.float32(0), coadded.data[window] - sky.level_map)
    some = slice(None, None, max(1, bad.size // _ENOUGH))
    good = ~bad.ravel()[some]
    noise = np.sqrt(coadded.variance[window].ravel()[some][good])
    pull = robust_noise(signal.ravel()[some][good] / noise)
    stars = measure_psf(signal, sky.noise_map, bad)
    return _Section(stars, sky.level, sky.noise, pull, float(np.median(noise)) ** 2)


def _stars_of_the_middle(coadded: Coadded, mesh: int) -> PointSpread | None:
    """Return the stars of the whole, or of its middle where it is large, for want of enough in any section."""
    window = tuple(slice(max(0, (side - _LARGE) // 2), (side + _LARGE) // 2) for side in coadded.data.shape)
    bad = coadded.mask[window] != 0
    if bad.all():
        return None
    sky = measure_sky(coadded.data[window], bad, mesh)
    signal = np.where(bad, np.float32(0), coadded.data[window] - sky.level_map)
    return measure_psf(signal, sky.noise_map, bad)


def noise_area(psf: PointSpread) -> float:
    """Return the number of pixels whose noise a star has that is measured with its own profile as weight."""
    y, x = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]
    areas = []
    for dy in _PHASES:
        for dx in _PHASES:
            profile = psf.profile(np.hypot(x - dx, y - dy))
            areas.append(float(profile.sum() ** 2 / np.square(profile).sum()))
    return float(np.mean(areas))


def coverage_map(coadded: Coadded) -> list[list[float]]:
    """Return the mean number of frames in 8 × 8 cells, the first row at the bottom."""
    rows, columns = (min(MAP, side) for side in coadded.count.shape)
    means = [
        round(float(np.mean(coadded.count[window])), 2)
        for window in sub_windows((coadded.count.shape[0], coadded.count.shape[1]), rows, columns)
    ]
    return [means[row * columns : (row + 1) * columns] for row in range(rows)]


def measured_values(
    coadded: Coadded, quality: CoaddQuality, pixel_scale: float, zeropoint: float | None, unit: str
) -> list[Measured]:
    """Return the QC values of a coadd."""
    covered = coadded.count[(coadded.mask & np.uint16(NO_DATA)) == 0]
    measured = [*_coverage(covered, pixel_scale), _masked(coadded.mask)]
    if math.isfinite(quality.sky_noise):
        measured += [
            Measured("sky_level", quality.sky_level, unit=unit),
            Measured("sky_noise", quality.sky_noise, unit=unit),
            Measured("noise_ratio", quality.noise_ratio),
        ]
    if quality.fwhm is not None:
        widths = [psf.fwhm for psf in quality.all_stars]
        measured += [
            Measured("psf_fwhm", quality.fwhm, unit="pixel"),
            Measured("seeing", quality.fwhm * pixel_scale, unit="arcsec"),
            Measured("psf_variation", max(widths) / min(widths) - 1),
            Measured("psf_stars", sum(psf.stars for psf in quality.all_stars)),
            *(Measured(f"psf_fwhm_{row}_{column}", psf.fwhm, unit="pixel", limited=False)
              for (row, column), psf in quality.stars.items()),
        ]  # fmt: skip
    if quality.depth is not None:
        measured.append(Measured("depth_flux", quality.depth, unit=unit))
        if zeropoint is not None:
            measured.append(Measured("depth_magnitude", zeropoint - 2.5 * math.log10(quality.depth), unit="mag"))
    return measured


def _coverage(covered: NDArray[np.uint16], pixel_scale: float) -> list[Measured]:
    numbers = (covered.min(), np.median(covered), covered.max()) if covered.size else (0, 0, 0)
    return [
        *(Measured(f"coverage_{name}", float(number)) for name, number in
          zip(("minimum", "median", "maximum"), numbers, strict=True)),
        Measured("covered_area", covered.size * (pixel_scale / 60) ** 2, unit="arcmin2"),
    ]  # fmt: skip


def _masked(mask: NDArray[np.uint16]) -> Measured:
    """Return what part of the covered pixels no frame has a good one for."""
    covered = np.count_nonzero((mask & np.uint16(NO_DATA)) == 0)
    return Measured("masked_fraction", 1 - np.count_nonzero(mask == 0) / covered if covered else 1.0)


def inverse(variance: FloatArray, mask: NDArray[np.uint16]) -> FloatArray:
    """Return the weight: one over the variance, zero where the mask says anything."""
    weight = np.zeros_like(variance)
    np.divide(np.float32(1), variance, out=weight, where=(mask == 0) & (variance > 0))
    return weight
