"""What is to be observed: the plan of a night, and its exposures in the order of the clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np

from observatory.streams import stream

Type = Literal["BIAS", "DARK", "DOMEFLAT", "TWILIGHT", "SCIENCE"]

# Cerro Paranal, as a place where a night of March reaches from one UT date into the next.
SITE_LATITUDE = -24.627
SITE_LONGITUDE = -70.405

DOME_RATE = 4600.0  # electron/s a pixel of the lamps, of our choice: 8 s give about 24 kadu
TWILIGHT_LEVELS = (100_000.0, 62_000.0, 46_000.0, 34_000.0, 25_000.0, 18_000.0)  # electrons; the first is too bright
DITHER_ARCSEC = 45.0
SCIENCE_FIELD, STANDARD_FIELD = "SIMFIELD-1", "SIMSTD-1"
POINTING_SCATTER = 4.0  # arcsec, between the exposures of a night


@dataclass(frozen=True)
class Plan:
    """A night to render; everything that decides the bytes of its files.

    Parameters
    ----------
    date : datetime.date
        Date of the evening.
    seed : int
        Camera, sky and noise follow from it.
    chips : int
        Chips of the mosaic, in two columns.
    columns, rows : int
        Light-sensitive pixels of a chip.
    filters : tuple of str
        Of ``g, r, i, z``; i and z show fringes.
    ra, dec : float
        Centre of the field [degree].
    standard_ra, standard_dec : float
        Centre of the field of standard stars [degree].
    biases, darks, dome_flats, twilight_flats, science : int
        Exposures of each type (the last three for each filter). Dome flats are those of 8 s, for the flat field.
    standards : int
        Exposures of the field of standard stars for each filter.
    transfer_times : tuple of float
        Exposure times of the pairs of dome flats for the photon transfer [s], in the first filter.
    exposure_time, standard_time : float
        Of the science exposures and of those of standard stars [s].
    dark_time : float
        Of the darks [s].
    overscan, prescan : int
        Columns without light, after and before the image; 0 for a camera without.
    trails : int
        Science exposures (the second and so on) that a satellite crosses.
    cosmic_rays : float
        Hits for each second and million pixels.
    pointing_error : float
        How far the header's coordinates are off all night [arcsec], in a direction that the seed decides; besides it
        every exposure is off by some arcsec of its own (nothing at all where this is 0).
    rotation_error : float
        How far the header's coordinates are turned about the pointing [degree].
    illumination : float
        Size of what flats get wrong about illumination [mag] (observatory/illumination.py).
    """

    date: date = date(2026, 3, 14)
    seed: int = 1
    chips: int = 4
    columns: int = 512
    rows: int = 1024
    filters: tuple[str, ...] = ("r",)
    ra: float = 132.8
    dec: float = -27.0
    standard_ra: float = 171.0
    standard_dec: float = -2.0
    biases: int = 7
    darks: int = 3
    dome_flats: int = 6
    transfer_times: tuple[float, ...] = (1.0, 2.0, 4.0, 12.0, 16.0)
    twilight_flats: int = 6
    science: int = 5
    standards: int = 0
    exposure_time: float = 120.0
    standard_time: float = 30.0
    dark_time: float = 300.0
    overscan: int = 32
    prescan: int = 8
    trails: int = 1
    cosmic_rays: float = 1.0
    pointing_error: float = 20.0
    rotation_error: float = 0.1
    illumination: float = 0.03

    def __post_init__(self) -> None:
        if self.columns < 64 or self.rows < 64:
            raise ValueError("a chip has at least 64 × 64 pixels")
        if not 1 <= self.chips <= 64:
            raise ValueError("the mosaic has 1 to 64 chips")

    @property
    def fields(self) -> dict[str, tuple[float, float]]:
        """Names and centres [degree] of the fields that are observed."""
        fields = {SCIENCE_FIELD: (self.ra, self.dec)}
        return fields | ({STANDARD_FIELD: (self.standard_ra, self.standard_dec)} if self.standards else {})


# What the command line observes by default: two filters for colours, and a field of standard stars.
NIGHT = Plan(filters=("r", "g"), biases=5, transfer_times=(1.0, 2.0, 4.0, 16.0), dome_flats=5, twilight_flats=5,
             standards=1)  # fmt: skip


@dataclass(frozen=True)
class Exposure:
    """One exposure of the whole mosaic.

    ``level`` is the mean of the illumination in electrons at the mosaic's centre (flats); ``centre`` the field's centre
    in degrees, ``offset`` the dither in arcsec (east, north) and ``pointing_error`` what the header's WCS is wrong by,
    in the same sense.
    """

    number: int
    type: Type
    object: str
    start: datetime
    exposure_time: float
    filter: str | None = None
    level: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)
    offset: tuple[float, float] = (0.0, 0.0)
    pointing_error: tuple[float, float] = (0.0, 0.0)
    fwhm: float = 1.6
    trail: bool = False

    @property
    def is_of_the_sky(self) -> bool:
        """Whether stars are on it."""
        return self.type in ("TWILIGHT", "SCIENCE")

    @property
    def middle(self) -> datetime:
        """UT at mid-exposure."""
        return self.start + timedelta(seconds=self.exposure_time / 2)


def airmass_of(ra: float, dec: float, when: datetime) -> float:
    """Return the airmass of a position at the site, plane-parallel, never more than 10."""
    days = (when - datetime(2000, 1, 1, 12)) / timedelta(days=1)  # noqa: DTZ001 - UT
    sidereal = 280.46062 + 360.98564737 * days + SITE_LONGITUDE  # IAU 1982, to an arcsecond or so
    hour_angle, latitude, declination = np.deg2rad([sidereal - ra, SITE_LATITUDE, dec])
    sine = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    return float(1 / max(sine, 0.1))


@dataclass
class _Clock:
    """Gives exposures their numbers and times."""

    now: datetime
    exposures: list[Exposure] = field(default_factory=list)

    def expose(self, kind: Type, object_: str, exposure_time: float, **more: object) -> None:
        number = len(self.exposures) + 1
        self.exposures.append(Exposure(number, kind, object_, self.now, exposure_time, **more))  # type: ignore[arg-type]
        self.now += timedelta(seconds=round(exposure_time) + 31)

    def wait_until(self, hours: float, evening: date) -> None:
        self.now = max(self.now, datetime(evening.year, evening.month, evening.day) + timedelta(hours=hours))  # noqa: DTZ001 - all times are UT, as FITS has them


def schedule(plan: Plan) -> list[Exposure]:
    """Return the exposures of the night: calibrations in the afternoon, twilight, then the dithered field."""
    clock = _Clock(datetime(plan.date.year, plan.date.month, plan.date.day, 19, 30))  # noqa: DTZ001 - UT
    random = stream(plan.seed, "schedule", plan.date.toordinal())
    for _ in range(plan.biases):
        clock.expose("BIAS", "bias", 0.0)
    for _ in range(plan.darks):
        clock.expose("DARK", "dark", plan.dark_time)
    for name in plan.filters:
        _dome(clock, plan, name, random, plan.transfer_times if name == plan.filters[0] else ())
    clock.wait_until(23.2, plan.date)
    for name in plan.filters:
        _twilight(clock, plan, name, random)
    clock.wait_until(25.7, plan.date)
    for name in plan.filters:
        _standards(clock, plan, name, random)
    clock.wait_until(26.0, plan.date)
    for name in plan.filters:
        _science(clock, plan, name, random)
    return clock.exposures


def _dome(clock: _Clock, plan: Plan, name: str, random: np.random.Generator, transfer: tuple[float, ...]) -> None:
    """Pairs for the photon transfer, then the flats; the lamps drift by a part in a thousand."""
    pairs = [time for time in transfer for _ in range(2)]
    for time, what in [(time, "dome flat transfer") for time in pairs] + [(8.0, "dome flat")] * plan.dome_flats:
        level = DOME_RATE * time * (1 + 0.001 * random.standard_normal())
        clock.expose("DOMEFLAT", what, time, filter=name, level=level)


def _twilight(clock: _Clock, plan: Plan, name: str, random: np.random.Generator) -> None:
    for index in range(plan.twilight_flats):
        level = TWILIGHT_LEVELS[index % len(TWILIGHT_LEVELS)]
        offset = tuple(float(value) for value in random.uniform(-80, 80, 2))
        clock.expose("TWILIGHT", "twilight sky", 2.0 + index, filter=name, level=level,
                     centre=(plan.ra, plan.dec), offset=offset, pointing_error=_pointing_error(plan, random),
                     fwhm=_seeing(random))  # fmt: skip


def _standards(clock: _Clock, plan: Plan, name: str, random: np.random.Generator) -> None:
    for index in range(plan.standards):
        offset = (DITHER_ARCSEC * (index % 3), DITHER_ARCSEC * (index // 3))
        clock.expose("SCIENCE", STANDARD_FIELD, plan.standard_time, filter=name, offset=offset,
                     centre=plan.fields[STANDARD_FIELD], pointing_error=_pointing_error(plan, random),
                     fwhm=_seeing(random))  # fmt: skip


def _science(clock: _Clock, plan: Plan, name: str, random: np.random.Generator) -> None:
    for index in range(plan.science):
        angle = 2 * np.pi * index * 0.381966  # the golden angle: dithers on a spiral never fall on one line
        radius = DITHER_ARCSEC * np.sqrt(index / max(plan.science - 1, 1))
        offset = (float(radius * np.cos(angle)), float(radius * np.sin(angle)))
        clock.expose("SCIENCE", SCIENCE_FIELD, plan.exposure_time, filter=name, offset=offset,
                     centre=plan.fields[SCIENCE_FIELD], pointing_error=_pointing_error(plan, random),
                     fwhm=_seeing(random), trail=1 <= index <= plan.trails)  # fmt: skip


def _pointing_error(plan: Plan, random: np.random.Generator) -> tuple[float, float]:
    angle = stream(plan.seed, "pointing", plan.date.toordinal()).uniform(0, 2 * np.pi)
    east, north = random.normal(0.0, POINTING_SCATTER if plan.pointing_error else 0.0, 2)
    return float(east + plan.pointing_error * np.cos(angle)), float(north + plan.pointing_error * np.sin(angle))


def _seeing(random: np.random.Generator) -> float:
    return float(random.uniform(1.45, 1.85))
