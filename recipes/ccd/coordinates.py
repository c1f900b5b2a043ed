"""Where a frame lies, by all that is at hand: its header, a reference catalogue, another frame of the run.

A reference catalogue comes first. Where none has stars enough on the frame, it is aligned to the other frame's stars;
where neither finds it, its header's coordinates stay, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from recipes.ccd.astrometric_fit import LEAST_STARS
from recipes.ccd.astrometry import LEAST_FOR_OFFSET, Solution, solve
from recipes.ccd.flux_scale import MeasuredFrame
from recipes.ccd.plate import Plate, plate_from_pointing, plate_of
from recipes.ccd.reference_stars import ReferenceStars, reference_stars, stars_as_reference
from recipes.ccd.star_matching import Limits, pairs_within
from recipes.ccd.stars import Stars, find_stars
from recipes.ccd.tangent_plane import project
from recipes.ccd.wcs import LARGEST_PIXEL, SMALLEST_PIXEL
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.tables import Table

SAME_CAMERA_SCALE = 0.005  # by which two frames of one chip may differ in scale: focus and refraction
POINTING_SCALE = 0.05  # by which a declared pixel scale may be wrong
_QUADRANTS = (0.0, 90.0, 180.0, 270.0)
_OFFSET, _ROTATION, _SCALE = 120.0, 2.0, 0.03  # arcsec, degree and fraction that headers of telescopes are wrong by


@dataclass(frozen=True)
class Wanted:
    """How coordinates are to be found: limits of the first ones' errors [arcsec, degree, fraction], fit, clipping."""

    pointing_error: float
    rotation: float
    scale_error: float
    degree: int
    clip: float

    @property
    def of_header(self) -> list[Limits]:
        """Of coordinates that a header states: as the user allows, then turned by quadrants and mirrored."""
        wide = Limits(self.pointing_error, self.rotation, self.scale_error)
        usual = Limits(min(wide.offset, _OFFSET), min(wide.rotation, _ROTATION), min(wide.scale, _SCALE))
        # A wide search needs more evidence: what lies near is looked for first.
        nearby = [usual] if usual != wide else []
        return [*nearby, wide, replace(wide, turns=_QUADRANTS, mirrored=True)]

    @property
    def of_pointing(self) -> list[Limits]:
        """Of a pointing and a pixel scale: turned and mirrored in any way."""
        wide = Limits(self.pointing_error, 180.0, max(POINTING_SCALE, self.scale_error), mirrored=True)
        usual = Limits(min(wide.offset, _OFFSET), 180.0, POINTING_SCALE, mirrored=True)
        return [usual, wide] if usual != wide else [wide]

    def of_same_chip(self, plate: Plate) -> list[Limits]:
        """Of another frame's coordinates: anywhere on it, upright or, beyond the meridian, upside down."""
        side = max(plate.shape) * plate.pixel_scale
        return [Limits(side, self.rotation, SAME_CAMERA_SCALE, (0.0, 180.0))]


@dataclass(frozen=True)
class Coordinates:
    """Where a frame lies, and how that was found.

    ``confidence`` is ``good``, ``low`` (an offset from a few stars), ``relative`` (as another frame has it), ``header``
    (as its header has it, with too few stars to hold that to) or ``none`` (as its header has it, where stars enough do
    not agree with any reference). ``itself`` tells that it is the frame which others are aligned with, ``from_header``
    that the first coordinates were those of its header.
    """

    measured: MeasuredFrame
    solution: Solution
    references: ReferenceStars | None
    confidence: str
    reference: str
    other: MeasuredFrame | None = None
    itself: bool = False
    from_header: bool = True
    overlap_rms: float | None = None
    overlap_stars: int = 0
    notes: list[str] = field(default_factory=list)


def find_coordinates(frame: Frame, catalogue: Table | None, alignment: Frame | None, wanted: Wanted) -> Coordinates:
    """Find where `frame` lies on the sky.

    Raises
    ------
    UsageError
        It has no coordinates, and nothing is given that they could be found from.
    """
    itself = alignment is not None and is_same_exposure(frame, alignment)
    stars = find_stars(frame)
    other = None if alignment is None or itself else _other_frame(alignment, catalogue, wanted)
    notes: list[str] = []
    first, limits = _first(frame, stars, other, catalogue, wanted, notes)
    references = _of_catalogue(catalogue, frame, first, wanted)
    solution = solve(first, stars, references, limits, degree=wanted.degree, clip=wanted.clip)
    confidence = "good" if solution.fit and solution.fit.count >= LEAST_STARS and solution.fit.degree else "low"
    if catalogue is not None and not solution.solved:
        notes.append(_why_not(references, stars))
    tried = _could_tell(first, stars, references)
    if not solution.solved and other is not None:
        references = _of_frame(other)
        tried = tried or _could_tell(first, stars, references)
        solution = solve(first, stars, references, limits, degree=wanted.degree, clip=wanted.clip)
        confidence = "relative"
        if not solution.solved:
            notes.append(f"Its {len(stars)} stars could not be matched to those of {other.frame.name}.")
    measured = MeasuredFrame(frame, stars, solution.plate)
    if not solution.solved:
        confidence = "relative" if itself else "none" if tried else "header"
        notes.append("Its coordinates are those of its header.")
        return Coordinates(measured, solution, None, confidence, frame.name, other, itself, notes=notes)
    rms, count = _overlap(measured, other) if other else (None, 0)
    return Coordinates(measured, solution, references, confidence, references.name, other, itself,
                       plate_of(frame.wcs, frame.shape) is not None, rms, count, notes)  # fmt: skip


