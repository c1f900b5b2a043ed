"""Calibration timestamps: what is valid when, what eclipses what, and changing them.

A part of a validity is eclipsed where another calibration of the same kind, chip, filter and readout mode goes before,
by the rule of ``archive.calibration``: those without quality flags first, of them the newest.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import transaction

from archive.audit import of_product, record
from archive.calibration import DOUBT_MATTERS, Ranked
from archive.context import Context, may_change, visible
from archive.filter_texts import BadSelection, moment
from archive.models import Product, Validity
from recipes.kinds import KINDS

KINDS_WITH_TIMES = tuple(kind.name for kind in KINDS.values() if kind.is_calibration)
MOST_BARS = 300
EARLIEST = datetime.datetime.min.replace(tzinfo=datetime.UTC)
LATEST = datetime.datetime.max.replace(tzinfo=datetime.UTC)
Span = tuple[datetime.datetime, datetime.datetime]
_COLUMNS = ("pk", "name", "kind", "filter_name", "readout_mode", "timestamp_start", "timestamp_end", "created",
            "is_valid", "quality_flags", "stale_because")  # fmt: skip


@dataclass(frozen=True)
class Lane:
    """Which calibrations stand in for each other, of one instrument and chip."""

    kind: str
    filter: str
    readout_mode: str


@dataclass
class Valid(Ranked):
    """A calibration, from when to when it is valid, and in which parts of that it is chosen; None is an open end."""

    pk: int
    name: str
    start: datetime.datetime | None
    end: datetime.datetime | None
    created: datetime.datetime
    is_valid: int
    quality_flags: int
    stale_because: int | None
    chosen: list[Span] = field(default_factory=list)

    @property
    def span(self) -> Span:
        """Its validity with ends for what is open."""
        return self.start or EARLIEST, self.end or LATEST

    @property
    def is_bad(self) -> bool:
        """Whether a person called it bad, so that it serves never."""
        return self.is_valid == Validity.BAD


@dataclass(frozen=True)
class Timestamps:
    """The lanes with their calibrations, the newest first, and how many older ones were left out."""

    lanes: dict[Lane, list[Valid]]
    left_out: int


def timestamps_of(
    context: Context, instrument: str, chip: str, kinds: Sequence[str] = (), within: Span = (EARLIEST, LATEST)
) -> Timestamps:
    """Return the calibrations of a chip that are valid at some time `within`, as this context would choose them."""
    products = (
        visible(context)
        .filter(instrument=instrument, chip=chip, kind__in=list(kinds) or KINDS_WITH_TIMES)
        .exclude(timestamp_end__lt=within[0])
        .exclude(timestamp_start__gt=within[1])
    )
    rows = list(products.order_by("-pk").values_list(*_COLUMNS)[: MOST_BARS + 1])
    left_out = 0
    if len(rows) > MOST_BARS:
        left_out = products.order_by()[: 10 * MOST_BARS].count() - MOST_BARS
    lanes: dict[Lane, list[Valid]] = defaultdict(list)
    for pk, name, kind, filter_name, mode, start, end, created, is_valid, flags, stale in rows[:MOST_BARS]:
        lane = Lane(kind, filter_name or "", mode)
        lanes[lane].append(Valid(pk, name, start, end, created, is_valid, flags, stale))
    for lane, calibrations in lanes.items():
        _choose(lane, calibrations)
        calibrations.sort(key=lambda each: (each.created, each.pk), reverse=True)
    order = {kind: place for place, kind in enumerate(KINDS)}
    ordered = sorted(lanes, key=lambda lane: (order[lane.kind], lane.filter, lane.readout_mode))
    return Timestamps({lane: lanes[lane] for lane in ordered}, left_out)


def _choose(lane: Lane, calibrations: Sequence[Valid]) -> None:
    """Find the parts of each validity in which it is chosen: what those before it in rank have left."""
    ranked = sorted(calibrations, key=lambda each: each.rank, reverse=True)
    taken: list[Span] = []
    for each in ranked:
        in_doubt = lane.kind in DOUBT_MATTERS and each.quality_flags and each.is_valid != Validity.GOOD
        if each.is_bad or in_doubt or each.span[0] > each.span[1]:
            continue
        each.chosen = _without(each.span, taken)
        taken.append(each.span)


def _without(span: Span, taken: Sequence[Span]) -> list[Span]:
    """Return the parts of a span that no other has taken."""
    parts = [span]
    for begin, end in taken:
        parts = [
            part
            for first, last in parts
            for part in ((first, min(last, begin)), (max(first, end), last))
            if part[0] < part[1]
        ]
    return parts


def set_timestamps(context: Context, product: Product, start: str, end: str) -> None:
    """Change from when to when a calibration is valid; an empty text leaves that end open.

    Raises BadSelection for what is no time, and PermissionError for whom it is not to change.
    """
    if not may_change(context, product):
        raise PermissionError("only its creator, a manager of its project or an administrator changes its timestamps")
    if product.kind not in KINDS_WITH_TIMES:
        raise BadSelection(f"{product.name} is no calibration: it has no timestamps")
    begin = moment("valid from", start) if start.strip() else None
    until = moment("valid until", end) if end.strip() else None
    if begin is not None and until is not None and begin >= until:
        raise BadSelection("valid until: the end lies before the beginning")
    with transaction.atomic():
        before = Product.objects.select_for_update().get(pk=product.pk)
        Product.objects.filter(pk=product.pk).update(timestamp_start=begin, timestamp_end=until)
        was, now = _told(before.timestamp_start, before.timestamp_end), _told(begin, until)
        if was != now:
            record(context.user, of_product(before, "timestamps", was, now))


def _told(start: datetime.datetime | None, end: datetime.datetime | None) -> str:
    """Return a validity for a person."""
    return " to ".join(moment.strftime("%Y-%m-%d %H:%M:%S") if moment else "open" for moment in (start, end))
