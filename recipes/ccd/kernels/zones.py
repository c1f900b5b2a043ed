"""Kernels that find pairs of positions on the sphere, by zones of declination sorted by right ascension.

The zones algorithm of Gray, Nieto-Santisteban & Szalay 2006 (MSR-TR-2006-52), on arrays.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.kernels.compiled import compiled, inlined, warm_up

Floats = NDArray[np.float64]


@compiled
def order_by_zone(dec: Floats, bottom: float, height: float, zones: int) -> Any:
    """Return the places of positions ordered by zone, and the number of them before each zone, and of all."""
    first = np.zeros(zones + 1, np.int64)
    zone = np.empty(len(dec), np.int32)
    for i in range(len(dec)):
        zone[i] = min(max(int((dec[i] - bottom) / height), 0), zones - 1)
        first[zone[i] + 1] += 1
    first = np.cumsum(first)
    following = first[:-1].copy()
    order = np.empty(len(dec), np.int32)
    for i in range(len(dec)):
        order[following[zone[i]]] = i
        following[zone[i]] += 1
    return order, first


_CROWD = 24  # positions in one bucket from which sorting by exchange of neighbours would be slow


@compiled
def sort_zones(
    first_zone: int, end_zone: int, first: NDArray[np.int64], order: NDArray[np.int32], ra: Floats, dec: Floats,
    sorted_ra: Floats, sorted_dec: Floats,
) -> None:  # fmt: skip
    """Sort each zone's positions by right ascension, and copy them in their order.

    Positions go to as many buckets as there are of them; what is left is a matter of neighbours, but in clusters.
    """
    for zone in range(first_zone, end_zone):
        low, high = first[zone], first[zone + 1]
        if low == high:
            continue
        part = order[low:high].copy()
        values = ra[part]
        least, count = values.min(), high - low
        scale = (count - 1) / max(values.max() - least, 1e-300)
        bucket = np.zeros(count + 1, np.int32)
        for i in range(count):
            bucket[int((values[i] - least) * scale) + 1] += 1
        if bucket.max() > _CROWD:
            by_ra = np.argsort(values)
            for i in range(count):
                order[low + i], sorted_ra[low + i] = part[by_ra[i]], values[by_ra[i]]
        else:
            bucket = np.cumsum(bucket).astype(np.int32)
            for i in range(count):
                place = int((values[i] - least) * scale)
                order[low + bucket[place]], sorted_ra[low + bucket[place]] = part[i], values[i]
                bucket[place] += 1
            for i in range(low + 1, high):
                value, index, place = sorted_ra[i], order[i], i
                while place > low and sorted_ra[place - 1] > value:
                    sorted_ra[place], order[place] = sorted_ra[place - 1], order[place - 1]
                    place -= 1
                sorted_ra[place], order[place] = value, index
        for i in range(low, high):
            sorted_dec[i] = dec[order[i]]


@inlined
def squared_chord(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Return the squared sine of half the angle between two positions [radian]."""
    up = math.sin(0.5 * (dec2 - dec1))
    along = math.sin(0.5 * (ra2 - ra1))
    return up * up + math.cos(dec1) * math.cos(dec2) * along * along


