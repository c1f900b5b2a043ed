"""Draw calibration timestamps: a bar each along time, the newest on top, eclipsed parts pale, bad ones struck."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.urls import reverse

from archive.timestamps import EARLIEST, LATEST, Lane, Span, Timestamps, Valid

WIDTH, LEFT, RIGHT, TOP = 1180, 8, 12, 8
BAR, ROW, HEADING = 12, 18, 24
_AXIS = 28
_LABEL = 34  # half of a date's width
_DAY = 86400.0
# Distances of ticks [days], with how their dates are written.
_STEPS = ((1, "%Y-%m-%d"), (2, "%Y-%m-%d"), (7, "%Y-%m-%d"), (14, "%Y-%m-%d"), (30, "%Y-%m-%d"), (91, "%Y-%m"),
          (183, "%Y-%m"), (365, "%Y"), (730, "%Y"), (3653, "%Y"))  # fmt: skip
_MOST_TICKS = 9
Place = Callable[[datetime.datetime], float]


@dataclass(frozen=True)
class Part:
    """A piece of a bar: chosen or not."""

    x: float
    width: float
    style: str


@dataclass
class Bar:
    """A calibration's bar, with what is told of it where the pointer or the focus is."""

    link: str
    y: float
    told: str
    parts: list[Part]
    strike: tuple[float, float] | None = None

    @property
    def middle(self) -> float:
        """Where the line lies that strikes a bad one."""
        return self.y + BAR / 2


@dataclass
class LaneRows:
    """A lane's heading and bars; what is told stands where the heading's line has room."""

    title: str
    y: float
    bars: list[Bar] = field(default_factory=list)


@dataclass
class ValidityChart:
    """All that the template draws; lengths are pixels."""

    height: float
    lanes: list[LaneRows]
    ticks: list[tuple[float, str]]
    now: float | None
    begin: datetime.datetime
    end: datetime.datetime
    width: int = WIDTH

    @property
    def bottom(self) -> float:
        """Where the axis lies."""
        return self.height - _AXIS


def validity_chart(found: Timestamps, within: Span, now: datetime.datetime) -> ValidityChart | None:
    """Return the chart of these calibrations over a span of time, or over all their times; None without any."""
    bars = [each for calibrations in found.lanes.values() for each in calibrations]
    if not bars:
        return None
    begin, end = _span_of(bars, within, now)
    scale = (WIDTH - LEFT - RIGHT) / (end - begin).total_seconds()

    def place(at: datetime.datetime) -> float:
        return round(LEFT + (min(max(at, begin), end) - begin).total_seconds() * scale, 1)

    lanes, y = [], float(TOP)
    for lane, calibrations in found.lanes.items():
        rows = LaneRows(_title(lane), y + 16)
        y += HEADING
        for each in calibrations:
            rows.bars.append(_bar(each, y, place))
            y += ROW
        lanes.append(rows)
        y += 6
    here = place(now) if begin <= now <= end else None
    return ValidityChart(y + _AXIS, lanes, _ticks(begin, end, place), here, begin, end)


def _title(lane: Lane) -> str:
    mode = "" if lane.readout_mode == "default" else f" · {lane.readout_mode}"
    return f"{lane.kind}{f' · {lane.filter}' if lane.filter else ''}{mode}"


def _span_of(bars: Sequence[Valid], within: Span, now: datetime.datetime) -> Span:
    """Return what the axis covers: what was asked for, else from the first validity to the last."""
    edges = [edge for each in bars for edge in (each.start, each.end) if edge is not None] or [now]
    begin = within[0] if within[0] != EARLIEST else min(edges)
    end = within[1] if within[1] != LATEST else max(edges)
    margin = max((end - begin) * 0.02, datetime.timedelta(days=1))
    return begin - margin, end + margin


def _bar(each: Valid, y: float, place: Place) -> Bar:
    start, end = each.span
    whole = Part(place(start), max(2.0, place(end) - place(start)), "bad" if each.is_bad else "pale")
    chosen = [Part(place(first), max(1.0, place(last) - place(first)), "chosen") for first, last in each.chosen]
    strike = (whole.x, whole.x + whole.width) if each.is_bad else None
    return Bar(reverse("product", args=[each.pk]), y, _told(each), [whole, *chosen], strike)


def _told(each: Valid) -> str:
    start = f"{each.start:%Y-%m-%d %H:%M}" if each.start else "ever"
    end = f"{each.end:%Y-%m-%d %H:%M}" if each.end else "ever"
    parts = [f"{each.name}: valid {start} to {end}", f"made {each.created:%Y-%m-%d %H:%M}"]
    if each.is_bad:
        parts.append("called bad, never chosen")
    elif not each.chosen:
        parts.append("eclipsed altogether")
    elif each.chosen != [each.span]:
        parts.append("eclipsed in part")
    if each.quality_flags:
        parts.append("flagged")
    return ", ".join(parts)


def _ticks(begin: datetime.datetime, end: datetime.datetime, place: Place) -> list[tuple[float, str]]:
    days = (end - begin).total_seconds() / _DAY
    step, form = next(((step, form) for step, form in _STEPS if days / step <= _MOST_TICKS), _STEPS[-1])
    first = begin.replace(hour=0, minute=0, second=0, microsecond=0) + datetime.timedelta(days=1)
    if form != "%Y-%m-%d":
        first = first.replace(day=1)
    ticks = []
    for number in range(_MOST_TICKS * 2):
        at = first + datetime.timedelta(days=step * number)
        if form != "%Y-%m-%d":  # months and years begin on their first day
            at = _month(first, round(step / 30.44) * number)
        if begin <= at <= end and LEFT + _LABEL <= place(at) <= WIDTH - RIGHT - _LABEL:
            ticks.append((place(at), at.strftime(form)))
    return ticks


def _month(first: datetime.datetime, later: int) -> datetime.datetime:
    months = first.year * 12 + first.month - 1 + later
    return first.replace(year=months // 12, month=months % 12 + 1)
