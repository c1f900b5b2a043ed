"""A simulated field of stars and galaxies with known truth, to be searched by us and by others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from observatory.sky import add_galaxy, add_star


@dataclass(frozen=True)
class StarField:
    """Pixels [electron] and truth: positions (from 0), fluxes, which are stars."""

    pixels: NDArray[np.float32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    is_star: NDArray[np.bool_]
    sky: float
    noise: float


def make_field(
    width: int,
    height: int,
    count: int,
    *,
    seed: int = 1,
    fwhm: float = 3.2,
    sky: float = 800.0,
    read_noise: float = 5.0,
    galaxies: float = 0.3,
    galaxy_shapes: bool = True,
) -> StarField:
    """Render `count` sources, a part `galaxies` of them larger than stars; their numbers rise towards the faint.

    Without `galaxy_shapes` galaxies are round and smooth, which is rendered much faster.
    """
    random = np.random.default_rng(seed)
    light = np.full((height, width), sky)
    x, y = random.uniform(-0.5, width - 0.5, count), random.uniform(-0.5, height - 0.5, count)
    flux = np.minimum(10 ** (2.75 + random.exponential(0.55, count)), 3e5)
    is_star = random.random(count) > galaxies
    for index in range(count):
        place = x[index], y[index], flux[index]
        if is_star[index]:
            add_star(light, *place, fwhm)
        elif galaxy_shapes:
            shape = random.uniform(1.5, 4.0), random.uniform(0.3, 1.0), random.uniform(0, 180)
            add_galaxy(light, *place, fwhm, *shape)
        else:
            add_star(light, *place, fwhm * random.uniform(1.3, 2.0))
    pixels = (random.poisson(light) + random.normal(0, read_noise, light.shape)).astype(np.float32)
    return StarField(pixels, x, y, flux, is_star, sky, float(np.hypot(np.sqrt(sky), read_noise)))
