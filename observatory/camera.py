"""The simulated camera: each chip with its own gain, noise, bias structure, flat field and defects."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from observatory.optics import Place, place_chips
from observatory.plan import Plan
from observatory.streams import stream

NOMINAL_GAIN = 1.5  # electron/adu, what the header claims of every chip
NOMINAL_READ_NOISE = 4.0  # adu
SATURATION = 56_000  # adu, what the header claims
FULL_WELL = 88_000.0  # electrons
DARK_CURRENT = 0.004  # electron/s
FRINGE_AMPLITUDE = {"i": 0.02, "z": 0.05}  # of the sky
HOT_PIXELS = 300  # a million pixels
COLD_PIXELS = 400


@dataclass
class Chip:
    """One chip and the truth about it. Arrays are of the light-sensitive part; electrons, adu and seconds.

    ``flat`` is the response to the sky, of mean 1; ``response`` the chip's mean response beside the mosaic's centre.
    ``dome`` is the response to the dome's lamps, of mean 1 too.
    """

    name: str
    number: int
    place: Place
    gain: float
    read_noise: float
    bias_level: float
    full_well: float
    response: float
    bias: NDArray[np.float32]
    hot_offset: NDArray[np.float32]
    dark: NDArray[np.float32]
    flat: NDArray[np.float32]
    dome: NDArray[np.float32]
    cold: NDArray[np.bool_]
    fringe: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the light-sensitive part."""
        return self.place.rows, self.place.columns

    @property
    def hot(self) -> NDArray[np.bool_]:
        """Pixels that glow, in the bias or in the dark."""
        return (self.hot_offset > 0) | (self.dark > 10 * DARK_CURRENT)


def build_camera(plan: Plan) -> list[Chip]:
    """Make the chips of the mosaic; the same ones for the same seed, whatever the night."""
    jitter = stream(plan.seed, "places").normal(0, 0.5, (plan.chips, 3))
    places = place_chips(plan.chips, plan.columns, plan.rows, jitter)
    corner = max(np.hypot(abs(p.centre_x) + p.columns / 2, abs(p.centre_y) + p.rows / 2) for p in places)
    return [_build_chip(plan, index + 1, place, float(corner)) for index, place in enumerate(places)]


def _build_chip(plan: Plan, number: int, place: Place, corner: float) -> Chip:
    random = stream(plan.seed, "chip", number)
    shape = (place.rows, place.columns)
    u, v = place.focal()
    radius2 = (u**2 + v**2) / corner**2
    cold, factors = _cold_pixels(shape, random)
    pixels = (1 + 0.006 * random.standard_normal(shape)) * _dust(shape, random) * factors
    sky = pixels * (1 - 0.16 * radius2 - 0.10 * radius2**3) * (0.95 + 0.1 * random.random())
    screen = sky * (1 + 0.025 * u / corner - 0.02 * v / corner)  # the screen is not lit evenly
    hot_offset, glow = _hot_pixels(shape, random)
    return Chip(
        name=f"ccd{number}", number=number, place=place,
        gain=NOMINAL_GAIN * (0.92 + 0.16 * random.random()),
        read_noise=NOMINAL_READ_NOISE * (0.85 + 0.3 * random.random()),
        bias_level=900.0 + 400.0 * random.random(),
        full_well=FULL_WELL * (0.97 + 0.06 * random.random()),
        response=float(sky.mean()),
        bias=_bias_structure(shape, random),
        hot_offset=hot_offset,
        dark=np.float32(DARK_CURRENT) + glow,
        flat=(sky / sky.mean()).astype(np.float32),
        dome=(screen / screen.mean()).astype(np.float32),
        cold=cold,
        fringe={name: _fringes(shape, random) for name in plan.filters if name in FRINGE_AMPLITUDE},
    )  # fmt: skip


def _bias_structure(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.float32]:
    """Columns with levels of their own, a slope along the readout, and amplifier glow in a corner."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    columns = 0.8 * random.standard_normal(shape[1])
    slope = random.uniform(-2, 2) * (y / shape[0] - 0.5)
    corner = np.hypot(x, y) / (0.12 * shape[0])
    return np.asarray(columns + slope + 6.0 * np.exp(-corner), dtype=np.float32)


def _hot_pixels(shape: tuple[int, int], random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return an offset in every exposure [adu] and a dark current [electron/s]; one column glows from a place on."""
    count = max(4, round(HOT_PIXELS * shape[0] * shape[1] / 1e6))
    offset, dark = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    y, x = random.integers(0, shape[0], count), random.integers(0, shape[1], count)
    offset[y, x] = np.exp(random.uniform(np.log(40), np.log(4000), count))
    dark[y, x] = np.exp(random.uniform(np.log(0.3), np.log(60), count))
    offset[y[: count // 5], x[: count // 5]] = 0.0  # a fifth is seen in long exposures alone
    column, start = random.integers(shape[1] // 8, shape[1] - shape[1] // 8), random.integers(0, shape[0] // 2)
    offset[start:, column] += 60.0
    return offset, dark


def _cold_pixels(shape: tuple[int, int], random: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return where pixels respond otherwise than their neighbours, and the factors; some do so too much."""
    count = max(4, round(COLD_PIXELS * shape[0] * shape[1] / 1e6))
    factors = np.ones(shape)
    y, x = random.integers(0, shape[0], count), random.integers(0, shape[1], count)
    factors[y, x] = np.where(random.random(count) < 0.85, random.uniform(0.05, 0.88, count), random.uniform(1.12, 1.3))
    length = shape[0] // 6
    start = random.integers(0, shape[0] - length)
    factors[start : start + length, random.integers(0, shape[1])] *= 0.7  # a trap in a column
    return factors != 1.0, factors


def _dust(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.float64]:
    """Shadows of dust on the window: rings a few per cent deep."""
    shadow = np.ones(shape)
    for _ in range(3):
        y0, x0 = random.uniform(0, shape[0]), random.uniform(0, shape[1])
        outer, depth = random.uniform(12, 22), random.uniform(0.015, 0.04)
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
        distance = np.hypot(x - x0, y - y0)
        ring = (distance < outer) & (distance > 0.4 * outer)
        shadow -= depth * gaussian_filter(ring.astype(float), 1.5)
    return shadow


def _fringes(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.float32]:
    """Interference in the silicon: contour lines of its thickness, of mean 0 and amplitude 1."""
    coarse = gaussian_filter(random.standard_normal((shape[0] // 8 + 8, shape[1] // 8 + 8)), 8)
    thickness = zoom(coarse / coarse.std(), 8, order=3)[: shape[0], : shape[1]]
    pattern = np.cos(2 * np.pi * 2.5 * thickness)
    return np.asarray(pattern - pattern.mean(), dtype=np.float32)
