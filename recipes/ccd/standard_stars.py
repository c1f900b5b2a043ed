"""Stars of known magnitude on a frame: those of a reference catalogue, found among the frame's sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.attributes import FrameAttributes
from recipes.ccd.photometric_band import Transformation, name_of, numbers_of
from recipes.ccd.reference_stars import epoch_of
from recipes.ccd.tangent_plane import directions, local_axes, project, separation, unit_vectors
from recipes.ccd.wcs import sky_positions
from recipes.errors import UsageError
from recipes.frame import number_of
from recipes.tables import Column, Table

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

UNKNOWN_ERROR = 0.02  # mag, of a star whose error the catalogue does not tell and has of no other star
LARGEST_ERROR = 0.3  # mag: what is known worse is no standard
LEAST_SEARCH, WIDEST_SEARCH = 1.0, 10.0  # arcsec
DOMINANT = 5.0  # a star is told from others in reach by being so many times as bright as any of them
_MAS = 1 / 3.6e6  # degree


@dataclass(frozen=True)
class Standards:
    """Stars of a catalogue near a frame: positions [degree, ICRS, at the exposure], magnitudes and colours.

    ``position_error`` is on the sky [arcsec]; unknown errors of magnitudes were filled, unknown colours are NaN.
    """

    ra: Floats
    dec: Floats
    position_error: Floats
    magnitude: Floats
    error: Floats
    colour: Floats
    colour_error: Floats
    number: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ra)


def standards_near(
    catalogue: Table, frame: FrameAttributes, filter_: Transformation, ra: float, dec: float, radius: float
) -> Standards:
    """Return the stars of `catalogue` with a magnitude in the band, within `radius` [degree] of a position.

    Raises
    ------
    UsageError
        The catalogue has no positions.
    """
    ra_all, dec_all = numbers_of(catalogue, "RA"), numbers_of(catalogue, "DEC")
    magnitude = numbers_of(catalogue, f"MAG_{filter_.band}")
    if ra_all is None or dec_all is None or magnitude is None:
        raise UsageError(f"the reference catalogue {name_of(catalogue)} has no columns RA, DEC and MAG_{filter_.band}",
                         hint="ingest it with a column map")  # fmt: skip
    error = _errors(catalogue, filter_.band, len(magnitude))
    usable = np.isfinite(ra_all) & (np.abs(dec_all) <= 90) & np.isfinite(magnitude) & (error < LARGEST_ERROR)
    margin = 0.05  # degree: farther no star moves in a century
    near = np.flatnonzero(usable)
    near = near[separation(ra_all[near], dec_all[near], ra, dec) <= radius + margin]
    moved = _at_epoch(catalogue, frame, ra_all[near], dec_all[near], near)
    colour, colour_error = _colours(catalogue, filter_, near)
    position_error = np.zeros(len(near))
    for name in ("RA_ERROR", "DEC_ERROR"):
        known = numbers_of(catalogue, name)
        if known is not None:
            position_error = np.maximum(position_error, np.nan_to_num(known[near]))
    return Standards(*moved, position_error, magnitude[near] + filter_.shift, error[near], colour, colour_error,
                     near.astype(np.int64))  # fmt: skip


def _errors(catalogue: Table, band: str, count: int) -> Floats:
    """Return the magnitudes' errors; those that are not known are as the usual known one."""
    found = numbers_of(catalogue, f"MAGERR_{band}")
    error = np.full(count, np.nan) if found is None else found.copy()
    known = np.isfinite(error) & (error > 0)
    error[~known] = max(float(np.median(error[known])), UNKNOWN_ERROR) if known.any() else UNKNOWN_ERROR
    return error


def _colours(catalogue: Table, filter_: Transformation, near: NDArray[np.int64]) -> tuple[Floats, Floats]:
    if filter_.colour_bands is None:
        return np.full(len(near), np.nan), np.zeros(len(near))
    first, second = filter_.colour_bands
    magnitudes = [numbers_of(catalogue, f"MAG_{band}") for band in (first, second)]
    errors = [_errors(catalogue, band, len(catalogue))[near] for band in (first, second)]
    assert magnitudes[0] is not None  # noqa: S101  # a transformation has only colours of the catalogue
    assert magnitudes[1] is not None  # noqa: S101
    return magnitudes[0][near] - magnitudes[1][near], np.hypot(*errors)


