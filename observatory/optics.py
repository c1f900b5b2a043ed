"""Where the chips sit in the focal plane, and how the sky is drawn on them (TAN with a cubic distortion, as TPV)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

PIXEL_SCALE = 0.5  # arcsec
GAP = 40  # pixels between chips
# Pincushion distortion [degree**-2]: 1.5 arcsec at 9.5 arcmin from the axis, as in a wide-field corrector.
DISTORTION = 0.105


@dataclass(frozen=True)
class Place:
    """Place of a chip in the focal plane: pixel offset of its centre from the optical axis, and how it is turned."""

    centre_x: float
    centre_y: float
    turn: float  # degrees
    columns: int
    rows: int

    @property
    def matrix(self) -> NDArray[np.float64]:
        """From the chip's pixel axes to those of the focal plane."""
        angle = np.deg2rad(self.turn)
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def focal(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return focal-plane coordinates [pixel] of every pixel of the chip."""
        y, x = np.mgrid[0 : self.rows, 0 : self.columns]
        dx, dy = x - (self.columns - 1) / 2, y - (self.rows - 1) / 2
        matrix = self.matrix
        u = matrix[0, 0] * dx + matrix[0, 1] * dy + self.centre_x
        v = matrix[1, 0] * dx + matrix[1, 1] * dy + self.centre_y
        return u, v


def place_chips(chips: int, columns: int, rows: int, jitter: NDArray[np.float64]) -> list[Place]:
    """Lay chips out in two columns; the upper half is turned by 180°, as mosaics have their outputs at the edges.

    `jitter` (chips × 3) shifts them by parts of a pixel and turns them by hundredths of a degree.
    """
    across = 1 if chips == 1 else 2
    down = -(-chips // across)
    places = []
    for index in range(chips):
        column, row = index % across, index // across
        x = (column - (across - 1) / 2) * (columns + GAP)
        y = (row - (down - 1) / 2) * (rows + GAP)
        turn = 180.0 if down > 1 and row >= down / 2 else 0.0
        dx, dy, dturn = jitter[index]
        places.append(Place(x + dx, y + dy, turn + 0.05 * dturn, columns, rows))
    return places


def wcs_header(place: Place, ra: float, dec: float, prescan: int = 0, turn: float = 0.0) -> fits.Header:
    """Return the WCS cards of a chip whose optical axis points at (`ra`, `dec`), the whole camera turned [degree]."""
    scale = PIXEL_SCALE / 3600
    matrix = place.matrix
    axis = np.linalg.solve(matrix, [-place.centre_x, -place.centre_y])
    header = fits.Header()
    header["RADESYS"] = "ICRS"
    header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--TPV"
    header["CUNIT1"], header["CUNIT2"] = "deg", "deg"
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"] = axis[0] + (place.columns + 1) / 2 + prescan
    header["CRPIX2"] = axis[1] + (place.rows + 1) / 2
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    on_sky = scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0, 1.0]) @ matrix
    header["CD1_1"], header["CD1_2"] = on_sky[0]
    header["CD2_1"], header["CD2_2"] = on_sky[1]
    for axis_number in (1, 2):
        header[f"PV{axis_number}_1"] = 1.0
        header[f"PV{axis_number}_7"] = DISTORTION
        header[f"PV{axis_number}_9"] = DISTORTION
    return header


def sky_to_chip(
    header: fits.Header, ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return pixel coordinates (0-based) of sky positions by the inverse of the WCS in `header`."""
    x, y = WCS(header).all_world2pix(ra, dec, 0, tolerance=1e-6, maxiter=50)
    return np.asarray(x), np.asarray(y)
