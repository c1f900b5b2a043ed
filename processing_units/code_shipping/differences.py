"""What a bundle changes: its files beside the standard code, as a unified diff of bounded size."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LARGEST_DIFF = 512 * 1024
# difflib's time grows with the square of the lines that repeat: longer files are told by their size alone.
LONGEST_FILE = 4_000
LONGEST_LINE = 400
Change = Literal["changed", "new", "same"]


@dataclass(frozen=True)
class Difference:
    """One file of the bundle beside the standard code's of the same path."""

    path: str
    change: Change
    added: int
    removed: int


@dataclass(frozen=True)
class Differences:
    """All files, and the diff of those that are changed or new; ``cut`` if it was too long to be shown whole."""

    files: tuple[Difference, ...]
    diff: str
    cut: bool


def differences(contents: Iterable[tuple[str, bytes]], standard: Path) -> Differences:
    """Compare a bundle's files with those below `standard`, the folder that holds the package ``recipes``."""
    files: list[Difference] = []
    pieces: list[str] = []
    length, cut = 0, False
    for path, content in sorted(contents):
        ours = standard / path
        is_known = path.startswith("recipes/") and ours.is_file()
        before = ours.read_bytes() if is_known else b""
        if is_known and before == content:
            files.append(Difference(path, "same", 0, 0))
            continue
        lines = _diff(path, before, content, is_known)
        files.append(
            Difference(
                path,
                "changed" if is_known else "new",
                sum(line.startswith("+") for line in lines[2:]),
                sum(line.startswith("-") for line in lines[2:]),
            )
        )
        for line in lines:
            length += len(line) + 1
            if length > LARGEST_DIFF:
                cut = True
                break
            pieces.append(line)
    return Differences(tuple(files), "\n".join(pieces), cut)


def _diff(path: str, before: bytes, after: bytes, is_known: bool) -> list[str]:
    old, new = _lines(before), _lines(after)
    head = [f"--- {'standard/' + path if is_known else '/dev/null'}", f"+++ bundle/{path}"]
    if max(len(old), len(new)) > LONGEST_FILE:
        digest = hashlib.sha256(after).hexdigest()[:16]
        return [*head, f"@@ {len(new)} lines, too many to compare; sha256 {digest}... @@"]
    return head + list(difflib.unified_diff(old, new, lineterm=""))[2:]


def _lines(content: bytes) -> list[str]:
    text = content.decode("utf-8", errors="replace")
    return [line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " ..." for line in text.splitlines()]
