"""The `awrecipe` line that does the same as a page did."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any


def run_line(recipe: str, inputs: Mapping[str, Iterable[int]], parameters: Mapping[str, Any], unit: str = "") -> str:
    """Return the command that runs `recipe` on these inputs with these parameters."""
    words = ["awrecipe", "run", recipe]
    for role, numbers in inputs.items():
        text = _ranges(numbers)
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
    return shlex.join(words)


def _ranges(numbers: Iterable[int]) -> str:
    """Return 3,5,8-12."""
    pieces: list[list[int]] = []
    for number in sorted(set(numbers)):
        if pieces and number == pieces[-1][1] + 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in pieces)
