"""How the sky lies on a chip: a polynomial from its pixels to the tangent plane, and its FITS cards.

Whatever a header holds (TAN, TPV, SIP, or another projection) is read through astropy and written as a TAN, or as a TPV
where there is distortion: the form that SWarp and SCAMP read, and that wcslib (astropy) and DS9 read alike; SIP is not
known to the former. TPV: the FITS registry of conventions, "TPV World Coordinate System".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.tangent_plane import deproject, project
from recipes.ccd.wcs import celestial, sky_positions

Floats = NDArray[np.float64]

HIGHEST_DEGREE = 7  # of TPV
EXACT = 1e-4  # pixels by which the polynomial may miss a header's own coordinates
_GRID = 23  # points along each axis at which a header's coordinates are looked up
# Number of the TPV coefficient of x**i y**j, on the first axis; on the second x and y change places.
TPV_TERM = {
    (i, degree - i): start + degree - i
    for degree, start in ((0, 0), (1, 1), (2, 4), (3, 7), (4, 12), (5, 17), (6, 24), (7, 31))
    for i in range(degree + 1)
}


def powers(degree: int) -> list[tuple[int, int]]:
    """Return the exponents (i, j) of the terms x**i y**j up to `degree`, in the order of i + j, then j."""
    return [(total - j, j) for total in range(degree + 1) for j in range(total + 1)]


def terms(u: Floats, v: Floats, degree: int) -> Floats:
    """Return the polynomial's terms, a column each."""
    rows_u, rows_v = [np.ones_like(u)], [np.ones_like(v)]
    for _ in range(degree):
        rows_u.append(rows_u[-1] * u)
        rows_v.append(rows_v[-1] * v)
    return np.stack([rows_u[i] * rows_v[j] for i, j in powers(degree)], axis=-1)


