"""The `awrecipe` line that does the same as a page did."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any


def run_line(
    recipe: str, inputs: Mapping[str, Iterable[int]], parameters: Mapping[str, Any], unit: str = "", code: str = ""
) -> str:
    """Return the command that runs `recipe` on these inputs with these parameters, and from own code where it was."""
    words = ["awrecipe", "run", recipe]
    for role, numbers in inputs.items():
        text = number_ranges(numbers)
        if text:
            words += [f"--{role.replace('_', '-')}", text] if role else [text]
    for name, value in parameters.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    if unit:
        words += ["--unit", unit]
    if code:
        words += ["--code", "FOLDER"]
    return shlex.join(words)


def number_ranges(numbers: Iterable[int]) -> str:
    """Return 3,5,8-12: what a command line and an address have room for."""
    pieces: list[list[int]] = []
    for number in sorted(set(numbers)):
        if pieces and number == pieces[-1][1] + 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in pieces)


def parse_ranges(texts: Iterable[str], at_most: int) -> set[int]:
    """Return the numbers of texts like 3,5,8-12, at most `at_most`; what is none is passed over."""
    numbers: set[int] = set()
    for part in (part for text in texts for part in text.split(",")):
        match = re.fullmatch(r"\s*(\d{1,15})(?:-(\d{1,15}))?\s*", part)
        if match:
            first, last = int(match[1]), int(match[2] or match[1])
            numbers.update(range(first, min(last, first + at_most - len(numbers) - 1) + 1))
    return numbers
