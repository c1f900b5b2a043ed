"""The frames of a night put in order: which belong together, and which of them a recipe takes.

Nothing here knows an instrument or a recipe: frames are told apart by their attributes, and what a recipe takes is read
from the portal's description of it.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from processing_units.nights.descriptions import IS_BAD, Json, of_kind, primary_inputs

# A detector's dark current doubles every 6 to 8 degrees: frames further apart than this are not averaged.
TEMPERATURE_STEP = 2.0  # degree Celsius
# Frames on both sides of local noon (calibrations of a day in the laboratory) are one set if they fit into a day.
_ONE_PART = ["instrument", "chip", "readout_mode", "filter"]
_ONE_SET = datetime.timedelta(hours=24)


@dataclass
class FrameSet:
    """Frames of one instrument and night, and what has been made from them so far."""

    instrument: str
    nights: list[str]
    products: list[Json] = field(default_factory=list)
    primary_roles: Mapping[str, Set[str]] = field(default_factory=dict)  # of each recipe, what it works on

    @property
    def title(self) -> str:
        """Return what it is called."""
        return f"{self.instrument} {' and '.join(self.nights) or 'of an unknown night'}"

    def add(self, products: Iterable[Json]) -> None:
        """Add products that are not in it yet; those that a person calls bad stay out.

        What a recipe made anew, with a calibration that it had to do without before, takes the place of the old.
        """
        by_key = {_same(product): product for product in self.products}
        for product in products:
            if product["is_valid"] == IS_BAD:
                continue
            there = by_key.get(_same(product))
            if there is None or there["id"] < product["id"]:
                by_key[_same(product)] = product
        self.products = list(by_key.values())


def _same(product: Json) -> tuple[object, ...]:
    """Return what two makings of one product have in common; a raw frame is only ever itself."""
    what = product["name"] if product["recipe"] else product["id"]
    return product["kind"], product["chip"], product["readout_mode"], what


def group_frames(frames: Iterable[Json]) -> list[FrameSet]:
    """Return the frames by instrument and night; two nights that fit into one day are one set."""
    by_night: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for frame in frames:
        by_night[frame["instrument"], frame["night"] or ""].append(frame)
    sets: list[FrameSet] = []
    for (instrument, night), members in sorted(by_night.items()):
        last = sets[-1] if sets and sets[-1].instrument == instrument else None
        if last is not None and _fit_into_a_day([*last.products, *members]):
            last.nights.append(night)
        else:
            last = FrameSet(instrument, [night] if night else [])
            sets.append(last)
        last.add(members)
    return sets


def _fit_into_a_day(frames: Sequence[Json]) -> bool:
    times = sorted(_time(frame["date_obs"]) for frame in frames if frame["date_obs"])
    return len(times) == len(frames) and times[-1] - times[0] <= _ONE_SET


def _time(text: str) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def inputs_for(recipe: Json, frames: FrameSet) -> list[dict[str, list[Json]]]:
    """Return what the recipe could work on in this set, by role: a submission for each temperature.

    A role that takes several kinds gets, for each chip and filter as the recipe tells them apart, the first kind of its
    list of which there is enough.
    """
    entries = primary_inputs(recipe)
    if len(entries) == 1:
        role, found = entries[0]["role"], _first_kind_with_enough(recipe, entries[0], frames)
        # Where each product is a job of its own none is missed by another; then its calibrations are those of its
        # own temperature.
        alone = "product" in recipe["split_by"]
        of_filters = "filter" in recipe["split_by"] or any(product["filter"] for product in found)
        if alone or not of_filters:
            sets = _by_temperature(found, 1 if alone else entries[0]["minimum"])
        else:
            sets = [found] if found else []
        return [{role: _at_most(recipe, entries[0], products)} for products in sets]
    chosen: dict[str, list[Json]] = {}
    for entry in entries:
        found = _at_most(recipe, entry, _first_kind_with_enough(recipe, entry, frames))
        if found:
            chosen[entry["role"]] = found
    return [chosen] if chosen else []


def nearest_calibrations(recipe: Json, chosen: dict[str, list[Json]], frames: FrameSet) -> dict[str, list[int]]:
    """Return, by role, the set's own calibrations nearest in temperature, where it has several of one kind for a chip.

    The archive takes the newest of those that serve; a night with two set-points has made both a moment ago.
    """
    known = [t for products in chosen.values() for product in products if (t := _temperature(product)) is not None]
    if not known:
        return {}
    wanted = sum(known) / len(known)
    named: dict[str, list[int]] = {}
    for entry in recipe["inputs"]:
        if entry["primary"] or set(entry["kinds"]) & set(recipe["outputs"]):
            continue
        of_part: dict[tuple[str, ...], list[Json]] = defaultdict(list)
        for product in frames.products:
            if product["kind"] in entry["kinds"] and product["valid_from"]:
                of_part[product["kind"], product["chip"], product["filter"], product["readout_mode"]].append(product)
        if any(_are_of_several_temperatures(rivals) for rivals in of_part.values()):
            named[entry["role"]] = [_nearest(rivals, wanted)["id"] for rivals in of_part.values()]
    return named


def _are_of_several_temperatures(rivals: Sequence[Json]) -> bool:
    known = [t for product in rivals if (t := _temperature(product)) is not None]
    return bool(known) and max(known) - min(known) > TEMPERATURE_STEP


def _nearest(rivals: Sequence[Json], temperature: float) -> Json:
    def distance(product: Json) -> tuple[float, int]:
        own = _temperature(product)
        return (1e9 if own is None else abs(own - temperature)), -int(product["id"])

    return min(rivals, key=distance)


def missing_kinds(recipe: Json) -> str:
    """Return which kinds a recipe would have needed."""
    return " or ".join(sorted({kind for entry in primary_inputs(recipe) for kind in entry["kinds"]}))


def _first_kind_with_enough(recipe: Json, entry: Json, frames: FrameSet) -> list[Json]:
    by_part: dict[tuple[object, ...], dict[str, list[Json]]] = defaultdict(dict)
    by_number = {product["id"]: product for product in frames.products}
    for kind in entry["kinds"]:
        for product in of_kind(frames.products, kind):
            part: tuple[object, ...] = _part(recipe, product)
            if "product" in recipe["split_by"]:  # a frame before and after its astrometry are one exposure
                part = (*part, _exposures(product, by_number, frames.primary_roles))
            by_part[part].setdefault(kind, []).append(product)
    chosen: list[Json] = []
    for kinds in by_part.values():
        alternatives = list(kinds.values())
        enough = [members for members in alternatives if len(members) >= entry["minimum"]]
        # Where there is not enough of any, the plan is asked all the same: it says what is missing.
        chosen += enough[0] if enough else sorted(alternatives, key=len)[-1]
    return sorted(chosen, key=lambda product: int(product["id"]))


def _exposures(product: Json, by_number: Mapping[int, Json], roles: Mapping[str, Set[str]]) -> frozenset[int]:
    """Return the frames that a product goes back to by what its recipes worked on; of a calibration none."""
    if product["valid_from"]:
        return frozenset()
    primary = roles.get(product["recipe"], product["inputs"].keys())
    sources = {number for role, numbers in product["inputs"].items() if role in primary for number in numbers}
    found = [_exposures(by_number[number], by_number, roles) for number in sources & by_number.keys()]
    return frozenset().union(*found) or frozenset({product["id"]})


def _at_most(recipe: Json, entry: Json, products: Sequence[Json]) -> list[Json]:
    """Return the products, or, where a job takes fewer, those made from most frames (the newest of equals)."""
    if entry["maximum"] is None or "product" in recipe["split_by"]:
        return list(products)
    size = {product["id"]: sum(map(len, product["inputs"].values())) for product in products}
    by_part: dict[tuple[str, ...], list[Json]] = defaultdict(list)
    for product in sorted(products, key=lambda product: (size[product["id"]], product["id"]), reverse=True):
        by_part[_part(recipe, product)].append(product)
    kept = [product for members in by_part.values() for product in members[: entry["maximum"]]]
    return sorted(kept, key=lambda product: int(product["id"]))


def _part(recipe: Json, product: Json) -> tuple[str, ...]:
    # Where each product is a job, its alternatives are those of the same chip and filter.
    names = [name for name in recipe["split_by"] if name != "product"] or _ONE_PART
    return tuple(str(product.get(name, product["attributes"].get(name)) or "") for name in names)


def _by_temperature(products: Sequence[Json], minimum: int) -> list[list[Json]]:
    """Return the products apart by the detector's temperature; a slow drift over the night stays together.

    For biases and darks (level and dark current change with temperature, a flat's shape does not). Where no temperature
    has enough of them, all stay together: a bias of two temperatures is better than none.
    """
    if not products:
        return []
    known = sorted(
        ((t, int(product["id"]), product) for product in products if (t := _temperature(product)) is not None),
        key=lambda entry: entry[:2],
    )
    groups: list[list[Json]] = []
    before: float | None = None
    for now, _, product in known:
        if before is None or now - before > TEMPERATURE_STEP:
            groups.append([])
        groups[-1].append(product)
        before = now
    unknown = [product for product in products if _temperature(product) is None]
    if unknown and len(groups) == 1:
        groups[0] += unknown  # one temperature is known, and nothing speaks against it
    elif unknown:
        groups.append(unknown)
    if all(len(group) < minimum for group in groups):
        return [list(products)]
    return [sorted(group, key=lambda product: int(product["id"])) for group in groups]


def _temperature(product: Json) -> float | None:
    value = product["attributes"].get("temperature")
    return float(value) if isinstance(value, int | float) else None
