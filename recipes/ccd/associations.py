"""Associations: sources of several lists that are one on the sky, built up list by list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.sky_pairs import ARCSEC, Pairs, closest, pairs_within

Floats = NDArray[np.float64]
Whole = NDArray[np.integer]

ALONE = 1  # bit of FLAG: no source of another list is in the association
AMBIGUOUS = 2  # bit of FLAG: other sources or associations lay within the search distance as well


@dataclass(frozen=True)
class Members:
    """Rows of sources: association (from 0), list, number in the list, flag, distance [arcsec], position [degree]."""

    association: Whole
    list_number: Whole
    source: Whole
    flag: Whole
    distance: Floats
    ra: Floats
    dec: Floats
    origin: Whole

    def __len__(self) -> int:
        return len(self.association)

    def take(self, rows: NDArray[np.intp], association: Whole) -> Members:
        """Return some rows, in other associations."""
        return Members(association, self.list_number[rows], self.source[rows], self.flag[rows], self.distance[rows],
                       self.ra[rows], self.dec[rows], self.origin[rows])  # fmt: skip


@dataclass(frozen=True)
class Region:
    """A circle on the sky that holds all sources of a list: the direction of its centre, its radius [radian]."""

    centre: Floats
    radius: float

    @classmethod
    def of(cls, members: Members) -> Region:
        """Return the circle around the mean direction of at least one source."""
        vectors = _vectors(members.ra, members.dec)
        centre = vectors.sum(axis=1)
        length = float(np.linalg.norm(centre))
        if not length > 1e-6 * len(members):  # all over the sky
            return cls(np.array([0.0, 0.0, 1.0]), np.pi)
        centre /= length
        return cls(centre, float(_angle(centre @ vectors).max()))


def any_overlap(regions: Sequence[Region], distance: float) -> bool:
    """Whether any two of some regions come as near to each other as `distance` [arcsec]."""
    centres, radii = np.array([region.centre for region in regions]), np.array([region.radius for region in regions])
    for place in range(1, len(regions)):
        apart = _angle(centres[:place] @ centres[place])
        if np.any(apart <= radii[place] + radii[:place] + distance * ARCSEC):
            return True
    return False


def _angle(cosine: Floats) -> Floats:
    """Return angles [radian], right to 0.01 arcsec."""
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)))


def _vectors(ra: Floats, dec: Floats) -> Floats:
    """Return unit vectors, of shape (3, positions), of positions [degree]."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


_COLUMNS = tuple(entry.name for entry in fields(Members))


@dataclass
class Associations:
    """The associations made so far: their members and mean positions.

    A list that is added is itself made of associations (of one source each where it is a source list): `group` of them
    are matched as one. ``joined`` is how many of those added found a partner.
    """

    members: list[Members] = field(default_factory=list)
    vectors: Floats = field(default_factory=lambda: np.empty((0, 3)))
    by_first: bool = False
    joined: int = 0

    def __len__(self) -> int:
        return len(self.vectors)

    def positions(self) -> tuple[Floats, Floats]:
        """Return the positions of the associations [degree]: the mean direction of their members, or the first's."""
        return _angles(self.vectors)

    def add(self, added: Members, radius: float, *, one_to_one: bool, keep_alone: bool) -> int:
        """Match the associations of `added` with those that there are; return how many of them matched none.

        Parameters
        ----------
        added : Members
            A list; its associations are numbered from 0 on without gaps.
        radius : float
            Largest distance [arcsec] between positions.
        one_to_one : bool
            Each association takes and gives one partner at most, the closest pairs first; else all pairs hold.
        keep_alone : bool
            What matched none becomes an association of its own; else it is left out.
        """
        vectors = mean_vectors(added)
        ra, dec = self.positions()
        its_ra, its_dec = _angles(vectors)
        pairs = pairs_within(ra, dec, its_ra, its_dec, radius * ARCSEC)
        ambiguous = _ambiguous(pairs, len(self), len(vectors))
        if one_to_one:
            pairs = closest(pairs, len(self), len(vectors))
        rows, place = _rows_of_groups(added, pairs.there)
        taken = added.take(rows, pairs.here[place].astype(np.int64))
        taken.distance[:] = pairs.angle[place] / ARCSEC
        taken.flag[:] |= np.where(ambiguous[pairs.there[place]], AMBIGUOUS, 0)
        self.members.append(taken)
        if not self.by_first:
            for axis in range(3):
                self.vectors[:, axis] += np.bincount(pairs.here, vectors[pairs.there, axis], len(self))
        alone = np.ones(len(vectors), dtype=bool)
        alone[pairs.there] = False
        self.joined += len(alone) - int(alone.sum())
        if keep_alone:
            numbers = np.flatnonzero(alone)
            rows, place = _rows_of_groups(added, numbers)
            self.members.append(added.take(rows, len(self) + place.astype(np.int64)))
            self.vectors = np.concatenate([self.vectors, vectors[alone]])
        return int(alone.sum())

    def table(self, only_of: int | None = None) -> Members:
        """Return all members, ordered by association, list and source; associations are numbered from 1 on.

        `only_of` leaves those out that do not have members of that many lists.
        """
        joined = {name: np.concatenate([getattr(part, name) for part in self.members]) for name in _COLUMNS}
        self.members = [Members(**joined)]
        members = self.members[0]
        # Lists were added in their order, and their sources in theirs: only the associations are out of order.
        order = np.argsort(members.association, kind="stable")
        association = members.association[order]
        lists = _count_lists(association, members.list_number[order], len(self))
        wanted = np.ones(len(self), dtype=bool) if only_of is None else lists >= only_of
        number = np.cumsum(wanted, dtype=np.int64)
        rows = wanted[association]
        kept = members.take(order[rows], number[association[rows]])
        alone = lists[association[rows]] == 1
        kept.flag[:] = (kept.flag & ~ALONE) | np.where(alone, ALONE, 0)
        return kept


def mean_vectors(members: Members) -> Floats:
    """Return the sum of the directions of each association's members, as vectors."""
    count = int(members.association.max()) + 1 if len(members) else 0
    total = np.empty((count, 3))
    for axis, values in enumerate(_vectors(members.ra, members.dec)):
        total[:, axis] = np.bincount(members.association, values, count)
    return total


def _angles(vectors: Floats) -> tuple[Floats, Floats]:
    x, y, z = vectors.T
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def _ambiguous(pairs: Pairs, many_here: int, many_there: int) -> NDArray[np.bool_]:
    """Return for each of the second list whether it had more than one partner, or its partner had."""
    of_here, of_there = np.bincount(pairs.here, minlength=many_here), np.bincount(pairs.there, minlength=many_there)
    ambiguous = of_there > 1
    shared = of_here[pairs.here] > 1
    ambiguous[pairs.there[shared]] = True
    return np.asarray(ambiguous, dtype=bool)


def _rows_of_groups(members: Members, groups: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of all members of `groups` one after the other, and for each row the place of its group there."""
    order = np.argsort(members.association, kind="stable")
    count = np.bincount(members.association, minlength=int(groups.max(initial=-1)) + 1)
    first = np.concatenate(([0], np.cumsum(count)))
    sizes = count[groups]
    place = np.repeat(np.arange(len(groups)), sizes)
    within = np.arange(len(place)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[first[groups][place] + within], place


def _count_lists(association: Whole, list_number: Whole, count: int) -> Whole:
    """Return of how many lists each association has members; these are ordered by association and list."""
    first = np.ones(len(association), dtype=bool)
    first[1:] = (association[1:] != association[:-1]) | (list_number[1:] != list_number[:-1])
    return np.bincount(association[first], minlength=count)