def is_same_exposure(frame: Frame, other: Frame) -> bool:
    """Return whether two frames are one exposure of one chip."""
    mine, theirs = frame.attributes, other.attributes
    if frame is other or not (mine.date_obs and theirs.date_obs):
        return frame.name == other.name and frame.shape == other.shape
    return (mine.instrument, mine.chip, mine.date_obs, mine.filter) == (
        theirs.instrument, theirs.chip, theirs.date_obs, theirs.filter,
    )  # fmt: skip


def _other_frame(frame: Frame, catalogue: Table | None, wanted: Wanted) -> MeasuredFrame | None:
    """Return the frame to align with and its stars, on the catalogue's system where that can be."""
    plate = plate_of(frame.wcs, frame.shape)
    if plate is None:
        return None
    stars = find_stars(frame)
    references = _of_catalogue(catalogue, frame, plate, wanted)
    solution = solve(plate, stars, references, wanted.of_header[:1], degree=wanted.degree, clip=wanted.clip)
    return MeasuredFrame(frame, stars, solution.plate)


def _first(
    frame: Frame, stars: Stars, other: MeasuredFrame | None, catalogue: Table | None, wanted: Wanted, notes: list[str]
) -> tuple[Plate, list[Limits]]:
    """Return the frame's first coordinates, and how wrong they may be."""
    plate = plate_of(frame.wcs, frame.shape)
    if plate is not None:
        return plate, wanted.of_header
    notes.append("Its header has no coordinates that could be used.")
    if other is not None and frame.shape == other.frame.shape:
        limits = wanted.of_same_chip(other.plate)
        aligned = solve(other.plate, stars, _of_frame(other), limits, degree=wanted.degree, clip=wanted.clip)
        if aligned.solved:
            return aligned.plate, wanted.of_header[:1]
    pointed = _pointed(frame)
    if catalogue is not None and pointed is not None:
        references = _of_catalogue(catalogue, frame, pointed, wanted)
        found = solve(pointed, stars, references, wanted.of_pointing, degree=wanted.degree, clip=wanted.clip)
        if found.solved:
            return found.plate, wanted.of_header[:1]
    raise UsageError(
        f"{frame.name} has no coordinate system, and none was found from its {len(stars)} stars",
        hint="give an alignment_frame of the same chip and field that has one, or a reference_catalogue that covers it "
        "and a header with pointing and pixel scale",
    )


def _pointed(frame: Frame) -> Plate | None:
    """Return where pointing and pixel scale have a frame, north up; None where they are not known."""
    ra, dec, scale = (frame.number(name) for name in ("ra", "dec", "pixel_scale"))
    if ra is None or dec is None or scale is None or abs(dec) > 90:
        return None
    if not SMALLEST_PIXEL <= scale / 3600 <= LARGEST_PIXEL:
        return None
    return plate_from_pointing(frame.shape, ra % 360, dec, scale)


def _of_catalogue(catalogue: Table | None, frame: Frame, plate: Plate, wanted: Wanted) -> ReferenceStars:
    """Return the catalogue's stars that may lie on the frame."""
    if catalogue is None:
        none = np.empty(0)
        return ReferenceStars(none, none, none, none, np.empty(0, np.int64), "")
    x, y = plate.centre
    ra, dec = plate.sky(np.array([x]), np.array([y]))
    radius = (plate.half_diagonal * (1 + wanted.scale_error) + 1.5 * wanted.pointing_error) / 3600
    return reference_stars(catalogue, frame.attributes, float(ra[0]), float(dec[0]), radius)


def _of_frame(other: MeasuredFrame) -> ReferenceStars:
    return stars_as_reference(other.stars, other.plate, other.frame.name, other.frame.attributes.filter or "")


def _could_tell(plate: Plate, stars: Stars, references: ReferenceStars) -> bool:
    """Return whether there are stars and references enough on a frame for its coordinates to be found wrong."""
    if min(len(stars), len(references)) < LEAST_FOR_OFFSET:
        return False
    x, y = plate.centre
    ra, dec = plate.sky(np.array([x]), np.array([y]))
    return len(references.near(float(ra[0]), float(dec[0]), plate.half_diagonal / 3600)) >= LEAST_FOR_OFFSET


def _why_not(references: ReferenceStars, stars: Stars) -> str:
    if not len(references):
        return "The reference catalogue has no star of good position there."
    return (f"No match of stars to the reference catalogue is beyond chance; found on the frame: {len(stars)}, known "
            f"there and around: {len(references)}.")  # fmt: skip


def _overlap(measured: MeasuredFrame, other: MeasuredFrame) -> tuple[float | None, int]:
    """Return the rms on an axis between positions of stars that both frames have [arcsec], and how many those are."""
    here, there = (
        np.stack(project(*each.plate.sky(stars.x, stars.y), *measured.plate.tangent), axis=-1) * 3600
        for each in (measured, other)
        for stars in (each.stars.where(each.stars.clean),)
    )
    own, others = pairs_within(here, there, 2 * measured.plate.pixel_scale)
    if len(own) < LEAST_STARS:
        return None, len(own)
    away = here[own] - there[others]
    spread = 1.4826 * np.median(np.abs(away - np.median(away, axis=0)))
    kept = (np.abs(away - np.median(away, axis=0)) <= max(3 * spread, 1e-6)).all(axis=1)
    return float(np.sqrt(np.mean(away[kept] ** 2))), int(kept.sum())
