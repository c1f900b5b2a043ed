"""Residuals over the chip or the field, as numbers for SVG: arrows where they have a direction, else coloured dots."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from awportal.pictures.charts import BOTTOM, LEFT, RIGHT, TOP, Arrow, Axis, Chart, Dot

_WIDTH, _LONGEST_SIDE = 680.0, 460.0
# A diverging scale in seven steps, blue to red through grey, that reads on light and on dark ground (after ColorBrewer
# RdBu, C. Brewer; the middle is darker than hers).
_STEPS = ("#2166ac", "#4393c3", "#8ab6d6", "#9a9a9a", "#e8a183", "#d6604d", "#b2182b")
_LENGTH = 46.0  # of an arrow at the scale that the label tells, in units of the plot
_MOST = 4000

_Values = Sequence[float]


def arrow_map(x: _Values, y: _Values, dx: _Values, dy: _Values, labels: tuple[str, str, str]) -> Chart | None:
    """Return arrows (dx, dy) at their places; `labels` are those of the axes and the unit of the arrows.

    Right ascension grows to the left on the sky, so dx is drawn as it is told: towards larger x labels.
    """
    rows = _finite(x, y, dx, dy)
    if len(rows) < 2:
        return None
    across, up, height = _axes([row[0] for row in rows], [row[1] for row in rows])
    unit = _round(float(np.percentile([math.hypot(row[2], row[3]) for row in rows], 90)) or 1.0)
    factor = _LENGTH / unit
    arrows = [
        Arrow(px, py, round(px + dx * factor, 1), round(py - dy * factor, 1), f"{dx:+.3g}, {dy:+.3g} {labels[2]}")
        for px, py, dx, dy in ((across.place(row[0]), up.place(row[1]), row[2], row[3]) for row in rows)
    ]
    key = Arrow(_WIDTH - RIGHT - _LENGTH, 12, _WIDTH - RIGHT, 12, f"{unit:g} {labels[2]}")
    return Chart(_WIDTH, height, labels[0], labels[1], across.ticks(6), up.ticks(5), arrows=arrows, key=key)


def coloured_map(x: _Values, y: _Values, values: _Values, labels: tuple[str, str, str]) -> Chart | None:
    """Return dots at their places, coloured by value; `labels` are those of the axes and the unit of the values."""
    rows = _finite(x, y, values)
    if len(rows) < 2:
        return None
    across, up, height = _axes([row[0] for row in rows], [row[1] for row in rows])
    end = _round(float(np.percentile([abs(row[2]) for row in rows], 90)) or 1.0)
    dots = [
        Dot(across.place(px), up.place(py), f"{value:+.3g} {labels[2]}", colour=_colour(value / end))
        for px, py, value in rows
    ]
    right = _WIDTH - RIGHT - 60
    scale = [Dot(right - 13 * (len(_STEPS) - 1 - step), 10, colour=colour) for step, colour in enumerate(_STEPS)]
    ends = (f"−{end:g}", f"+{end:g} {labels[2]}")
    return Chart(
        _WIDTH, height, labels[0], labels[1], across.ticks(6), up.ticks(5), dots=dots, scale=scale, scale_ends=ends
    )


def _finite(*columns: _Values) -> list[tuple[float, ...]]:
    rows = [row for row in zip(*columns, strict=True) if all(math.isfinite(value) for value in row)]
    return rows[:: -(-len(rows) // _MOST) or 1]


def _axes(xs: list[float], ys: list[float]) -> tuple[Axis, Axis, float]:
    """Return axes of one scale, and the height of the plot: a chip is drawn in its own proportions."""
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    room = max(right - left, high - low, 1e-9) * 0.04
    left, right, low, high = left - room, right + room, low - room, high + room
    scale = min((_WIDTH - LEFT - RIGHT) / (right - left), _LONGEST_SIDE / (high - low))
    height = TOP + BOTTOM + (high - low) * scale
    return (
        Axis(left, right, LEFT, LEFT + (right - left) * scale),
        Axis(low, high, height - BOTTOM, TOP),
        round(height, 1),
    )


def _round(value: float) -> float:
    """Return a number near `value` that reads well: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return min((factor * power for factor in (1, 2, 5, 10)), key=lambda each: abs(math.log(each / value)))


def _colour(part: float) -> str:
    middle = len(_STEPS) // 2
    return _STEPS[max(0, min(len(_STEPS) - 1, middle + round(part * middle)))]
