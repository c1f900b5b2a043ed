"""QC values of a reduced exposure: image statistics, sky, stars, depth, and what was masked by cause."""

from __future__ import annotations

import numpy as np

from recipes import threads
from recipes.ccd.calibrating import STRIP_ROWS, Calibrated
from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.events import Seen
from recipes.ccd.noise import noise_ratio
from recipes.frame import strip_bounds
from recipes.masks import count_by_cause
from recipes.quality import Measured

SAMPLE = 2**20  # pixels that tell median and scatter: to a thousandth of the noise
LIMIT_SIGMA = 5.0  # of the faintest point source that counts as seen
_ALWAYS_TOLD = {"hot", "cold", "saturated", "cosmic ray", "satellite trail", "no data"}


def measure_exposure(made: Calibrated, seen: Seen, pixel_scale: float | None) -> list[Measured]:
    """Return the QC values of a calibrated exposure.

    Parameters
    ----------
    made : Calibrated
        The exposure with its whole mask.
    seen : Seen
        Its sky and stars.
    pixel_scale : float or None
        [arcsec].

    Returns
    -------
    list of Measured
        Mean, minimum and maximum are of all good pixels, median and (5 sigma clipped) stdev of a million of them.
        ``noise_ratio`` is the stdev over what the variance tells: stars and structure raise it, nothing real brings it
        far below 1.
    """
    statistics = _statistics(made)
    measured = [
        Measured(name, value, unit=made.unit)
        for name, value in (
            *statistics.items(), ("sky_level", seen.sky_level), ("sky_noise", seen.sky_noise),
            ("sky_flatness", seen.sky_flatness),
        )
    ]  # fmt: skip
    measured.append(Measured("noise_ratio", noise_ratio(statistics["stdev"], made.variance, made.mask)))
    if seen.psf is not None:
        measured.append(Measured("psf_radius", seen.psf.half_light_radius, unit="pixel"))
        measured.append(Measured("psf_fwhm", seen.psf.fwhm, unit="pixel"))
        measured.append(Measured("psf_stars", seen.psf.stars))
        if pixel_scale:
            measured.append(Measured("seeing", seen.psf.fwhm * pixel_scale, unit="arcsec"))
        # The best that any weighting of a star's pixels can do (King 1983, PASP 95, 163).
        limit = LIMIT_SIGMA * seen.sky_noise * float(np.sqrt(seen.psf.noise_area))
        measured.append(Measured("limiting_flux", limit, unit=made.unit))
    counts = count_by_cause(made.mask)
    measured += [
        Measured(f"masked_{cause.replace(' ', '_')}", number)
        for cause, number in counts.items()
        if number or cause in _ALWAYS_TOLD
    ]
    measured.append(Measured("masked_fraction", int(np.count_nonzero(made.mask)) / made.mask.size))
    measured.append(Measured("satellite_trails", seen.trails))
    return measured


def _statistics(made: Calibrated) -> dict[str, float]:
    from recipes.ccd.kernels.calibration import sum_up
    from recipes.ccd.kernels.sample import median_of_sample

    strips = strip_bounds(made.data.shape[0], STRIP_ROWS)
    of_strips = threads.each(lambda rows: sum_up(made.data, made.mask, *rows), strips)
    number = sum(found[1] for found in of_strips)
    step = max(1, made.data.size // SAMPLE)
    sample, good = made.data.ravel()[::step], made.mask.ravel()[::step] == 0
    sample = sample[good]
    usual = clipped_statistics(sample)
    if not number:
        return dict.fromkeys(("mean", "median", "stdev", "minimum", "maximum"), float("nan"))
    return {
        "mean": sum(found[0] for found in of_strips) / number,
        "median": float(median_of_sample(sample, np.zeros(0, bool))),
        "stdev": usual.stdev,
        "minimum": float(min(found[2] for found in of_strips)),
        "maximum": float(max(found[3] for found in of_strips)),
    }
