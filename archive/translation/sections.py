"""Where on the raw array light falls, and where the overscan is: from sections, widths, or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archive.headers import Header
from archive.translation.outputs import Output, names_with_sections, outputs_by_numbers
from archive.translation.values import find_number
from recipes.attributes import Amplifier, Section

_SECTION = re.compile(r"[\[(]?\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*[\])]?")
_DATA = ("TRIMSEC", "DATASEC")
_BIAS = ("BIASSEC", "BIASSEC1", "BIASSEC2", "OVERSEC", "OVRSEC", "OVSCSEC", "PRESEC", "POSTSEC", "PRESCAN", "OVERSCAN")
# Widths in columns and rows, left and right, below and above (Lick's UCAM; ESO's detector controllers).
_WIDTHS = {
    "prescan_x": ("ESO DET OUT1 PRSCX",),
    "overscan_x": ("COVER", "ESO DET OUT1 OVSCX"),
    "prescan_y": ("ESO DET OUT1 PRSCY",),
    "overscan_y": ("ROVER", "ESO DET OUT1 OVSCY"),
}


@dataclass
class Sections:
    """IRAF sections of the raw array, by attribute, and notes."""

    found: dict[str, str] = field(default_factory=dict)
    amplifiers: list[Amplifier] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_sections(header: Header, width: int, height: int, binning: tuple[int, int]) -> Sections:
    """Return the sections of an array of `width` × `height` pixels; what contradicts it is left out, and noted."""
    result = Sections()
    data = _first(header, _DATA, (width, height), binning, result.notes)
    for keyword in _BIAS:
        section = _first(header, (keyword,), (width, height), binning, result.notes)
        if section is not None:
            _place(section, data, (width, height), keyword, result)
    if not any(name in result.found for name in _WIDTHS):
        _by_widths(header, (width, height), result)
    if data is None:
        data = _what_is_left(result.found, width, height)
    if data is not None and data != Section(0, height, 0, width):
        result.found["data_section"] = iraf(data)
    result.amplifiers = _amplifiers(header, (width, height), binning, result.notes)
    if result.amplifiers:
        _bound_amplifiers(result)
    elif data is not None:
        _stretch(result, data)
    return result


def parse_section(text: str) -> Section | None:
    """Return a section, also a reversed one or one without brackets; None for an empty one or another text."""
    match = _SECTION.fullmatch(text.strip())
    if match is None:
        return None
    x1, x2, y1, y2 = (int(part) for part in match.groups())
    x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    return Section(y1 - 1, y2, x1 - 1, x2) if x1 >= 1 and y1 >= 1 else None


def iraf(section: Section) -> str:
    """Write a section as IRAF does."""
    return f"[{section.x0 + 1}:{section.x1},{section.y0 + 1}:{section.y1}]"


def _first(
    header: Header, keywords: tuple[str, ...], size: tuple[int, int], binning: tuple[int, int], notes: list[str]
) -> Section | None:
    for keyword in keywords:
        value = header.value(keyword)
        section = parse_section(_spelled_out(value, size)) if isinstance(value, str) else None
        if section is None:
            continue
        fitted = _fitted(section, size, binning)
        if fitted is None:
            notes.append(f"{keyword} = {value} lies outside the image of {size[0]}×{size[1]} pixels: not used")
            continue
        if fitted != section:
            notes.append(f"{keyword} = {value} is in unbinned pixels: taken as {iraf(fitted)}")
        return fitted
    return None


def _spelled_out(text: str, size: tuple[int, int]) -> str:
    """Return a section with the numbers that a * stands for."""
    columns, comma, rows = text.partition(",")
    return columns.replace("*", f"1:{size[0]}") + comma + rows.replace("*", f"1:{size[1]}")


def _fitted(section: Section, size: tuple[int, int], binning: tuple[int, int]) -> Section | None:
    """Return the section if it lies within the array, else if it does when it is binned, else None."""
    if section.x1 <= size[0] and section.y1 <= size[1]:
        return section
    across, along = binning
    binned = Section(section.y0 // along, section.y1 // along, section.x0 // across, section.x1 // across)
    inside = binned.x1 <= size[0] and binned.y1 <= size[1] and min(binned.shape) > 0
    return binned if inside and binning != (1, 1) else None


def _place(section: Section, data: Section | None, size: tuple[int, int], keyword: str, result: Sections) -> None:
    """Say of a bias section whether it lies left, right, below or above of the light."""
    width, height = size
    if data is not None:
        left, right = section.x1 <= data.x0, section.x0 >= data.x1
        below, above = section.y1 <= data.y0, section.y0 >= data.y1
    else:
        tall = section.y1 - section.y0 >= 0.8 * height and section.x1 - section.x0 < 0.5 * width
        wide = section.x1 - section.x0 >= 0.8 * width and section.y1 - section.y0 < 0.5 * height
        left, right = tall and section.x0 < 0.5 * width, tall and section.x0 >= 0.5 * width
        below, above = wide and section.y0 < 0.5 * height, wide and section.y0 >= 0.5 * height
    name = "prescan_x" if left else "overscan_x" if right else "prescan_y" if below else "overscan_y" if above else ""
    if not name:
        result.notes.append(f"{keyword} = {iraf(section)} overlaps the light: not used as overscan")
    else:
        result.found.setdefault(name, iraf(section))


def _by_widths(header: Header, size: tuple[int, int], result: Sections) -> None:
    """Read widths of pre- and overscan where there are no sections."""
    width, height = size
    for name, keywords in _WIDTHS.items():
        count = int(find_number(header, *keywords) or 0)
        if not 0 < count < (width if name.endswith("x") else height) // 2:
            continue
        if name == "overscan_x" and (find_number(header, "AMPSROW") or 1) > 1:
            result.notes.append("overscan columns of several amplifiers: not used, describe the camera in a TOML file")
            continue
        result.found[name] = iraf({
            "prescan_x": Section(0, height, 0, count),
            "overscan_x": Section(0, height, width - count, width),
            "prescan_y": Section(0, count, 0, width),
            "overscan_y": Section(height - count, height, 0, width),
        }[name])  # fmt: skip


def _what_is_left(found: dict[str, str], width: int, height: int) -> Section | None:
    """Return the light-sensitive part as what pre- and overscan leave, None where there is neither."""
    sections = {name: parsed for name, text in found.items() if (parsed := parse_section(text))}
    if not sections:
        return None
    x0 = sections["prescan_x"].x1 if "prescan_x" in sections else 0
    x1 = sections["overscan_x"].x0 if "overscan_x" in sections else width
    y0 = sections["prescan_y"].y1 if "prescan_y" in sections else 0
    y1 = sections["overscan_y"].y0 if "overscan_y" in sections else height
    return Section(y0, y1, x0, x1)


def light_beside(fixed: Mapping[str, Any], attributes: Mapping[str, Any]) -> str | None:
    """Return the light-sensitive section that pre- and overscan told in a camera's file leave; None where none is told.

    What the header says of the light counts as far as they leave it.
    """
    told = {
        name: str(fixed[name]) for name in ("prescan_x", "overscan_x", "prescan_y", "overscan_y") if fixed.get(name)
    }
    width, height = attributes.get("width"), attributes.get("height")
    if not told or fixed.get("data_section") or not isinstance(width, int) or not isinstance(height, int):
        return None
    left = _what_is_left(told, width, height)
    said = parse_section(str(attributes.get("data_section") or ""))
    if left is None or said is None:
        return iraf(left) if left is not None and min(left.shape) > 0 else None
    both = Section(max(left.y0, said.y0), min(left.y1, said.y1), max(left.x0, said.x0), min(left.x1, said.x1))
    return iraf(both) if both.y1 > both.y0 and both.x1 > both.x0 else iraf(left)


def _stretch(result: Sections, data: Section) -> None:
    """Make pre- and overscan as long as the light: every row that is read has its overscan columns."""
    for name in ("prescan_x", "overscan_x", "prescan_y", "overscan_y"):
        section = parse_section(result.found.get(name, ""))
        if section is None:
            continue
        if name.endswith("x"):
            section = Section(min(section.y0, data.y0), max(section.y1, data.y1), section.x0, section.x1)
        else:
            section = Section(section.y0, section.y1, min(section.x0, data.x0), max(section.x1, data.x1))
        result.found[name] = iraf(section)


def _amplifiers(header: Header, size: tuple[int, int], binning: tuple[int, int], notes: list[str]) -> list[Amplifier]:
    """Return the outputs of a chip that is read by several, where each has light and overscan of its own."""
    found = []
    for name in names_with_sections(header):
        data = _first(header, (f"DATASEC{name}", f"DSEC{name}"), size, binning, notes)
        bias = _first(header, (f"BIASSEC{name}", f"BSEC{name}"), size, binning, notes)
        if data is None:
            return []
        found.append(Output(name, data, (bias.x0, bias.x1) if bias is not None else None))
    found = found or outputs_by_numbers(header, *size, binning)
    return [_amplifier(output, size, notes) for output in found] if len(found) > 1 else []


def _amplifier(output: Output, size: tuple[int, int], notes: list[str]) -> Amplifier:
    places = Sections()
    if output.scan is not None:
        scan = Section(output.light.y0, output.light.y1, *output.scan)
        _place(scan, output.light, size, f"overscan of amplifier {output.name}", places)
    notes += places.notes
    # An output has one scan, on the side away from it: with its neighbour's, read the other way, they are one overscan.
    own = places.found.get("overscan_x") or places.found.get("prescan_x")
    return Amplifier(name=output.name, data_section=iraf(output.light), overscan_x=own)


def _bound_amplifiers(result: Sections) -> None:
    """Make the data section the box around the amplifiers' own; their overscans stand with them."""
    boxes = [section for amplifier in result.amplifiers if (section := parse_section(amplifier.data_section))]
    result.found = {
        "data_section": iraf(
            Section(
                min(box.y0 for box in boxes),
                max(box.y1 for box in boxes),
                min(box.x0 for box in boxes),
                max(box.x1 for box in boxes),
            )
        )
    }
