"""Stars and galaxies: a catalogue of the field, and their light on a chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

Floats = NDArray[np.float64]

MOFFAT_BETA = 3.5  # wings of the seeing; Trujillo et al. 2001, MNRAS 328, 977 find 2.5 to 4.8
ZEROPOINT = {"g": 24.7, "r": 24.8, "i": 24.5, "z": 23.8}  # magnitude of 1 electron/s: a 1-m telescope
SKY_BRIGHTNESS = {"g": 21.9, "r": 20.9, "i": 19.9, "z": 18.9}  # mag/arcsec**2, a dark site
EXTINCTION = {"g": 0.17, "r": 0.09, "i": 0.05, "z": 0.04}  # mag/airmass
# What the camera's magnitudes have more than the standard ones, times g - r of the source.
COLOUR_TERM = {"g": 0.06, "r": -0.04, "i": 0.03, "z": -0.05}
COLOUR = {"g": 0.5, "r": 0.0, "i": -0.2, "z": -0.3}  # magnitude relative to r of the mean source
STARS_PER_ARCMIN2 = 9.0
GALAXIES_PER_ARCMIN2 = 5.0
PROPER_MOTION = 12.0  # mas/yr on each axis, rms of the stars; galaxies have none
OVERSAMPLING = 3
FAINTEST_LIGHT = 0.05  # electron/pixel at which a source's picture ends


@dataclass
class Catalogue:
    """Sources of a field at the time of the night; magnitudes in r with a colour index. Stars have ``radius`` 0."""

    ra: Floats
    dec: Floats
    magnitude: Floats
    colour: Floats
    radius: Floats  # half-light, arcsec
    axis_ratio: Floats
    angle: Floats  # degrees from the pixel x axis of a chip that is not turned
    motion_ra: Floats  # mas/yr, with cos dec
    motion_dec: Floats

    def magnitude_in(self, name: str) -> Floats:
        """Return magnitudes in the standard band `name`."""
        return self.magnitude + COLOUR[name] * (1 + self.colour)

    def seen_in(self, name: str) -> Floats:
        """Return magnitudes in the camera's own filter `name`."""
        return self.magnitude_in(name) + COLOUR_TERM[name] * (self.magnitude_in("g") - self.magnitude_in("r"))

    def __add__(self, other: Catalogue) -> Catalogue:
        """Return the sources of both."""
        return Catalogue(*(np.concatenate([getattr(self, item.name), getattr(other, item.name)])
                           for item in fields(self)))  # fmt: skip


def make_catalogue(random: np.random.Generator, ra: float, dec: float, width: float, height: float) -> Catalogue:
    """Make the sources of a field of `width` × `height` arcmin around (`ra`, `dec`)."""
    stars, galaxies = (int(density * width * height) for density in (STARS_PER_ARCMIN2, GALAXIES_PER_ARCMIN2))
    showy = 4
    total = stars + galaxies + showy
    east, north = random.uniform(-0.5, 0.5, total) * width / 60, random.uniform(-0.5, 0.5, total) * height / 60
    east[-showy:] *= 0.7
    north[-showy:] *= 0.7
    magnitude = np.concatenate(
        [
            _magnitudes(random, stars, 12.5, 23.0, 0.25),
            _magnitudes(random, galaxies, 17.0, 23.0, 0.38),
            random.uniform(13.2, 14.6, showy),
        ]
    )
    radius = np.concatenate([np.zeros(stars), random.uniform(0.6, 2.2, galaxies), random.uniform(5.0, 9.0, showy)])
    colour = 0.4 * random.standard_normal(total)
    axis_ratio = np.where(radius > 0, random.uniform(0.3, 1.0, total), 1.0)
    angle = random.uniform(0, 180, total)
    motion = PROPER_MOTION * random.standard_normal((2, total)) * (radius == 0)
    east /= np.cos(np.deg2rad(dec))
    return Catalogue(ra + east, dec + north, magnitude, colour, radius, axis_ratio, angle, motion[0], motion[1])