def _at_epoch(
    catalogue: Table, frame: FrameAttributes, ra: Floats, dec: Floats, near: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return positions moved to the exposure's epoch by the proper motions that are known."""
    now, epoch = epoch_of(frame), number_of(catalogue.attributes, "epoch")
    motions = [numbers_of(catalogue, name) for name in ("PMRA", "PMDEC")]
    if now is None or epoch is None or motions[0] is None or motions[1] is None:
        return ra, dec
    east, north = local_axes(ra, dec)
    steps = [np.deg2rad(_MAS) * (now - epoch) * np.nan_to_num(motion[near]) for motion in motions if motion is not None]
    return directions(unit_vectors(ra, dec) + steps[0][:, None] * east + steps[1][:, None] * north)


@dataclass(frozen=True)
class Matches:
    """Which source each standard is: places in both lists, and for each standard on the chip that has none, why."""

    standard: NDArray[np.int64]
    source: NDArray[np.int64]
    missing: dict[str, int]
    offset: tuple[float, float]


def match_standards(
    standards: Standards, sources: Mapping[str, Column], wcs: Any, shape: tuple[int, int], search: float
) -> Matches:
    """Find the standards among the sources of a frame.

    Within a star's search radius (that of the coordinates, or of its own position where that is worse) the source must
    be alone, or far brighter than all others; and it must not be in reach of another standard.

    Parameters
    ----------
    standards : Standards
        Stars of known magnitude.
    sources : mapping of Column
        XWIN_IMAGE, YWIN_IMAGE, FLUX_AUTO of the sources.
    wcs : astropy WCS
        Of the frame.
    shape : tuple of int
        Rows and columns of the frame.
    search : float
        Radius within which the coordinates are right [arcsec].

    Returns
    -------
    Matches
        Pairs, and counts of standards without one by reason.
    """
    from scipy.spatial import cKDTree

    ra0, dec0 = (float(value[0]) for value in sky_positions(wcs, [shape[1] / 2 + 0.5], [shape[0] / 2 + 0.5]))
    there = np.column_stack(project(standards.ra, standards.dec, ra0, dec0)) * 3600
    x, y = sources["XWIN_IMAGE"].values, sources["YWIN_IMAGE"].values
    here = np.column_stack(project(*sky_positions(wcs, x, y), ra0, dec0)) * 3600
    flux = sources["FLUX_AUTO"].values
    on_chip = _on_chip(there, wcs, shape, ra0, dec0)
    reach = np.clip(np.maximum(search, 3 * standards.position_error), LEAST_SEARCH, WIDEST_SEARCH)
    pairs: list[tuple[int, int]] = []
    missing = {"not found": 0, "in reach of several sources": 0, "the same source as another": 0}
    if not len(here):
        return Matches(*(np.empty(0, np.int64),) * 2, {"not found": int(on_chip.sum())}, (0.0, 0.0))
    tree = cKDTree(here)
    for star in np.flatnonzero(on_chip):
        found = np.array(tree.query_ball_point(there[star], reach[star]), dtype=np.int64)
        if not len(found):
            missing["not found"] += 1
            continue
        found = found[np.argsort(-flux[found], kind="stable")]
        if len(found) > 1 and flux[found[0]] < DOMINANT * flux[found[1]]:
            missing["in reach of several sources"] += 1
            continue
        pairs.append((int(star), int(found[0])))
    counts = np.bincount([source for _, source in pairs], minlength=1)
    alone = [(star, source) for star, source in pairs if counts[source] == 1]
    missing["the same source as another"] = len(pairs) - len(alone)
    stars, partners = (np.array([pair[side] for pair in alone], dtype=np.int64) for side in (0, 1))
    offset = np.median(here[partners] - there[stars], axis=0) if alone else np.zeros(2)
    return Matches(stars, partners, {reason: count for reason, count in missing.items() if count},
                   (float(offset[0]), float(offset[1])))  # fmt: skip


def _on_chip(there: Floats, wcs: Any, shape: tuple[int, int], ra0: float, dec0: float) -> Bools:
    """Return which points of the tangent plane [arcsec] lie on the chip, by an affine map: good to some pixels."""
    rows, columns = shape
    x = np.array([1, columns, 1, columns, (columns + 1) / 2])
    y = np.array([1, 1, rows, rows, (rows + 1) / 2])
    corners = np.column_stack(project(*sky_positions(wcs, x, y), ra0, dec0)) * 3600
    affine, *_ = np.linalg.lstsq(np.column_stack([corners, np.ones(5)]), np.column_stack([x, y]), rcond=None)
    pixel = np.column_stack([there, np.ones(len(there))]) @ affine
    inside = (pixel > 0.5) & (pixel < np.array([columns, rows]) + 0.5)
    return np.asarray(inside.all(axis=1))
