"""Exposures of one field with dithers, rotations and distortions: stars of known flux at known places."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from recipes.attributes import FrameAttributes
from recipes.ccd.grid import Grid
from recipes.ccd.regridding import Regridded, regrid
from recipes.ccd.wcs import celestial
from recipes.frame import Frame

CENTRE = 150.1165, 2.2058
SCALE = 0.3
GRID = Grid(*CENTRE, SCALE)
FWHM_TO_SIGMA = 1 / math.sqrt(8 * math.log(2))


def linear_cards(
    shape: tuple[int, int], *, dither: tuple[float, float] = (0, 0), rotation: float = 0.0, scale: float = SCALE,
    centre: tuple[float, float] = CENTRE, projection: str = "TAN",
) -> dict[str, Any]:  # fmt: skip
    """Return a coordinate system with `centre` in the middle of the frame, moved by `dither` pixels."""
    height, width = shape
    step, turn = scale / 3600, math.radians(rotation)
    return {
        "CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": centre[0], "CRVAL2": centre[1],
        "CRPIX1": (width + 1) / 2 + dither[0], "CRPIX2": (height + 1) / 2 + dither[1],
        "CD1_1": -step * math.cos(turn), "CD1_2": step * math.sin(turn),
        "CD2_1": step * math.sin(turn), "CD2_2": step * math.cos(turn), "RADESYS": "ICRS",
    }  # fmt: skip


def sip_cards(shape: tuple[int, int], pixels: float = 20.0, **more: Any) -> dict[str, Any]:
    """Return a coordinate system whose radial distortion is `pixels` at the middle of the sides."""
    cards = linear_cards(shape, projection="TAN-SIP", **more)
    cards["CTYPE1"], cards["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    cubic = pixels / (max(shape) / 2) ** 3
    square = 0.1 * pixels / (max(shape) / 2) ** 2
    cards |= {"A_ORDER": 3, "B_ORDER": 3, "A_3_0": cubic, "A_1_2": cubic, "B_0_3": cubic, "B_2_1": cubic,
              "A_2_0": square, "B_1_1": -square}  # fmt: skip
    return cards


def tpv_cards(shape: tuple[int, int], pixels: float = 20.0, **more: Any) -> dict[str, Any]:
    """Return the like with TPV: radial distortion in the intermediate coordinates."""
    cards = linear_cards(shape, projection="TPV", **more)
    scale = more.get("scale", SCALE) / 3600
    half = scale * max(shape) / 2
    cubic = pixels * scale / half**3
    square = 0.1 * pixels * scale / half**2
    for axis in (1, 2):
        cards |= {f"PV{axis}_0": 0.0, f"PV{axis}_1": 1.0, f"PV{axis}_2": 0.0, f"PV{axis}_4": square,
                  f"PV{axis}_7": cubic, f"PV{axis}_9": cubic}  # fmt: skip
    return cards


def star_image(
    shape: tuple[int, int], x: NDArray[Any], y: NDArray[Any], flux: NDArray[Any], fwhm: float
) -> NDArray[np.float64]:
    """Return stars (first pixel is 0) as Gaussians integrated over the pixels."""
    image = np.zeros(shape)
    sigma = fwhm * FWHM_TO_SIGMA
    reach = math.ceil(7 * sigma)
    for x0, y0, light in zip(x, y, flux, strict=True):
        xs = np.arange(max(round(x0) - reach, 0), min(round(x0) + reach + 1, shape[1]))
        ys = np.arange(max(round(y0) - reach, 0), min(round(y0) + reach + 1, shape[0]))
        if len(xs) and len(ys):
            image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] += light * np.outer(_within(ys - y0, sigma),
                                                                              _within(xs - x0, sigma))  # fmt: skip
    return image


def _within(distance: NDArray[Any], sigma: float) -> NDArray[np.float64]:
    edge = math.sqrt(2) * sigma
    return np.asarray((erf((distance + 0.5) / edge) - erf((distance - 0.5) / edge)) / 2)


@dataclass(frozen=True)
class Stars:
    """Stars on the sky."""

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    flux: NDArray[np.float64]

    @classmethod
    def on_lattice(cls, count: int, spacing: float, flux: float, seed: int = 1) -> Stars:
        """Return count² stars about the grid's centre, `spacing` of its pixels apart, each off its place a little."""
        rng = np.random.default_rng(seed)
        places = (np.arange(count) - (count - 1) / 2) * spacing
        x, y = (axis.ravel() + rng.uniform(-1, 1, count * count) for axis in np.meshgrid(places, places))
        ra, dec = GRID.sky(x, y)
        return cls(ra, dec, np.full(count * count, flux))

    def on(self, cards: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return their places on a frame (first pixel is 0)."""
        x, y = celestial(cards).all_world2pix(self.ra, self.dec, 0, tolerance=1e-8, maxiter=50)
        return np.asarray(x), np.asarray(y)

    def image(self, cards: Mapping[str, Any], shape: tuple[int, int], fwhm: float) -> NDArray[np.float64]:
        """Return their image on a frame."""
        return star_image(shape, *self.on(cards), self.flux, fwhm)


@dataclass(frozen=True)
class Exposure:
    """A frame with variance, mask and coordinate system."""

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.uint16]
    cards: dict[str, Any]

    def regrid(self, grid: Grid = GRID, **more: Any) -> Regridded:
        return regrid(self.data, self.variance, self.mask, self.cards, grid, **more)


def expose(
    stars: Stars, cards: Mapping[str, Any], shape: tuple[int, int], *, fwhm: float = 3.5, sky: float = 0.0,
    noise: float = 0.0, poisson: bool = False, seed: int = 0,
) -> Exposure:  # fmt: skip
    """Return an exposure: `noise` of the sky in each pixel, and that of the stars' own photons where wanted."""
    light = stars.image(cards, shape, fwhm)
    variance = np.full(shape, max(noise, 1e-3) ** 2) + (np.maximum(light, 0) if poisson else 0)
    data = light + sky
    if noise:
        data = data + np.sqrt(variance) * np.random.default_rng(seed).standard_normal(shape)
    return Exposure(data.astype(np.float32), variance.astype(np.float32), np.zeros(shape, np.uint16), dict(cards))


def as_regridded_frame(made: Regridded, name: str, *, unit: str = "electron", **more: Any) -> Frame:
    """Return what Science makes of a regridded exposure."""
    attributes = FrameAttributes(**({"instrument": "simcam", "chip": "1", "filter": "V", "grid": GRID.name,
                                     "noise_correlation": made.noise_correlation} | more))  # fmt: skip
    return Frame(made.data, variance=made.variance, mask=made.mask, attributes=attributes, unit=unit, name=name,
                 kind="RegriddedFrame", wcs=made.cards)  # fmt: skip


def measured_stars(
    image: NDArray[Any], x: NDArray[Any], y: NDArray[Any], radius: int = 16
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return flux in a square aperture and Gaussian-weighted centre of stars near the places given."""
    flux, found_x, found_y = [], [], []
    for x0, y0 in zip(x, y, strict=True):
        column, row = round(float(x0)), round(float(y0))
        window = slice(row - radius, row + radius + 1), slice(column - radius, column + radius + 1)
        part = np.asarray(image[window], np.float64)
        ys, xs = np.mgrid[window]
        flux.append(part.sum())
        cx, cy = float(x0), float(y0)
        for _ in range(30):  # SExtractor's windowed position (Bertin & Arnouts, manual, 2012)
            weight = np.exp(-((xs - cx) ** 2 + (ys - cy) ** 2) / (2 * 2.0**2)) * part
            cx += 2 * float(((xs - cx) * weight).sum() / weight.sum())
            cy += 2 * float(((ys - cy) * weight).sum() / weight.sum())
        found_x.append(cx)
        found_y.append(cy)
    return np.array(flux), np.array(found_x), np.array(found_y)
