"""Which reference catalogue serves a frame: of those with stars in its field the best, with the reason, and the rivals.

A catalogue belongs to no camera and no time; what it tells of itself (``archive.catalogues``) is the cells of the sky
that hold its stars, and how many each holds.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from django.db.models import Q
from pydantic import ValidationError

from archive.calibration import Choice
from archive.context import Context, visible
from archive.models import Validity
from archive.sky import within_cone
from recipes.attributes import Photometry
from recipes.photometric_systems import band_of_filter

KIND = "ReferenceCatalogue"
# A pointing is wrong by up to this much (issue of the recipes: astrometry starts from 2 arcmin off) [degree].
POINTING_ERROR = 2 / 60
# Half the diagonal of a field whose size nobody tells [degree].
UNKNOWN_RADIUS = 0.25
# What a catalogue that tells no error is taken for, and the least that a frame's own centroids leave [arcsec].
UNKNOWN_ERROR, CENTROID_ERROR = 0.3, 0.05
# A typical star of such catalogues moves by this much where its motion is not known [arcsec / year].
USUAL_MOTION = 0.01
# Positions worse than this find no stars on a frame [arcsec].
WORST_ERROR = 3.0
RIVALS_TOLD = 5
# A catalogue wider than this has no one place on the sky, and is looked at wherever a frame lies [degree].
WIDE = 5.0


@dataclass(frozen=True)
class SkyRequest:
    """One question: a catalogue for a field [deg, ICRS], for ``astrometry``, ``photometry`` or anything ("")."""

    use: str
    ra: float | None
    dec: float | None
    radius: float = UNKNOWN_RADIUS + POINTING_ERROR
    year: float | None = None
    band: str = ""
    colour: tuple[str, ...] = ()
    system: str = ""


@dataclass(frozen=True)
class _Candidate:
    pk: int
    name: str
    told: Mapping[str, Any]

    def has(self, band: str) -> bool:
        return band in (self.told.get("bands") or [])

    def stars_within(self, ra: float, dec: float, radius: float) -> float:
        """Return how many of its stars are to be expected in the field, by the cells that touch it."""
        order, cells = self.told.get("coverage_order"), self.told.get("coverage")
        if not isinstance(order, int) or not isinstance(cells, list) or not cells:
            return 0.0
        touched, share = _touched(order, ra, dec, radius)
        counts = self.told.get("coverage_counts")
        if not isinstance(counts, list) or len(counts) != len(cells):
            counts = [float(self.told.get("star_count") or len(cells)) / len(cells)] * len(cells)
        within = np.isin(np.asarray(cells, dtype=np.int64), touched)
        return float(np.asarray(counts, dtype=float)[within].sum() * share)

    def error_in(self, year: float | None) -> float:
        """Return how good its positions are in that year [arcsec]."""
        error = float(self.told.get("position_error") or UNKNOWN_ERROR)
        epoch = self.told.get("epoch")
        if year is not None and isinstance(epoch, int | float) and not self.told.get("has_proper_motions"):
            error = math.hypot(error, USUAL_MOTION * (year - epoch))
        return error


def choose_by_sky(context: Context, requests: Sequence[SkyRequest]) -> list[Choice]:
    """Answer each request, in their order; catalogues that somebody called bad do not serve."""
    answers: dict[SkyRequest, tuple[_Candidate | None, str, list[str]]] = {}
    read: dict[int, _Candidate] = {}
    for request in dict.fromkeys(requests):
        answers[request] = _answer(request, _near(context, request, read))
    chosen = sorted({found.pk for found, _, _ in answers.values() if found})
    products = {
        product.pk: product
        for start in range(0, len(chosen), 500)
        for product in visible(context).filter(pk__in=chosen[start : start + 500])
    }
    return [
        Choice(products.get(found.pk) if found else None, reason, list(rivals))
        for found, reason, rivals in (answers[request] for request in requests)
    ]


def sky_request(attributes: Mapping[str, Any], use: str) -> SkyRequest:
    """Return what a frame with these attributes asks: its field with room for a wrong pointing, its time, its band."""
    place = ("centre_ra", "centre_dec") if attributes.get("centre_ra") is not None else ("ra", "dec")
    ra, dec = (_number(attributes.get(name)) for name in place)
    request = SkyRequest(
        use=use,
        ra=ra,
        dec=dec,
        radius=round(field_radius(attributes) + POINTING_ERROR, 5),
        year=_year(attributes.get("date_obs")),
    )
    if use == "astrometry":
        return request
    photometry = photometry_of(attributes)
    if photometry is None:
        return request
    return replace(
        request,
        band=photometry.band,
        colour=tuple(band for band in photometry.colour.split("-") if band),
        system=photometry.system,
    )


def photometry_of(attributes: Mapping[str, Any]) -> Photometry | None:
    """Return which standard band a frame is taken in: as its camera's file declares, else as the filter's name says."""
    try:
        declared = Photometry.model_validate(attributes.get("photometry"))
    except ValidationError:
        band = band_of_filter(str(attributes.get("filter") or ""))
        return band.photometry() if band else None
    return declared


def field_radius(attributes: Mapping[str, Any]) -> float:
    """Return half the diagonal of a frame's field [degree]; a usual one where scale or size are not known."""
    scale, width, height = (_number(attributes.get(name)) for name in ("pixel_scale", "width", "height"))
    if not (scale and width and height):
        return UNKNOWN_RADIUS
    return min(math.hypot(width, height) / 2 * scale / 3600, 30.0)


