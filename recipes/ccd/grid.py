"""The common grid of the sky: one endless tangent plane of square pixels, of which every frame covers a box.

Frames of one grid add up pixel by pixel: each has its own box of it, by whole pixels from the tangent point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.wcs import celestial, sky_positions
from recipes.errors import UsageError

Floats = NDArray[np.float64]
Projection = Literal["TAN", "SIN", "ARC", "STG", "ZEA"]

# The parts of a grid are rounded, so that grids that are meant to be one are one: 0.4 mas, and 1e-4 of a small pixel.
_DECIMALS_OF_CENTRE = 7
_DECIMALS_OF_SCALE = 6
_BORDER_STEP = 16
_FARTHEST = 80.0  # degrees from the tangent point: beyond, a tangent plane has no pixels worth having
_LONGEST_SIDE = 100_000
# A frame whose pixels fall on those of the grid but for rounding has no pixel more than it had.
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class Grid:
    """A grid of square pixels in a plane that touches the sky, north up and east to the left.

    Parameters
    ----------
    ra, dec : float
        Where the plane touches the sky: the centre of pixel (0, 0) [degree, ICRS].
    pixel_scale : float
        Side of a pixel there [arcsec].
    projection : {"TAN", "SIN", "ARC", "STG", "ZEA"}
        Zenithal projection (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1).

    Raises
    ------
    UsageError
        A centre that is not on the sky, a pixel scale that is none, or another projection.
    """

    ra: float
    dec: float
    pixel_scale: float
    projection: str = "TAN"

    def __post_init__(self) -> None:
        if self.projection not in get_args(Projection):
            raise UsageError(f"there is no projection {self.projection!r} for a grid",
                             hint=f"the projections are: {', '.join(get_args(Projection))}")  # fmt: skip
        if not (math.isfinite(self.ra) and -90.0 <= self.dec <= 90.0):
            raise UsageError(f"a grid cannot be centred at right ascension {self.ra}, declination {self.dec}")
        if not 1e-4 <= self.pixel_scale <= 3600.0:
            raise UsageError(f"a grid cannot have pixels of {self.pixel_scale} arcsec")
        object.__setattr__(self, "ra", round(self.ra % 360.0, _DECIMALS_OF_CENTRE) % 360.0)
        object.__setattr__(self, "dec", round(float(self.dec), _DECIMALS_OF_CENTRE))
        object.__setattr__(self, "pixel_scale", round(float(self.pixel_scale), _DECIMALS_OF_SCALE))

    @property
    def name(self) -> str:
        """What frames of one grid have in common, such as ``TAN 150.1165000 +2.2058000 0.213000``."""
        return f"{self.projection} {self.ra:.7f} {self.dec:+.7f} {self.pixel_scale:.6f}"

    @classmethod
    def parse(cls, name: str) -> Grid:
        """Return the grid of that name; raise UsageError where it is none."""
        try:
            projection, ra, dec, pixel_scale = name.split()
            return cls(float(ra), float(dec), float(pixel_scale), projection)
        except ValueError:
            raise UsageError(
                f"{name!r} does not name a grid", hint="a name is like 'TAN 150.1165 +2.2058 0.2'"
            ) from None

    def cards(self, x0: int, y0: int) -> dict[str, Any]:
        """Return the FITS cards of an image whose first pixel is the grid's pixel (`x0`, `y0`)."""
        step = self.pixel_scale / 3600.0
        return {
            "WCSAXES": 2,
            "CTYPE1": f"RA---{self.projection}",
            "CTYPE2": f"DEC--{self.projection}",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CRVAL1": self.ra,
            "CRVAL2": self.dec,
            "CRPIX1": float(1 - x0),
            "CRPIX2": float(1 - y0),
            "CD1_1": -step,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
            "CD2_2": step,
            "RADESYS": "ICRS",
        }

    def origin(self, cards: Mapping[str, Any]) -> tuple[int, int]:
        """Return the grid's pixel that is the first of an image with these cards, or raise UsageError."""
        own = self.cards(0, 0)
        try:
            first = [1.0 - float(cards["CRPIX1"]), 1.0 - float(cards["CRPIX2"])]
            same = all(
                abs(float(cards[key]) - float(own[key])) < 1e-9 for key in ("CRVAL1", "CRVAL2", "CD1_1", "CD2_2")
            )
        except (KeyError, TypeError, ValueError):
            first, same = [0.5, 0.5], False
        whole = [round(value) for value in first]
        if not same or max(abs(value - place) for value, place in zip(first, whole, strict=True)) > _SAME_PLACE:
            raise UsageError(f"its coordinate system is not that of the grid {self.name}")
        return whole[0], whole[1]

    @cached_property
    def _plane(self) -> Any:
        return celestial(self.cards(0, 0))

    def pixels(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Return the grid's pixels of positions [degree, ICRS]; NaN beyond 80° from the centre."""
        distance = self._cosine_of_distance(np.asarray(ra), np.asarray(dec))
        seen = distance > math.cos(math.radians(_FARTHEST))
        x, y = self._plane.wcs_world2pix(np.where(seen, ra, self.ra), np.where(seen, dec, self.dec), 0)
        return np.where(seen, x, np.nan), np.where(seen, y, np.nan)

    def sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return right ascension and declination [degree, ICRS] of the grid's pixels."""
        ra, dec = self._plane.wcs_pix2world(x, y, 0)
        return np.asarray(ra), np.asarray(dec)

    def box(
        self, cards_of_frame: Mapping[str, Any], shape: tuple[int, int], name: str = "a frame"
    ) -> tuple[int, int, int, int]:
        """Return the part of the grid that a frame covers.

        Parameters
        ----------
        cards_of_frame : mapping
            Coordinate system of the frame.
        shape : tuple of int
            Its rows and columns.
        name : str
            How errors call it.

        Returns
        -------
        x0, y0, width, height : int
            First pixel of the grid and size of the box in which the centres of the frame's pixels lie.

        Raises
        ------
        UsageError
            The frame has no coordinate system, or lies nowhere near the grid's centre.
        """
        wcs = celestial(cards_of_frame) if cards_of_frame else None
        if wcs is None:
            raise UsageError(f"{name} has no coordinate system, so no place on a grid",
                             hint="run Science with a reference catalogue on it")  # fmt: skip
        x, y = self.pixels(*sky_positions(wcs, *_border(shape)))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise UsageError(f"{name} lies more than {_FARTHEST:g}° from the centre of the grid {self.name}",
                             hint="leave grid_centres empty, or give a centre near the frame")  # fmt: skip
        x0, y0 = math.floor(x.min() + _SAME_PLACE), math.floor(y.min() + _SAME_PLACE)
        width = math.ceil(x.max() - _SAME_PLACE) - x0 + 1
        height = math.ceil(y.max() - _SAME_PLACE) - y0 + 1
        if max(width, height) > _LONGEST_SIDE:
            raise UsageError(f"{name} would be {width}×{height} pixels on the grid {self.name}",
                             hint="its coordinate system may be wrong, or the grid's pixels too small")  # fmt: skip
        return x0, y0, width, height

    def _cosine_of_distance(self, ra: Floats, dec: Floats) -> Floats:
        delta, north = np.radians(dec), math.radians(self.dec)
        turn = np.radians(ra - self.ra)
        return np.asarray(math.sin(north) * np.sin(delta) + math.cos(north) * np.cos(delta) * np.cos(turn))


def _border(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return FITS positions of pixels along the border of an image of `shape`, corners included."""
    height, width = shape
    along_x = np.linspace(1, width, max(2, width // _BORDER_STEP + 2))
    along_y = np.linspace(1, height, max(2, height // _BORDER_STEP + 2))
    ones_x, ones_y = np.ones_like(along_x), np.ones_like(along_y)
    x = np.concatenate([along_x, along_x, ones_y, width * ones_y])
    y = np.concatenate([ones_x, height * ones_x, along_y, along_y])
    return x, y
