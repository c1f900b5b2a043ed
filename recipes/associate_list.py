"""AssociateList: which sources of several lists are one on the sky."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from recipes.attributes import FrameAttributes
from recipes.ccd.associations import ALONE, AMBIGUOUS, Associations, Members, Region, any_overlap
from recipes.errors import UsageError
from recipes.job import LeftOut
from recipes.products import Outcome, Product
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.tables import Column, Table

HEALPIX_ORDER = 29  # as in source lists
POSITIONS = (("ALPHAWIN_J2000", "DELTAWIN_J2000"), ("ALPHA_J2000", "DELTA_J2000"))


def associate_list(
    source_lists: Sequence[Table],
    *,
    search_distance: Annotated[float, Unit("arcsec"), Bounds(0.001, 60)] = 1.0,
    sextractor_flag_mask: Annotated[int, Bounds(0, 255)] = 0,
    type: Literal["chain", "master", "matched"] = "chain",
    single_out_closest_pairs: bool = True,
) -> Outcome:
    r"""Associate the sources of several lists by their positions on the sky.

    Parameters
    ----------
    source_lists : sequence of Table
        At least two source lists with sky coordinates, or associate lists, in the order in which they are taken. The
        associations of an associate list are taken as they are, each as one.
    search_distance : float, optional
        Sources no farther apart than this are one.
    sextractor_flag_mask : int, optional
        Sources with any of these bits in FLAGS are left out.
    type : {"chain", "master", "matched"}, optional
        chain: each list is matched with all associations of those before it, and what matches none begins one of its
        own. master: each list is matched with the first alone, and what matches none is left out. matched: as chain,
        and only associations with a source of every list remain.
    single_out_closest_pairs : bool, optional
        An association takes one source of a list at most, and a source belongs to one: the closest pairs come first.
        Else all pairs within the distance hold, and a source can be in several associations.

    Returns
    -------
    Outcome
        An AssociateList: a row for each source in each association, ordered by association.

    Raises
    ------
    UsageError
        Fewer than two lists, one without sky coordinates, or no two that overlap.

    Notes
    -----
    Names and meanings are those of Astro-WISE's AssociateList (its HOW-TO "Associate lists"): an associate number AID
    for all sources that are one, and singles with one of their own. ``ALID`` is the place among the inputs of the
    associate list that brought the row (0: a source list), ``SLID`` that of the source list among all source lists,
    whose names the attribute ``lists`` holds in this order, ``SID`` the source's number in it. ``DISTANCE`` is that
    from the association when the source joined it; in chains this is the mean position of its members so far.
    ``FLAG`` has bit 1 where the source is alone, and bit 2 where others lay within the search distance as well.

    Pairs are found by zones of declination (Gray, Nieto-Santisteban & Szalay 2006, MSR-TR-2006-52), on the sphere: at
    the poles and across right ascension 0 as elsewhere. Footprints are not known: a single may lie where the other
    lists have no sky. Lists of which no two have overlapping circles around their sources are refused.
    """
    if len(source_lists) < 2:
        raise UsageError(f"AssociateList needs at least two lists, got {len(source_lists)}", hint="choose another one")
    names: list[str] = []
    left_out: list[LeftOut] = []
    so_far = Associations(by_first=type == "master")
    without_partner = taken = 0
    for place, table in enumerate(source_lists):
        report(0.1 + 0.7 * place / len(source_lists), f"list {place + 1} of {len(source_lists)}")
        members, its_names = _members(table, place + 1, len(names), sextractor_flag_mask, left_out)
        names += its_names
        taken += len(members)
        alone = so_far.add(members, search_distance, one_to_one=single_out_closest_pairs,
                           keep_alone=place == 0 or type != "master")  # fmt: skip
        without_partner += alone if place else 0
    if not so_far.joined:
        _refuse_apart(source_lists, search_distance, sextractor_flag_mask)
    report(0.85, "ordering the associations")
    members = so_far.table(len(names) if type == "matched" else None)
    measured = _measure(members, taken, without_partner)
    attributes = _attributes(source_lists, names, measured)
    notes = [f"List {number}: {name}." for number, name in enumerate(names, start=1)]
    content = Table(_columns(members), "ASSOCIATIONS", attributes)
    return Outcome.one(Product("AssociateList", content, attributes, measured, (), notes), left_out)


def _refuse_apart(tables: Sequence[Table], distance: float, flag_mask: int) -> None:
    """Raise UsageError where no two of the lists overlap, so that nothing could have been associated."""
    read = [_members(table, place, 0, flag_mask, []) for place, table in enumerate(tables, start=1)]
    regions = [Region.of(members) for members, _ in read if len(members)]
    if len(regions) > 1 and not any_overlap(regions, distance):
        first, last = _name(tables[0], 1), _name(tables[-1], len(tables))
        raise UsageError(f"no two of the {len(tables)} lists overlap on the sky: {first} to {last}",
                         hint="choose lists of one field")  # fmt: skip


def _members(
    table: Table, place: int, before: int, flag_mask: int, left_out: list[LeftOut]
) -> tuple[Members, list[str]]:
    """Return the sources of an input, and the names of the source lists that it brings."""
    name = _name(table, place)
    if "AID" in table.columns:
        return _associations_of(table, place, before, name)
    for ra_name, dec_name in POSITIONS:
        if ra_name in table.columns and dec_name in table.columns:
            break
    else:
        raise UsageError(f"{name} has no sky coordinates", hint="make it of a frame with a coordinate system")
    ra, dec = (np.asarray(table.columns[column].values, np.float64) for column in (ra_name, dec_name))
    number = np.asarray(_column(table, ("SID", "NUMBER"), np.arange(1, len(table) + 1)), np.int64)
    flags = np.asarray(_column(table, ("FLAGS",), np.zeros(len(table))), np.int64)
    known = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90)
    kept = known & ((flags & flag_mask) == 0)
    for count, why in (((~known).sum(), "no position"), ((known & ~kept).sum(), f"FLAGS has a bit of {flag_mask}")):
        if count:
            left_out.append(LeftOut(name=f"{count} sources of {name}", reason=why))
    rows = np.flatnonzero(kept)
    small = np.zeros(len(rows), np.int16)
    members = Members(np.arange(len(rows)), np.full(len(rows), before + 1, np.int32), number[rows], small,
                      np.zeros(len(rows)), ra[rows], dec[rows], small.copy())  # fmt: skip
    return members, [name]


def _associations_of(table: Table, place: int, before: int, name: str) -> tuple[Members, list[str]]:
    """Return the members of an associate list, as its associations hold them."""
    needed = ("AID", "SLID", "SID", "FLAG", "DISTANCE", "RA", "DEC")
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise UsageError(f"{name} is no AssociateList: it has no column {missing[0]}")
    columns = {column: table.columns[column].values for column in needed}
    lists = np.asarray(columns["SLID"], np.int64)
    count = int(lists.max(initial=0))
    given = getattr(table.attributes, "lists", None)
    names = [str(entry) for entry in given] if isinstance(given, list) and len(given) >= count else []
    names = names or [f"{name}, list {number}" for number in range(1, count + 1)]
    _, association = np.unique(np.asarray(columns["AID"], np.int64), return_inverse=True)
    whole = np.full(len(lists), place, np.int64)
    members = Members(association.astype(np.int64), lists + before, np.asarray(columns["SID"], np.int64),
                      np.array(columns["FLAG"], np.int64), np.array(columns["DISTANCE"], np.float64),
                      np.asarray(columns["RA"], np.float64), np.asarray(columns["DEC"], np.float64), whole)  # fmt: skip
    return members, names


def _name(table: Table, place: int) -> str:
    given = getattr(table.attributes, "file_name", None)
    return str(given) if given else f"list {place}"


def _column(table: Table, names: Sequence[str], default: NDArray[Any]) -> NDArray[Any]:
    return next((np.asarray(table.columns[name].values) for name in names if name in table.columns), default)


def _columns(members: Members) -> dict[str, Column]:
    import astropy.units as u
    from astropy_healpix import lonlat_to_healpix

    cells = np.zeros(len(members), np.int64)
    if len(members):
        cells = lonlat_to_healpix(members.ra * u.deg, members.dec * u.deg, 2**HEALPIX_ORDER, order="nested")
    return {
        "ALID": Column(members.origin.astype(np.int32), "", "associate list it came in with, or 0"),
        "AID": Column(members.association, "", "number of the association"),
        "SLID": Column(members.list_number.astype(np.int32), "", "source list, by its place"),
        "SID": Column(members.source, "", "number of the source in its list"),
        "FLAG": Column(members.flag.astype(np.int16), "", f"{ALONE} alone, {AMBIGUOUS} ambiguous"),
        "DISTANCE": Column(members.distance, "arcsec", "from the association it joined"),
        "RA": Column(members.ra, "deg", "right ascension of the source"),
        "DEC": Column(members.dec, "deg", "declination of the source"),
        "HPX29": Column(np.asarray(cells, np.int64), "", "HEALPix cell, nested, order 29"),
    }


def _measure(members: Members, taken: int, without_partner: int) -> list[Measured]:
    alone = (members.flag & ALONE) != 0
    count = int(members.association[-1]) if len(members) else 0
    joined = members.distance[~alone & (members.distance > 0)]
    measured = [
        Measured("source_count", taken),
        Measured("association_count", count),
        Measured("matched_count", count - int(alone.sum())),
        Measured("single_count", int(alone.sum())),
        Measured("unmatched_count", without_partner),
        Measured("ambiguous_count", int(np.count_nonzero(members.flag & AMBIGUOUS))),
    ]
    if len(joined):
        measured.append(Measured("median_distance", float(np.median(joined)), unit="arcsec"))
        measured.append(Measured("rms_distance", float(np.sqrt(np.mean(joined**2))), unit="arcsec"))
    return measured


def _attributes(tables: Sequence[Table], names: list[str], measured: list[Measured]) -> FrameAttributes:
    """Return what the lists share, the first date, and the lists' names."""
    given = [table.attributes for table in tables]
    values: dict[str, Any] = {"instrument": given[0].instrument, "lists": names}
    for name in ("chip", "filter", "object", "night", "photometry"):
        different = {getattr(entry, name) for entry in given}
        if len(different) == 1:
            values[name] = different.pop()
    dates = sorted(entry.date_obs for entry in given if entry.date_obs)
    nights = sorted(entry.night for entry in given if entry.night)
    values["date_obs"] = dates[0] if dates else None
    values["night"] = nights[0] if nights else None
    positions = [(entry.ra, entry.dec) for entry in given if entry.ra is not None and entry.dec is not None]
    if positions:
        values["ra"], values["dec"] = positions[0]
    return FrameAttributes(**values, **{value.name: value.value for value in measured})


RECIPE = Recipe(
    name="AssociateList",
    version="1",
    function=associate_list,
    inputs=(Input("source_lists", ("SourceList", "AssociateList"), minimum=2, maximum=None, primary=True),),
    outputs=("AssociateList",),
    split_by=(),
    runs_on="node",
)
