"""A night's log as an observer reads it: exposures in the order of time, what is remarked, what was made of them."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import Any

from django.db.models import QuerySet

from archive.context import Context, visible
from archive.facets import LOGGED, values_of
from archive.models import Lineage, Product, Validity
from recipes.kinds import KINDS

RAW = tuple(kind.name for kind in KINDS.values() if kind.is_raw)
_GENERATIONS = 6
_MOST_STEPS = 5000
_BATCH = 500
_NO_TIME = datetime.datetime.max.replace(tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Night:
    """A night of an instrument of which there are raw frames."""

    instrument: str
    night: datetime.date


@dataclass(frozen=True)
class Tally:
    """How many frames of a kind and filter there are, and in how many exposures."""

    kind: str
    filter: str
    frames: int
    exposures: int


@dataclass(frozen=True)
class Made:
    """Products of a kind that were made of an exposure: how many, how many of them in doubt, and one of them."""

    kind: str
    count: int
    flagged: int
    bad: int
    example: int


@dataclass
class Exposure:
    """One exposure: its frames are those of its chips. Times are UT, the exposure time in seconds."""

    time: datetime.datetime | None
    kind: str
    object: str
    filter: str
    exposure_time: float | None
    airmass: float | None = None
    frames: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    chips: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The frame's name, or what the names of its chips have in common."""
        names = sorted(set(self.names))
        return names[0] if len(names) == 1 else f"{commonprefix(names)}…"  # noqa: RUF071 - by characters is meant


def nights(context: Context, instrument: str = "") -> list[Night]:
    """Return the nights of which `context` may see raw frames, newest first."""
    pairs = [text.partition(" ") for text in values_of(context, (LOGGED,))[LOGGED]]
    found = [Night(name, datetime.date.fromisoformat(night)) for night, _, name in pairs if instrument in {"", name}]
    return sorted(found, key=lambda each: (-each.night.toordinal(), each.instrument))


def tallies(context: Context, some: Sequence[Night]) -> dict[Night, list[Tally]]:
    """Return of each night how many frames of which kind and filter there are."""
    wanted = set(some)
    frames: Counter[tuple[Night, str, str]] = Counter()
    times: dict[tuple[Night, str, str], set[datetime.datetime]] = defaultdict(set)
    # Counted here: to group them SQLite would go through an index of all products.
    rows = visible(context).filter(night__in={each.night for each in some}).order_by()
    columns = ("instrument", "night", "kind", "filter_name", "date_obs")
    for name, night, kind, filter_name, at in rows.values_list(*columns):
        if night is not None and kind in RAW and (each := Night(name, night)) in wanted:
            key = (each, kind, filter_name or "")
            frames[key] += 1
            if at is not None:
                times[key].add(at)
    found: dict[Night, list[Tally]] = defaultdict(list)
    for key, count in frames.items():
        each, kind, filter_name = key
        found[each].append(Tally(kind, filter_name, count, len(times[key])))
    for tally in found.values():
        tally.sort(key=lambda entry: (RAW.index(entry.kind), entry.filter))
    return found


def times_of(context: Context, which: Night) -> list[datetime.datetime]:
    """Return when the exposures of a night began."""
    times = _frames(context, which).filter(date_obs__isnull=False).values_list("date_obs", flat=True)
    return list(times.order_by("date_obs").distinct())


