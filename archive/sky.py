"""Where on the sky a product lies: HEALPix numbers as an index, and the filter that finds what lies in a cone."""

from __future__ import annotations

import math

from django.db.models import ExpressionWrapper, F, FloatField, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Cos, Power, Radians, Sin

# Order 12, nested, ICRS: pixels of 0.86 arcmin, so that a cone of a chip's size is some ten ranges of numbers.
ORDER = 12
# A cone is covered by at most about this many pixels of a coarser order, each a range of numbers of order 12.
_PIXELS_ACROSS = 8


def healpix_of(ra: float | None, dec: float | None) -> int | None:
    """Return the number of the pixel (nested, order 12) that holds the position [deg, ICRS]; None without one."""
    if ra is None or dec is None:
        return None
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    return int(lonlat_to_healpix(ra * units.deg, dec * units.deg, 2**ORDER, order="nested"))


def within_cone(ra: float, dec: float, radius: float) -> tuple[Q, dict[str, Combinable]]:
    """Return the filter for what lies within `radius` of a position [deg], and the annotation that it uses.

    HEALPix ranges, which the index serves, narrow it down; the haversine of the distance decides.
    """
    limit = math.sin(math.radians(min(radius, 180.0)) / 2) ** 2
    north = Sin(Radians(F("dec") - dec) / 2)
    east = Sin(Radians(F("ra") - ra) / 2)
    haversine = Power(north, 2) + math.cos(math.radians(dec)) * Cos(Radians(F("dec"))) * Power(east, 2)
    ranges = Q()
    for first, last in _ranges(ra, dec, radius):
        ranges |= Q(healpix__gte=first, healpix__lte=last)
    near = Q(healpix__isnull=False) & ranges & Q(haversine__lte=limit)
    return near, {"haversine": ExpressionWrapper(haversine, output_field=FloatField())}


def _ranges(ra: float, dec: float, radius: float) -> list[tuple[int, int]]:
    """Return ranges of pixel numbers that cover the cone (with some more around), neighbours joined."""
    from astropy import units
    from astropy.coordinates import Latitude, Longitude
    from astropy_healpix import HEALPix

    order = _order_for(radius)
    if order < 0:
        return [(0, 12 * 4**ORDER - 1)]
    grid = HEALPix(nside=2**order, order="nested")
    pixels = grid.cone_search_lonlat(Longitude(ra * units.deg), Latitude(dec * units.deg), radius * units.deg)
    below = 4 ** (ORDER - order)
    joined: list[tuple[int, int]] = []
    for pixel in sorted(int(number) for number in pixels):
        first, last = pixel * below, (pixel + 1) * below - 1
        if joined and joined[-1][1] + 1 == first:
            first = joined.pop()[0]
        joined.append((first, last))
    return joined


def _order_for(radius: float) -> int:
    """Return the finest order at which the cone is some ten pixels across; -1 for half the sky and more."""
    if radius >= 60:
        return -1
    pixel = 58.6  # degrees, side of a pixel of order 0
    order = int(math.log2(max(1.0, pixel * _PIXELS_ACROSS / (2 * max(radius, 1e-9)))))
    return min(ORDER, order)
