"""The outputs (amplifiers) of a chip that share one image: what each reads, and its overscan, by any camera's cards."""

from __future__ import annotations

import re
from dataclasses import dataclass

from archive.headers import Header
from archive.translation.values import find_number
from recipes.attributes import Section

_OWN_SECTION = re.compile(r"(?:DATASEC|DSEC)([A-Z]|\d{1,2})")
_OWN_RANGE = re.compile(r"S_EFMN(\d)1")


@dataclass(frozen=True)
class Output:
    """One output by numbers: the light it reads, and its prescan or overscan columns (first, end)."""

    name: str
    light: Section
    scan: tuple[int, int] | None = None


def names_with_sections(header: Header) -> list[str]:
    """Return the names of outputs whose sections stand in ``DATASECA``, ``DSEC11`` and the like."""
    return sorted({match[1] for keyword in header.cards if (match := _OWN_SECTION.fullmatch(keyword))})


def outputs_by_numbers(header: Header, width: int, height: int, binning: tuple[int, int]) -> list[Output]:
    """Return the outputs where numbers of pixels tell them; none where there are fewer than two or they cannot be."""
    found = _by_ranges(header) or _by_widths(header, width, height, binning)
    fit = all(0 <= o.light.x0 < o.light.x1 <= width and 0 <= o.light.y0 < o.light.y1 <= height for o in found)
    scans = all(o.scan is None or 0 <= o.scan[0] < o.scan[1] <= width for o in found)
    return found if len(found) > 1 and fit and scans else []


def _by_ranges(header: Header) -> list[Output]:
    """Return outputs by first and last pixel of light (S_EF) and overscan (S_OS), as Subaru's cameras tell them."""

    def bounds(stem: str, name: str, axis: int) -> tuple[int, int] | None:
        first, last = find_number(header, f"{stem}MN{name}{axis}"), find_number(header, f"{stem}MX{name}{axis}")
        return (int(first) - 1, int(last)) if first is not None and last is not None and last >= first else None

    found = []
    for name in sorted({match[1] for keyword in header.cards if (match := _OWN_RANGE.fullmatch(keyword))}):
        columns, rows = bounds("S_EF", name, 1), bounds("S_EF", name, 2)
        if columns is None or rows is None:
            return []
        found.append(Output(name, Section(*rows, *columns), bounds("S_OS", name, 1)))
    return found


def _by_widths(header: Header, width: int, height: int, binning: tuple[int, int]) -> list[Output]:
    """Return outputs of one width, as Keck's cameras tell them: all prescans left, the light, all postscans right."""
    count = int(find_number(header, "NUMAMPS", "NAMPS", "NVIDINP") or 1)
    before, after = (int(find_number(header, keyword) or 0) // binning[0] for keyword in ("PREPIX", "POSTPIX"))
    if not (1 < count <= 16 and before >= 0 and after >= 0 and before + after > 0):
        return []
    of_each, rest = divmod(width - count * (before + after), count)
    if of_each <= 0 or rest:
        return []
    found = []
    for place in range(count):
        start = count * before + place * of_each
        scans = width - count * after
        scan = (scans + place * after, scans + (place + 1) * after) if after else (place * before, (place + 1) * before)
        found.append(Output(str(place + 1), Section(0, height, start, start + of_each), scan))
    return found