def exposures(
    context: Context, which: Night, begin: datetime.datetime | None = None, end: datetime.datetime | None = None
) -> list[Exposure]:
    """Return the exposures of a night in the order of time, or those that began from `begin` to `end`.

    Frames without a time come last, and only where the whole night is asked for.
    """
    frames = _frames(context, which)
    if begin is not None:
        frames = frames.filter(date_obs__gte=begin)
    if end is not None:
        frames = frames.filter(date_obs__lte=end)
    columns = ("pk", "name", "kind", "chip", "date_obs", "object_name", "filter_name", "exposure_time",
               "attributes__airmass", "attributes__notes", "is_valid", "quality_flags")  # fmt: skip
    found: dict[tuple[Any, ...], Exposure] = {}
    of_frame: dict[int, Exposure] = {}
    for pk, name, kind, chip, at, target, filter_name, seconds, airmass, notes, is_valid, flags in (
        frames.order_by("date_obs", "chip", "pk").values_list(*columns)
    ):  # fmt: skip
        key = (at or name, kind, target, filter_name, seconds)
        exposure = found.setdefault(key, Exposure(at, kind, target or "", filter_name or "", seconds))
        of_frame[pk] = exposure
        exposure.frames.append(pk)
        exposure.names.append(name)
        exposure.chips.append(chip)
        if exposure.airmass is None and isinstance(airmass, int | float):
            exposure.airmass = float(airmass)
        for remark in _remarks(chip, notes, is_valid, flags):
            if remark not in exposure.remarks:
                exposure.remarks.append(remark)
    _add_made(context, of_frame)
    return sorted(found.values(), key=lambda exposure: exposure.time or _NO_TIME)


def _frames(context: Context, which: Night) -> QuerySet[Product]:
    return visible(context).filter(instrument=which.instrument, night=which.night, kind__in=RAW)


def _remarks(chip: str, notes: Any, is_valid: int, flags: int) -> Iterator[str]:
    if is_valid == Validity.BAD:
        yield f"chip {chip} called bad" if chip else "called bad"
    if flags:
        yield f"chip {chip} flagged" if chip else "flagged"
    if isinstance(notes, list):
        yield from map(str, notes)


def _add_made(context: Context, of_frame: dict[int, Exposure]) -> None:
    """Tell each exposure what was made of it, down to calibrations: what those serve is not made of it alone."""
    # Number of a product: the exposures that it descends from.
    descends: dict[int, set[int]] = {pk: {id(exposure)} for pk, exposure in of_frame.items()}
    by_id = {id(exposure): exposure for exposure in of_frame.values()}
    counted: dict[int, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    examples: dict[tuple[int, str], int] = {}
    told: set[int] = set()
    generation = list(of_frame)
    steps = 0
    for _ in range(_GENERATIONS):
        following: set[int] = set()
        rows: dict[int, tuple[str, int, int]] = {}
        for source, product, kind, is_valid, flags in _children(context, generation):
            steps += 1
            descends.setdefault(product, set()).update(descends[source])
            rows[product] = (kind, is_valid, flags)
        for product, (kind, is_valid, flags) in rows.items():
            if product in told:
                continue
            told.add(product)
            for exposure in descends[product]:
                count = counted[exposure][kind]
                count["all"] += 1
                count["flagged"] += bool(flags)
                count["bad"] += is_valid == Validity.BAD
                examples.setdefault((exposure, kind), product)
            if kind in KINDS and not KINDS[kind].is_calibration:
                following.add(product)
        generation = sorted(following)
        if not generation or steps > _MOST_STEPS:
            break
    order = {kind: place for place, kind in enumerate(KINDS)}
    for number, kinds in counted.items():
        by_id[number].made = [
            Made(kind, count["all"], count["flagged"], count["bad"], examples[number, kind])
            for kind, count in sorted(kinds.items(), key=lambda pair: order.get(pair[0], len(order)))
        ]


def _children(context: Context, numbers: Sequence[int]) -> Iterable[tuple[int, int, str, int, int]]:
    """Yield source, product, kind, verdict and flags of what was made directly from these."""
    for start in range(0, len(numbers), _BATCH):
        made = Lineage.objects.filter(source__in=numbers[start : start + _BATCH])
        children = visible(context).filter(pk__in=made.values("product"))
        known = {pk: row for pk, *row in children.order_by().values_list("pk", "kind", "is_valid", "quality_flags")}
        for source, product in made.order_by().values_list("source_id", "product_id"):
            if product in known:
                kind, is_valid, flags = known[product]
                yield source, product, kind, is_valid, flags
