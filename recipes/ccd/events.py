"""What happens to an exposure and is masked: bad edges, trails of satellites, cosmic rays; and what else it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recipes.ccd.calibrating import Calibrated
from recipes.ccd.cosmic_rays import find_cosmic_rays
from recipes.ccd.edges import find_bad_edges
from recipes.ccd.psf import PointSpread, find_stars, psf_of
from recipes.ccd.satellite_trail import find_trails
from recipes.ccd.sky import measure_sky
from recipes.masks import COSMIC_RAY, NO_DATA, SATELLITE
from recipes.progress import report


@dataclass(frozen=True)
class Thresholds:
    """From where on events are believed: trails in the Hough plane, cosmic rays as LA Cosmic and their peaks."""

    hough: float
    laplacian: float
    contrast: float
    detection: float


@dataclass(frozen=True)
class Seen:
    """What a frame shows: level, noise and range of its sky, its stars' shape, and how many satellites crossed it."""

    sky_level: float
    sky_noise: float
    sky_flatness: float
    psf: PointSpread | None
    trails: int


def mask_events(made: Calibrated, back_size: int, thresholds: Thresholds, name: str) -> Seen:
    """Mask bad edges, trails and cosmic rays, in place.

    Parameters
    ----------
    made : Calibrated
        The exposure, whose mask gets their bits.
    back_size : int
        Side of the mesh on which the sky is measured [pixel].
    thresholds : Thresholds
        From where on events are believed.
    name : str
        Of the exposure, for errors.

    Returns
    -------
    Seen
        What the frame shows of the sky and of stars.
    """
    bad = made.mask != 0
    sky = measure_sky(made.data, bad, back_size, name=name)
    flatness = float(np.ptp(sky.level_map))
    signal = np.subtract(made.data, sky.level_map, out=sky.level_map)  # in the map's place: it is not used again
    edges = find_bad_edges(signal, sky.noise_map, bad)
    made.mask[edges] |= np.uint16(NO_DATA)
    bad |= edges
    report(0.3, "looking for satellite trails")
    on_trail, trails = find_trails(signal, sky.noise_map, bad, threshold=thresholds.hough)
    made.mask[on_trail] |= np.uint16(SATELLITE)
    bad |= on_trail
    stars = find_stars(signal, sky.noise_map, bad)
    hit = find_cosmic_rays(
        made.data, made.variance, bad, laplacian_threshold=thresholds.laplacian, contrast=thresholds.contrast,
        detection_threshold=thresholds.detection, signal=signal, psf=psf_of(stars, signal, bad), progress=(0.5, 0.8),
    )  # fmt: skip
    made.mask[hit] |= np.uint16(COSMIC_RAY)
    bad |= hit
    return Seen(sky.level, sky.noise, flatness, psf_of(stars, signal, bad), len(trails))