def _near(context: Context, request: SkyRequest, read: dict[int, _Candidate]) -> list[_Candidate]:
    """Return the catalogues that may have stars there: those whose middle is not far, and the wide ones."""
    if request.ra is None or request.dec is None:
        return []
    near, annotation = within_cone(request.ra, request.dec, request.radius + WIDE)
    all_good = visible(context).filter(kind=KIND).exclude(is_valid=Validity.BAD)
    numbers = list(
        all_good.annotate(**annotation)
        .filter(near | Q(healpix__isnull=True))
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    unread = [pk for pk in numbers if pk not in read]
    for start in range(0, len(unread), 500):
        rows = all_good.filter(pk__in=unread[start : start + 500]).values_list("pk", "name", "attributes")
        read.update({pk: _Candidate(pk, str(told.get("catalogue") or name), told) for pk, name, told in rows})
    return [read[pk] for pk in numbers if pk in read]


def _answer(request: SkyRequest, candidates: Iterable[_Candidate]) -> tuple[_Candidate | None, str, list[str]]:
    if request.ra is None or request.dec is None:
        return None, "the frame does not tell where it points", []
    serving: list[tuple[tuple[float, ...], float, _Candidate]] = []
    lacking: list[str] = []
    elsewhere: list[str] = []
    for candidate in candidates:
        stars = candidate.stars_within(request.ra, request.dec, request.radius)
        lack = _lack(candidate, request, stars)
        if lack:
            (lacking if stars > 0 else elsewhere).append(f"{candidate.name}: {lack}")
        else:
            serving.append((_rank(candidate, request, stars), stars, candidate))
    what = f"for {request.use} " if request.use else ""
    if not serving:
        where = f"within {_angle(request.radius)} of RA {request.ra:.4f} Dec {request.dec:+.4f}"
        nearest = f"; nearest is {lacking[0]}" if lacking else ""
        return None, f"no catalogue {what}has stars {where}{nearest}", _some(lacking + elsewhere)
    serving.sort(key=lambda entry: entry[0], reverse=True)
    _, stars, best = serving[0]
    beaten = [f"{rival.name}: {_described(rival, request, count)}" for _, count, rival in serving[1:]]
    place = f"the best of {len(serving)} that cover it" if beaten else "the only one that serves"
    return best, f"{_described(best, request, stars)}; {place}", _some(beaten + lacking + elsewhere)


def _lack(candidate: _Candidate, request: SkyRequest, stars: float) -> str:
    """Return what the catalogue lacks, or "" when it serves."""
    if stars <= 0:
        return f"no star within {_angle(request.radius)} of the frame's pointing"
    uses = candidate.told.get("use") or []
    if request.use and request.use not in uses:
        return f"is for {' and '.join(uses) or 'nothing'}, not for {request.use}"
    if request.use == "astrometry" and candidate.error_in(request.year) > WORST_ERROR:
        return f"positions good to {candidate.error_in(request.year):.2g}″ only"
    if request.use != "photometry":
        return ""
    bands = candidate.told.get("bands") or []
    if not request.band:
        return "the frame's band is not known"
    if not candidate.has(request.band):
        return f"has no {request.band}; it has {', '.join(bands) or 'no magnitudes'}"
    system = str(candidate.told.get("system") or "")
    if request.system and system and system.lower() != request.system.lower():
        return f"its magnitudes are of the {system} system, not {request.system}"
    return ""


def _rank(candidate: _Candidate, request: SkyRequest, stars: float) -> tuple[float, ...]:
    """Return what decides: for magnitudes the colours' bands, then stars; for positions stars over their variance."""
    error = max(candidate.error_in(request.year), CENTROID_ERROR)
    if request.use == "photometry":
        return float(all(candidate.has(band) for band in request.colour)), stars, -error, candidate.pk
    return stars / error**2, candidate.pk


def _described(candidate: _Candidate, request: SkyRequest, stars: float) -> str:
    count = max(1, round(stars))
    about = f"about {count} star{'s' if count > 1 else ''} within {_angle(request.radius)}"
    if request.use == "photometry":
        missing = [band for band in request.colour if not candidate.has(band)]
        without = f", no {' and '.join(missing)} for the colour" if missing else ""
        return f"{about} with {request.band}{without}"
    return f"{about}, positions good to {candidate.error_in(request.year):.2g}″"


def _touched(order: int, ra: float, dec: float, radius: float) -> tuple[np.ndarray, float]:
    """Return the cells that the field touches, and the share of a cell that it is where it is smaller than one."""
    from astropy import units
    from astropy.coordinates import Latitude, Longitude
    from astropy_healpix import HEALPix

    grid = HEALPix(nside=2**order, order="nested")
    cells = grid.cone_search_lonlat(Longitude(ra * units.deg), Latitude(dec * units.deg), radius * units.deg)
    own = grid.lonlat_to_healpix(Longitude(ra * units.deg), Latitude(dec * units.deg))
    touched = np.union1d(np.asarray(cells, dtype=np.int64), np.asarray([own], dtype=np.int64))
    cell = 41252.96 / (12 * 4**order)  # square degrees
    return touched, min(1.0, math.pi * radius**2 / cell)


def _angle(degrees: float) -> str:
    return f"{degrees * 60:.1f}′" if degrees < 1 else f"{degrees:.1f}°"


def _year(value: Any) -> float | None:
    try:
        time = datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time.year + (time.timetuple().tm_yday - 1) / 365.25


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _some(texts: list[str]) -> list[str]:
    if len(texts) <= RIVALS_TOLD:
        return texts
    return [*texts[:RIVALS_TOLD], f"and {len(texts) - RIVALS_TOLD} more"]


def catalogue_columns(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the place of a catalogue as the archive's columns have it: none for one that is wide."""
    if float(attributes.get("radius") or 180.0) > WIDE:
        return {"ra": None, "dec": None, "healpix": None}
    return {}