@dataclass(frozen=True)
class Plate:
    """A chip's pixels on the sky.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    origin : tuple of float
        Pixel (the first is 1) about which the polynomial runs, and that lies near the tangent point.
    reach : float
        Pixels from the origin to the farthest corner; the polynomial's variables are offsets divided by it.
    tangent : tuple of float
        Right ascension and declination of the tangent point [degree, ICRS].
    coefficients : array
        Terms by axes (xi towards east, eta towards north) [degree].
    """

    shape: tuple[int, int]
    origin: tuple[float, float]
    reach: float
    tangent: tuple[float, float]
    coefficients: Floats

    @property
    def degree(self) -> int:
        """Degree of the polynomial."""
        return next(degree for degree in range(10) if len(powers(degree)) == len(self.coefficients))

    @property
    def linear(self) -> Floats:
        """The linear part [degree/pixel]: rows are axes of the sky, columns of the chip."""
        return np.asarray(self.coefficients[1:3].T / self.reach)

    @property
    def pixel_scale(self) -> float:
        """Side of a pixel at the chip's centre [arcsec]."""
        x, y = self.centre
        step = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
        xi, eta = self.plane(x + step[0], y + step[1])
        area = (xi[1] - xi[0]) * (eta[2] - eta[0]) - (xi[2] - xi[0]) * (eta[1] - eta[0])
        return 3600 * math.sqrt(abs(float(area)))

    @property
    def centre(self) -> tuple[float, float]:
        """The chip's centre [pixel]."""
        return (self.shape[1] + 1) / 2, (self.shape[0] + 1) / 2

    @property
    def half_diagonal(self) -> float:
        """From centre to corner [arcsec]."""
        return float(np.hypot(*self.shape)) / 2 * self.pixel_scale

    def terms(self, x: Floats, y: Floats, degree: int) -> Floats:
        """Return the polynomial's terms at pixels."""
        return terms((x - self.origin[0]) / self.reach, (y - self.origin[1]) / self.reach, degree)

    def plane(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return tangent-plane coordinates [degree] of pixels."""
        found = self.terms(np.asarray(x, np.float64), np.asarray(y, np.float64), self.degree) @ self.coefficients
        return found[..., 0], found[..., 1]

    def sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return right ascension and declination [degree, ICRS] of pixels."""
        return deproject(*self.plane(x, y), *self.tangent)

    def moved(self, matrix: Floats, pivot: Floats, shift: Floats) -> Plate:
        """Return it with plane coordinates p changed into ``matrix (p - pivot) + pivot + shift`` [degree]."""
        changed = self.coefficients @ matrix.T
        changed[0] += pivot - matrix @ pivot + shift
        return replace(self, coefficients=changed).touching()

    def plus(self, correction: Floats) -> Plate:
        """Return it with a polynomial added, given as its coefficients."""
        size = max(len(correction), len(self.coefficients))
        total = np.zeros((size, 2))
        total[: len(self.coefficients)] += self.coefficients
        total[: len(correction)] += correction
        return replace(self, coefficients=total)

    def touching(self) -> Plate:
        """Return it with the tangent point moved to where its origin lies on the sky."""
        x, y = _grid_of(self.shape)
        ra, dec = self.sky(x, y)
        at = deproject(self.coefficients[0, 0], self.coefficients[0, 1], *self.tangent)
        plate = _fitted(self.shape, self.origin, (float(at[0]), float(at[1])), ra, dec, self.degree)
        coefficients = plate.coefficients.copy()
        coefficients[0] = 0.0  # what is left is rounding
        return replace(plate, coefficients=coefficients)

    def cards(self) -> dict[str, Any]:
        """Return the FITS cards: TAN, or TPV where there is more than a linear part."""
        name = "TPV" if self.degree > 1 else "TAN"
        found: dict[str, Any] = {"WCSAXES": 2, "RADESYS": "ICRS"}
        found |= {"CTYPE1": f"RA---{name}", "CTYPE2": f"DEC--{name}", "CUNIT1": "deg", "CUNIT2": "deg"}
        found |= {"CRVAL1": self.tangent[0], "CRVAL2": self.tangent[1]}
        found |= {"CRPIX1": self.origin[0], "CRPIX2": self.origin[1]}
        linear = self.linear
        found |= {f"CD{i + 1}_{j + 1}": float(linear[i, j]) for i in (0, 1) for j in (0, 1)}
        if self.degree > 1:
            found |= self._distortion(linear)
        return found

    def _distortion(self, linear: Floats) -> dict[str, float]:
        """Return the PV cards: the polynomial in the coordinates that the CD matrix gives."""
        to_pixels = np.linalg.inv(linear) / self.reach
        total: dict[tuple[int, int], Floats] = {}
        for (i, j), value in zip(powers(self.degree), self.coefficients, strict=True):
            for power, factor in _expanded(i, j, to_pixels).items():
                total[power] = total.get(power, np.zeros(2)) + factor * value
        cards = {"PV1_1": 1.0, "PV2_1": 1.0}
        for (i, j), (xi, eta) in sorted(total.items(), key=lambda entry: TPV_TERM[entry[0]]):
            if i + j >= 2:
                cards[f"PV1_{TPV_TERM[i, j]}"] = float(xi)
                cards[f"PV2_{TPV_TERM[j, i]}"] = float(eta)
        return dict(sorted(cards.items(), key=lambda card: (card[0][:3], int(card[0][4:]))))


def plate_of(cards: Mapping[str, Any], shape: tuple[int, int]) -> Plate | None:
    """Return the plate that a header's cards describe, or None where they are no coordinates of this chip.

    The polynomial is of the lowest degree that meets the cards to a ten thousandth of a pixel anywhere on the chip.
    """
    wcs = celestial(cards) if cards else None
    if wcs is None:
        return None
    x, y = _grid_of(shape)
    ra, dec = sky_positions(wcs, x, y)
    if not (np.isfinite(ra) & np.isfinite(dec)).all():
        return None
    origin = _origin(cards, shape)
    at = sky_positions(wcs, np.array([origin[0]]), np.array([origin[1]]))
    tangent = (float(at[0][0]), float(at[1][0]))
    if not np.isfinite(tangent).all() or np.isnan(project(ra, dec, *tangent)[0]).any():
        return None
    for degree in range(1, HIGHEST_DEGREE + 1):
        plate = _fitted(shape, origin, tangent, ra, dec, degree)
        xi, eta = project(ra, dec, *tangent)
        missed = np.hypot(*(np.array(plate.plane(x, y)) - (xi, eta))).max()
        if missed * 3600 < EXACT * plate.pixel_scale:
            break
    return plate.touching() if abs(np.linalg.det(plate.linear)) > 0 else None


def plate_from_pointing(shape: tuple[int, int], ra: float, dec: float, pixel_scale: float) -> Plate:
    """Return a plate with north up and east left whose centre is at the pointing [degree], pixels in arcsec."""
    centre = (shape[1] + 1) / 2, (shape[0] + 1) / 2
    reach = _reach(centre, shape)
    side = pixel_scale / 3600 * reach
    return Plate(shape, centre, reach, (ra, dec), np.array([[0.0, 0.0], [-side, 0.0], [0.0, side]]))


def _origin(cards: Mapping[str, Any], shape: tuple[int, int]) -> tuple[float, float]:
    """Return the header's reference pixel where it is on the chip or not far, else the chip's centre."""
    centre = (shape[1] + 1) / 2, (shape[0] + 1) / 2
    reference = float(cards.get("CRPIX1", centre[0])), float(cards.get("CRPIX2", centre[1]))
    near = math.hypot(reference[0] - centre[0], reference[1] - centre[1]) <= 1.5 * max(shape)
    return reference if near else centre


def _reach(origin: tuple[float, float], shape: tuple[int, int]) -> float:
    return max(math.hypot(x - origin[0], y - origin[1]) for x in (0.5, shape[1] + 0.5) for y in (0.5, shape[0] + 0.5))


def _grid_of(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return pixels spread over the chip, to its edges."""
    x, y = np.meshgrid(np.linspace(0.5, shape[1] + 0.5, _GRID), np.linspace(0.5, shape[0] + 0.5, _GRID))
    return x.ravel(), y.ravel()


def _fitted(
    shape: tuple[int, int], origin: tuple[float, float], tangent: tuple[float, float], ra: Floats, dec: Floats,
    degree: int,
) -> Plate:  # fmt: skip
    """Return the plate of `degree` that meets the positions at the grid's pixels best."""
    reach = _reach(origin, shape)
    empty = Plate(shape, origin, reach, tangent, np.zeros((len(powers(degree)), 2)))
    matrix = empty.terms(*_grid_of(shape), degree)
    found, *_ = np.linalg.lstsq(matrix, np.stack(project(ra, dec, *tangent), axis=-1), rcond=None)
    return replace(empty, coefficients=np.asarray(found, np.float64))


def _expanded(i: int, j: int, matrix: NDArray[Any]) -> dict[tuple[int, int], float]:
    """Return the terms of U**i V**j where (U, V) = `matrix` (u, v)."""
    found: dict[tuple[int, int], float] = {}
    for m in range(i + 1):
        for n in range(j + 1):
            factor = math.comb(i, m) * math.comb(j, n)
            factor *= matrix[0, 0] ** m * matrix[0, 1] ** (i - m) * matrix[1, 0] ** n * matrix[1, 1] ** (j - n)
            power = (m + n, i + j - m - n)
            found[power] = found.get(power, 0.0) + float(factor)
    return found
