"""Small detectors of known read noise, gain, bias and flat field, for nights of cameras that nobody has told us of."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

STARS = 60
FLAT_ELECTRONS = 22_000.0
SKY_ELECTRONS = 400.0
EVENING = datetime.datetime(2021, 3, 14, 20, 0, 0, 250000, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Exposure:
    """What the observer asked for."""

    kind: str  # bias, dark, flat, twilight, science
    number: int
    seconds: float
    filter: str = "V"
    start: datetime.datetime = EVENING
    temperature: float = -20.0
    object: str = ""
    binning: int = 1
    right_ascension: float = 83.8221  # degree
    declination: float = -5.3911

    @property
    def date(self) -> str:
        """Return the date of its beginning."""
        return self.start.strftime("%Y-%m-%d")

    @property
    def time(self) -> str:
        """Return the time of its beginning."""
        return self.start.strftime("%H:%M:%S.%f")[:-3]

    @property
    def mjd(self) -> float:
        """Return its beginning as modified Julian date."""
        return (self.start - datetime.datetime(1858, 11, 17, tzinfo=datetime.UTC)).total_seconds() / 86400

    def sidereal(self, longitude: float) -> str:
        """Return the mean sidereal time of its beginning at a longitude [deg, east]."""
        days = (self.start - datetime.datetime(2000, 1, 1, 12, tzinfo=datetime.UTC)).total_seconds() / 86400
        return _sexagesimal((18.697374558 + 24.06570982441908 * days + longitude / 15) % 24)

    @property
    def ra_text(self) -> str:
        """Return the right ascension in hours, minutes and seconds."""
        return _sexagesimal(self.right_ascension / 15)

    @property
    def dec_text(self) -> str:
        """Return the declination in degrees, minutes and seconds."""
        return ("-" if self.declination < 0 else "+") + _sexagesimal(abs(self.declination))


@dataclass(frozen=True)
class Output:
    """One amplifier of a detector, and the light-sensitive pixels it reads."""

    gain: float = 1.5  # electron/adu
    read_noise: float = 5.0  # adu
    bias: float = 1000.0  # adu
    prescan: int = 0
    overscan: int = 0
    width: int = 200
    height: int = 180
    step: int = 1  # adu between two values: 16 for a converter of 12 bits that is stored in 16
    seed: int = 1
    flipped: bool = False  # read from the right: the prescan stands at the right end
    maximum: float = 65535.0
    dark_rate: float = 0.02  # electron/s
    flat_electrons: float = FLAT_ELECTRONS

    @property
    def true_read_noise(self) -> float:
        """Return the read noise with that of the converter's steps [adu]."""
        return float(np.hypot(self.read_noise, self.step / np.sqrt(12)))

    def expose(self, exposure: Exposure, exact: bool = False) -> NDArray[np.float64]:
        """Return the array of one exposure [adu]: prescan, light, overscan."""
        rng = np.random.default_rng([self.seed, exposure.number, len(exposure.kind), int(exposure.seconds)])
        of_pixel = replace(self, width=self.width // exposure.binning, height=self.height // exposure.binning)
        light = rng.poisson(of_pixel._electrons(exposure)) / self.gain
        full = np.zeros((of_pixel.height, self.prescan + of_pixel.width + self.overscan))
        full[:, self.prescan : self.prescan + of_pixel.width] = light
        full += self.bias + rng.normal(0, self.read_noise, full.shape)
        full += 3.0 * np.sin(np.arange(of_pixel.height) / 30)[:, np.newaxis]  # a level that differs from row to row
        if not exact:
            full = np.clip(np.round(full / self.step) * self.step, 0, self.maximum)
        return full[:, ::-1] if self.flipped else full

    def _electrons(self, exposure: Exposure) -> NDArray[np.float64]:
        y, x = np.mgrid[0 : self.height, 0 : self.width]
        dark = np.full((self.height, self.width), self.dark_rate * exposure.seconds)
        if exposure.kind in {"bias", "dark"}:
            return dark
        response = 1 + np.random.default_rng(self.seed + 1000).normal(0, 0.01, dark.shape)
        response *= 1 - 0.15 * ((x / self.width - 0.5) ** 2 + (y / self.height - 0.5) ** 2)
        if exposure.kind in {"flat", "twilight"}:
            fading = 1 - 0.04 * (exposure.number % 100 // 2) if exposure.kind == "twilight" else 1.0
            level = min(self.flat_electrons, 0.45 * self.maximum * self.gain)
            return level * fading * response + dark
        stars = np.random.default_rng(self.seed + 2000)
        sky = np.full(dark.shape, SKY_ELECTRONS)
        places = zip(stars.uniform(8, self.width - 8, STARS), stars.uniform(8, self.height - 8, STARS), strict=True)
        for (x0, y0), flux in zip(places, 10 ** stars.uniform(3.3, 5.3, STARS), strict=True):
            sky += flux / (2 * np.pi * 1.6**2) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * 1.6**2))
        return sky * response + dark


@dataclass(frozen=True)
class Plan:
    """How many exposures of each kind a night has."""

    bias: int = 5
    dark: int = 0
    flat: int = 6
    twilight: int = 0
    science: int = 2
    filters: Sequence[str] = ("V",)
    seconds: dict[str, float] = field(default_factory=dict)
    evening: datetime.datetime = EVENING
    temperature: float = -20.0
    binning: int = 1

    def exposures(self) -> list[Exposure]:
        """Return them in the order of the night."""
        usual = {"bias": 0.0, "dark": 60.0, "flat": 8.0, "twilight": 4.0, "science": 60.0}
        made: list[Exposure] = []
        for kind, seconds in (usual | self.seconds).items():
            for name in self.filters if kind not in {"bias", "dark"} else ("",):
                for _ in range(getattr(self, kind)):
                    made.append(
                        Exposure(
                            kind,
                            len(made) + 1,
                            seconds,
                            name,
                            self.evening + datetime.timedelta(minutes=2 * len(made)),
                            self.temperature + 0.1 * (len(made) % 3 - 1),
                            "M42" if kind == "science" else "",
                            self.binning,
                        )
                    )
        return made


def _sexagesimal(value: float) -> str:
    minutes, seconds = divmod(round(value * 3600, 2), 60)
    whole, minutes = divmod(int(minutes), 60)
    return f"{whole:02d}:{minutes:02d}:{seconds:05.2f}"