def _magnitudes(random: np.random.Generator, count: int, bright: float, faint: float, slope: float) -> Floats:
    """Draw magnitudes whose counts rise as 10**(slope m)."""
    low, high = 10 ** (slope * bright), 10 ** (slope * faint)
    return np.asarray(np.log10(random.uniform(low, high, count)) / slope)


def moffat(x: Floats, y: Floats, fwhm: float) -> Floats:
    """Return the surface brightness of a star of flux 1 at offsets `x`, `y` [pixel]."""
    width = fwhm / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    peak = (MOFFAT_BETA - 1) / (np.pi * width**2)
    return np.asarray(peak * (1 + (x**2 + y**2) / width**2) ** -MOFFAT_BETA)


def star_radius(flux: float, fwhm: float) -> int:
    """Return how far a star of that flux is seen [pixel]."""
    width = fwhm / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    peak = flux * (MOFFAT_BETA - 1) / (np.pi * width**2)
    reach = width * np.sqrt(max((peak / FAINTEST_LIGHT) ** (1 / MOFFAT_BETA) - 1, 0.0))
    return int(np.clip(np.ceil(reach), 8, 150))


def add_star(image: Floats, x: float, y: float, flux: float, fwhm: float) -> None:
    """Add a star, its light integrated over pixels, at the 0-based position (`x`, `y`)."""
    _add_stamp(image, x, y, star_radius(flux, fwhm), lambda dx, dy: flux * moffat(dx, dy, fwhm))


def add_galaxy(
    image: Floats, x: float, y: float, flux: float, fwhm: float, radius: float, axis_ratio: float, angle: float
) -> None:
    """Add an inclined exponential disc of half-light `radius` [pixel], blurred by the seeing."""
    scale = radius / 1.678  # half-light radius of an exponential disc
    reach = int(np.clip(np.ceil(scale * np.log(max(flux / (FAINTEST_LIGHT * scale**2), 3)) + 2 * fwhm), 10, 120))
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    span = np.arange(-2 * int(np.ceil(fwhm)) - 4, 2 * int(np.ceil(fwhm)) + 5, dtype=float)
    kernel = moffat(span[None, :], span[:, None], fwhm)
    kernel /= kernel.sum()

    def light(dx: Floats, dy: Floats) -> Floats:
        major, minor = dx * cos + dy * sin, (-dx * sin + dy * cos) / axis_ratio
        return np.asarray(np.exp(-np.hypot(major, minor) / scale))

    _add_stamp(image, x, y, reach, light, kernel, flux)


def _add_stamp(
    image: Floats,
    x: float,
    y: float,
    reach: int,
    light: Callable[[Floats, Floats], Floats],
    kernel: Floats | None = None,
    flux: float = 0.0,
) -> None:
    """Sample `light` finely around (x, y), blur by `kernel` and scale to `flux` if given, and add it to `image`."""
    x0, y0 = round(x), round(y)
    if x0 + reach < 0 or y0 + reach < 0 or x0 - reach >= image.shape[1] or y0 - reach >= image.shape[0]:
        return
    sub = (np.arange(OVERSAMPLING) - (OVERSAMPLING - 1) / 2) / OVERSAMPLING
    span = (np.arange(-reach, reach + 1)[:, None] + sub).ravel()
    size = 2 * reach + 1
    stamp = light(span[None, :] + x0 - x, span[:, None] + y0 - y)
    stamp = stamp.reshape(size, OVERSAMPLING, size, OVERSAMPLING).mean(axis=(1, 3))
    if kernel is not None:
        stamp = np.maximum(fftconvolve(stamp, kernel, mode="same"), 0.0)
        stamp *= flux / stamp.sum()
    ya, yb = max(y0 - reach, 0), min(y0 + reach + 1, image.shape[0])
    xa, xb = max(x0 - reach, 0), min(x0 + reach + 1, image.shape[1])
    image[ya:yb, xa:xb] += stamp[ya - y0 + reach : yb - y0 + reach, xa - x0 + reach : xb - x0 + reach]
