"""What all frames of a run share on the sky: their fields, one grid a field, and the frame that others align with.

Pure functions on the attributes of frames, which the portal calls too: no numerics are loaded before they are needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recipes.errors import UsageError

Attributes = Mapping[str, Any]
Position = tuple[float, float]

LINK = 1.0  # degree: frames no farther apart are of one field
WIDEST = 5.0  # degrees from a field's centre: a tangent plane would stretch pixels by more than half a per cent
CENTRE_STEP = 0.1  # degree: centres are rounded to it, so that another night's run gives the same grid
SCALE_DIGITS = 3


def position_of(attributes: Attributes) -> Position | None:
    """Return where a frame lies [degree]: by its own coordinate system, else where the telescope pointed; or None."""
    for names in (("centre_ra", "centre_dec"), ("ra", "dec")):
        ra, dec = (_number(attributes.get(name)) for name in names)
        if ra is not None and dec is not None and abs(dec) <= 90:
            return ra % 360.0, dec
    return None


def fields_of(positions: Sequence[Position]) -> list[list[int]]:
    """Return groups of places in `positions`: friends of friends, a group that is too wide cut into zones."""
    # Exposures of one pointing, or chips of one mosaic, are many: friends are looked for among places 0.1 degree apart.
    places: dict[Position, list[int]] = {}
    for index, (ra, dec) in enumerate(positions):
        places.setdefault((round(ra, 1), round(dec, 1)), []).append(index)
    vectors = {place: _vector(place) for place in places}
    left, nearest = dict.fromkeys(sorted(places)), math.cos(math.radians(LINK))
    groups: list[list[int]] = []
    while left:
        group = [next(iter(left))]
        del left[group[0]]
        for place in group:  # grows while friends of it are found
            friends = [other for other in left if _dot(vectors[place], vectors[other]) >= nearest]
            group += friends
            for friend in friends:
                del left[friend]
        groups += _narrow(sorted(index for place in group for index in places[place]), positions)
    return groups


def field_centres(positions: Sequence[Position]) -> list[Position]:
    """Return the rounded centre of each field, in order of right ascension and declination, none twice."""
    vectors = [_vector(position) for position in positions]
    centres = set()
    for group in fields_of(positions):
        ra, dec = _position(_sum([vectors[index] for index in group]))
        steps = 1 / CENTRE_STEP
        centres.add((round(ra * steps) / steps % 360.0, round(dec * steps) / steps))
    return sorted(centres)


def written_centres(centres: Sequence[Position]) -> str:
    """Return centres as the parameter ``grid_centres`` has them."""
    return "; ".join(f"{ra:.10g},{dec:.10g}" for ra, dec in centres)


def read_centres(text: str) -> list[Position]:
    """Return the centres of ``ra,dec; ra,dec`` [degree], or raise UsageError."""
    centres = []
    for part in text.split(";"):
        if not part.strip():
            continue
        try:
            ra, dec = (float(number) for number in part.split(","))
        except ValueError:
            ra, dec = math.nan, math.nan
        if not (-360.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0):
            raise UsageError(f"grid_centres: {part.strip()!r} is no right ascension and declination in degrees",
                             hint="write them like 150.1,2.2; 210.5,-30")  # fmt: skip
        centres.append((ra % 360.0, dec))
    return centres


def nearest_centre(centres: Sequence[Position], position: Position) -> Position:
    """Return which of the centres is nearest to `position`; of equals the first."""
    here = _vector(position)
    return max(centres, key=lambda centre: _dot(here, _vector(centre)))


def settle_grid(parameters: dict[str, Any], frames: Sequence[Attributes]) -> dict[str, Any]:
    """Return `parameters` with the grid's centres and pixel scale settled for all `frames` of a run."""
    settled = dict(parameters)
    if not str(settled.get("grid_centres", "")).strip():
        positions = [position for frame in frames if (position := position_of(frame))]
        if positions:
            settled["grid_centres"] = written_centres(field_centres(positions))
    if not settled.get("pixel_scale"):
        scales = sorted(scale for frame in frames if (scale := _number(frame.get("pixel_scale"))) and scale > 0)
        if scales:
            settled["pixel_scale"] = rounded_scale(scales[len(scales) // 2])
    return settled


def rounded_scale(scale: float) -> float:
    """Return a pixel scale rounded to three digits."""
    return float(f"{scale:.{SCALE_DIGITS}g}")


def alignment_frames(frames: Sequence[Attributes]) -> list[int | None]:
    """Return for each frame the place of the one to align it with: of its field and chip the deepest and sharpest.

    It has a coordinate system of its own. A frame that says nowhere where it lies goes with those of the same object,
    or with the only field that there is.
    """
    fields = _fields_by_frame(frames)
    best: dict[tuple[str, str, int], int] = {}
    for index, (frame, place) in enumerate(zip(frames, fields, strict=True)):
        if place is None or not frame.get("has_wcs"):
            continue
        key = (*_chip(frame), place)
        if key not in best or _blur(frame) < _blur(frames[best[key]]):
            best[key] = index
    return [
        None if place is None else best.get((*_chip(frame), place))
        for frame, place in zip(frames, fields, strict=True)
    ]  # fmt: skip


def _fields_by_frame(frames: Sequence[Attributes]) -> list[int | None]:
    """Return the number of each frame's field."""
    known = [(index, position) for index, frame in enumerate(frames) if (position := position_of(frame))]
    number: dict[int, int] = {}
    groups = fields_of([position for _, position in known])
    for field, group in enumerate(groups):
        number |= {known[place][0]: field for place in group}
    found: list[int | None] = []
    for index, frame in enumerate(frames):
        of_object = {number[other] for other in number if frames[other].get("object") == frame.get("object")}
        named = of_object if frame.get("object") and len(of_object) == 1 else set(range(len(groups)))
        found.append(number.get(index, next(iter(named)) if len(named) == 1 else None))
    return found


def _chip(frame: Attributes) -> tuple[str, str]:
    return str(frame.get("instrument") or ""), str(frame.get("chip") or "")


def _blur(frame: Attributes) -> float:
    """Return how faint a star must be to drown in the noise, but for a factor: smaller is deeper and sharper."""
    fwhm, noise = _number(frame.get("psf_fwhm")), _number(frame.get("sky_noise"))
    time = _number(frame.get("exposure_time"))
    if not (fwhm and noise and time and min(fwhm, noise, time) > 0):
        return math.inf
    return fwhm * noise / time


def _narrow(group: list[int], positions: Sequence[Position]) -> list[list[int]]:
    """Return the group, or its parts in fixed zones of the sky where it is too wide for one tangent plane."""
    vectors = {index: _vector(positions[index]) for index in group}
    middle = _vector(_position(_sum([vectors[index] for index in group])))
    if all(_dot(middle, vectors[index]) >= math.cos(math.radians(WIDEST)) for index in group):
        return [group]
    zones: dict[tuple[int, int], list[int]] = {}
    for index in group:
        ra, dec = positions[index]
        band = math.floor((dec + 90) / WIDEST)
        width = WIDEST / max(math.cos(math.radians(-90 + WIDEST * (band + 0.5))), 1e-3)
        zones.setdefault((band, math.floor(ra / width)), []).append(index)
    return [zones[zone] for zone in sorted(zones)]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _vector(position: Position) -> list[float]:
    ra, dec = math.radians(position[0]), math.radians(position[1])
    return [math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)]


def _position(vector: Sequence[float]) -> Position:
    x, y, z = vector
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))


def _sum(vectors: Sequence[Sequence[float]]) -> list[float]:
    return [math.fsum(vector[axis] for vector in vectors) for axis in range(3)]


def _dot(first: Sequence[float], second: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(first, second, strict=True))