@compiled
def pairs_of_zones(
    first_zone: int, end_zone: int, bottom: float, height: float, radius: float, one: Any, two: Any
) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
    """Return the pairs within `radius` of which the first lies in some zones: places in both lists, and the angle.

    `one` and `two` are the order, the numbers before each zone, right ascensions and declinations [radian] as
    :func:`sort_zones` leaves them. All angles are radians, right ascensions from 0 to 2 pi.
    """
    order_one, first_one, ra_one, dec_one = one
    order_two, first_two, ra_two, dec_two = two
    zones = len(first_two) - 1
    limit = math.sin(0.5 * radius) ** 2
    room = max(64, first_one[end_zone] - first_one[first_zone])
    here, there, angle = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room)
    found = 0
    turn = 2 * math.pi
    for zone in range(first_zone, end_zone):
        if first_one[zone] == first_one[zone + 1]:
            continue
        # A position may be a rounding beyond its zone: a look at both neighbours costs little.
        reach = 1 + int(radius / height)
        # The widest in right ascension that the circle is for any position of the zone.
        furthest = max(abs(bottom + zone * height), abs(bottom + (zone + 1) * height)) + 1e-12
        width = math.pi
        if furthest + radius < 0.5 * math.pi:
            width = math.asin(min(math.sin(radius) / math.cos(furthest), 1.0)) * (1 + 1e-12) + 1e-15
        for other in range(max(0, zone - reach), min(zones, zone + reach + 1)):
            begin, end = first_two[other], first_two[other + 1]
            if begin == end:
                continue
            low = begin
            for i in range(first_one[zone], first_one[zone + 1]):
                ra, dec = ra_one[i], dec_one[i]
                while low < end and ra_two[low] < ra - width:
                    low += 1
                # The circle itself, and what of it lies beyond 0 or 2 pi.
                for part in range(3):
                    if part == 0:
                        place, last = low, min(ra + width, turn)
                    elif part == 1:
                        if ra - width >= 0 or width >= math.pi:
                            continue
                        place = begin + np.searchsorted(ra_two[begin:end], ra - width + turn)
                        last = turn
                    else:
                        if ra + width < turn or width >= math.pi:
                            continue
                        place, last = begin, ra + width - turn
                    if width >= math.pi:
                        place, last = begin, turn
                    while place < end and ra_two[place] <= last:
                        if abs(dec_two[place] - dec) <= radius:
                            squared = squared_chord(ra, dec, ra_two[place], dec_two[place])
                            if squared <= limit:
                                if found == room:
                                    room *= 2
                                    here, there, angle = _longer(here, room), _longer(there, room), _longer(angle, room)
                                here[found], there[found] = order_one[i], order_two[place]
                                angle[found] = 2 * math.asin(math.sqrt(squared))
                                found += 1
                        place += 1
    return here[:found].copy(), there[:found].copy(), angle[:found].copy()


@compiled
def _longer(values: Any, room: int) -> Any:
    longer = np.empty(room, values.dtype)
    longer[: len(values)] = values
    return longer


@compiled
def order_of_pairs(here: NDArray[np.int32], there: NDArray[np.int32], many_here: int) -> NDArray[np.int64]:
    """Return the places of the pairs ordered by the first position, then the second."""
    first = np.zeros(many_here + 1, np.int64)
    for i in here:
        first[i + 1] += 1
    first = np.cumsum(first)
    order = np.empty(len(here), np.int64)
    for pair in range(len(here)):
        order[first[here[pair]]] = pair
        first[here[pair]] += 1
    for i in range(1, len(order)):
        pair, place = order[i], i
        while place > 0 and here[order[place - 1]] == here[pair] and there[order[place - 1]] > there[pair]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = pair
    return order


@compiled
def alone(
    here: NDArray[np.int32], there: NDArray[np.int32], many_here: int, many_there: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return for each pair whether its first position is in no other one, and whether its second is."""
    times_here, times_there = np.zeros(many_here, np.int32), np.zeros(many_there, np.int32)
    for pair in range(len(here)):
        times_here[here[pair]] += 1
        times_there[there[pair]] += 1
    only_here, only_there = np.empty(len(here), np.bool_), np.empty(len(here), np.bool_)
    for pair in range(len(here)):
        only_here[pair] = times_here[here[pair]] == 1
        only_there[pair] = times_there[there[pair]] == 1
    return only_here, only_there


@compiled
def closest_first(
    order: NDArray[np.int64], here: NDArray[np.int32], there: NDArray[np.int32], many_here: int, many_there: int
) -> NDArray[np.bool_]:
    """Return which pairs remain where each position may be in one only, taken in `order`."""
    taken_here, taken_there = np.zeros(many_here, np.bool_), np.zeros(many_there, np.bool_)
    kept = np.zeros(len(here), np.bool_)
    for pair in order:
        if not taken_here[here[pair]] and not taken_there[there[pair]]:
            kept[pair] = taken_here[here[pair]] = taken_there[there[pair]] = True
    return kept


@warm_up
def _warm_up() -> None:
    ra, dec = np.array([0.1, 0.2, 0.1]), np.array([0.1, 0.1, 0.1])
    order, first = order_by_zone(dec, 0.0, 0.2, 1)
    sorted_ra, sorted_dec = np.empty(3), np.empty(3)
    sort_zones(0, 1, first, order, ra, dec, sorted_ra, sorted_dec)
    side = (order, first, sorted_ra, sorted_dec)
    here, there, angle = pairs_of_zones(0, 1, 0.0, 0.2, 0.01, side, side)
    order_of_pairs(here, there, 3)
    alone(here, there, 3, 3)
    closest_first(np.argsort(angle), here, there, 3, 3)
