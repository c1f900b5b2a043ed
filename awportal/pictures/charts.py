"""Plots as numbers for SVG: places of ticks, paths, dots. The templates draw them, so they take the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

LEFT, RIGHT, TOP, BOTTOM = 72.0, 14.0, 26.0, 36.0


@dataclass(frozen=True)
class Tick:
    """A place on an axis with its label."""

    place: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A point; `this` marks the one in question, `out` one beyond its limits."""

    x: float
    y: float
    title: str = ""
    link: str = ""
    this: bool = False
    out: bool = False
    colour: str = ""


@dataclass(frozen=True)
class Arrow:
    """An arrow from one place to another."""

    x: float
    y: float
    to_x: float
    to_y: float
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A horizontal or vertical line with a label."""

    place: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A plot in the coordinates of its own view box."""

    width: float
    height: float
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    path: str = ""
    area: str = ""
    dots: list[Dot] = field(default_factory=list)
    limits: list[Line] = field(default_factory=list)
    marks: list[Line] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    key: Arrow | None = None  # the arrow that tells the length of the others
    scale: list[Dot] = field(default_factory=list)  # the colours of the dots, and what their ends stand for
    scale_ends: tuple[str, str] | None = None

    @property
    def bottom(self) -> float:
        """Where the horizontal axis lies."""
        return self.height - BOTTOM

    @property
    def top(self) -> float:
        """Where the plot begins."""
        return TOP

    @property
    def left(self) -> float:
        """Where the vertical axis lies."""
        return LEFT

    @property
    def right(self) -> float:
        """Where the plot ends."""
        return self.width - RIGHT


@dataclass(frozen=True)
class Axis:
    """Where values lie along an axis of a plot."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the place of a value."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)

    def ticks(self, wanted: int) -> list[Tick]:
        """Return about so many ticks at round values."""
        step = _step(self.low, self.high, wanted)
        first = math.ceil(self.low / step - 1e-9)
        places = [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [Tick(self.place(value), _label(value, step)) for value in places]


def histogram_chart(counts: Sequence[int], edges: Sequence[float], unit: str, low: float, high: float) -> Chart | None:
    """Return the histogram of pixel values (logarithmic counts), with the picture's black and white marked."""
    if not counts or len(edges) != len(counts) + 1:
        return None
    width, height = 680.0, 240.0
    x = _axis(edges[0], edges[-1], LEFT, width - RIGHT, 0.0)
    top = math.log10(max(counts) + 1) or 1.0
    y = Axis(0.0, top, height - BOTTOM, TOP)
    steps = [f"M{x.place(edges[0])},{y.place(0)}"]
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        level = y.place(math.log10(count + 1))
        steps.append(f"L{x.place(left)},{level}L{x.place(right)},{level}")
    steps.append(f"L{x.place(edges[-1])},{y.place(0)}Z")
    decades = [Tick(y.place(power), f"{10**power:,}".replace(",", " ")) for power in range(int(top) + 1)]
    marks = [
        Line(x.place(value), label)
        for value, label in ((low, "black"), (high, "white"))
        if edges[0] <= value <= edges[-1]
    ]
    label = f"pixel value [{unit}]" if unit else "pixel value"
    return Chart(width, height, label, "pixels of a sample", x.ticks(6), decades, area="".join(steps), marks=marks)


def trend_chart(
    points: Sequence[tuple[float, str, str, bool]], label: str, lower: float | None, upper: float | None
) -> Chart | None:
    """Return a value's history: points (value, title, link, this one) in their order, with its limits as lines."""
    good = [point for point in points if math.isfinite(point[0])]
    if len(good) < 2:
        return None
    width, height = 420.0, 160.0
    limits = [limit for limit in (lower, upper) if limit is not None and math.isfinite(limit)]
    spread = [point[0] for point in good]
    near = [limit for limit in limits if _is_near(limit, spread)]
    y = _axis(min(spread + near), max(spread + near), height - BOTTOM, TOP, 0.08)
    x = Axis(0.5, len(good) + 0.5, LEFT, width - RIGHT)
    dots = [
        Dot(x.place(place), y.place(value), title, link, this, not _within(value, lower, upper))
        for place, (value, title, link, this) in enumerate(good, 1)
    ]
    path = "M" + "L".join(f"{dot.x},{dot.y}" for dot in dots)
    lines = [Line(y.place(limit), f"limit {limit:g}") for limit in near]
    return Chart(
        width, height, "products in the order of observation", label, [], y.ticks(4), path, dots=dots, limits=lines
    )


def curve_chart(
    xs: Sequence[float], ys: Sequence[float], x_label: str, y_label: str, fit: Sequence[float] = ()
) -> Chart | None:
    """Return a plot of measured points; `fit` is what a model says at the same places, drawn as a line."""
    pairs = [(x, y) for x, y in zip(xs, ys, strict=False) if math.isfinite(x) and math.isfinite(y)]
    if len(pairs) < 2:
        return None
    width, height = 680.0, 260.0
    x_axis = _axis(min(x for x, _ in pairs), max(x for x, _ in pairs), LEFT, width - RIGHT, 0.04)
    y_axis = _axis(min(y for _, y in pairs), max(y for _, y in pairs), height - BOTTOM, TOP, 0.06)
    dots = [Dot(x_axis.place(x), y_axis.place(y), f"{x:g}, {y:g}") for x, y in pairs]
    along = sorted((x, y) for x, y in zip(xs, fit, strict=False) if math.isfinite(x) and math.isfinite(y))
    path = "M" + "L".join(f"{x_axis.place(x)},{y_axis.place(y)}" for x, y in along) if len(along) > 1 else ""
    return Chart(width, height, x_label, y_label, x_axis.ticks(6), y_axis.ticks(5), path, dots=dots)


def profile_chart(values: Sequence[float | None], factor: int, along: str, label: str) -> Chart | None:
    """Return the medians of a frame's columns (or rows) along it; of `factor` pixels there is one value."""
    known = [(place, value) for place, value in enumerate(values) if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return None
    width, height = 680.0, 180.0
    x = Axis(1, len(values) * factor, LEFT, width - RIGHT)
    spread = [value for _, value in known]
    y = _axis(min(spread), max(spread), height - BOTTOM, TOP, 0.06)
    # A hole in the frame is a hole in the line.
    steps = [
        f"{'L' if before + 1 == place else 'M'}{x.place((place + 0.5) * factor + 0.5)},{y.place(value)}"
        for before, (place, value) in zip([-9, *(place for place, _ in known)], known, strict=False)
    ]
    return Chart(width, height, along, label, x.ticks(6), y.ticks(4), "".join(steps))


def _axis(low: float, high: float, start: float, end: float, margin: float) -> Axis:
    if not high > low:
        room = abs(low) * 0.01 or 1.0
        low, high = low - room, high + room
    extra = (high - low) * margin
    return Axis(low - extra, high + extra, start, end)


def _step(low: float, high: float, wanted: int) -> float:
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _label(value: float, step: float) -> str:
    if value and (abs(value) >= 1e6 or step < 1e-4):
        return f"{value:.3g}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:,.{decimals}f}".replace(",", " ")
    return "0" if float(f"{value:.{decimals}f}") == 0 else text.replace("-", "−")


def _within(value: float, lower: float | None, upper: float | None) -> bool:
    return (lower is None or value >= lower) and (upper is None or value <= upper)


def _is_near(limit: float, values: Sequence[float]) -> bool:
    """Whether the limit can be drawn without pressing the points into a line."""
    span = max(values) - min(values) or abs(values[0]) or 1.0
    return min(values) - 6 * span <= limit <= max(values) + 6 * span
