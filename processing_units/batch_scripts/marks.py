"""Marks in a script, so that its line is known even when it is killed: ``_at(7)`` before each statement of line 7.

Starlark is a part of Python's grammar, so Python's own parser finds where statements begin. The marks go into the lines
as they are: the numbers of the lines stay.
"""

from __future__ import annotations

import ast
from collections import defaultdict

MARK = "_at"
_COMPOUND = (ast.For, ast.If, ast.FunctionDef)


def marked(text: str) -> str:
    """Return the script with its marks; as it is where Python's parser does not know what Starlark's does."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    lines = text.encode().split(b"\n")
    insertions: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not isinstance(node, _COMPOUND):
            insertions[node.lineno].append((node.col_offset, f"{MARK}({node.lineno}); ".encode()))
        elif isinstance(node, ast.For | ast.If):
            head = node.iter if isinstance(node, ast.For) else node.test
            insertions[head.lineno].append((head.col_offset, f"{MARK}({head.lineno}) or (".encode()))
            insertions[head.end_lineno or head.lineno].append((head.end_col_offset or 0, b")"))
    for number, of_line in insertions.items():
        line = lines[number - 1]
        for place, mark in sorted(of_line, reverse=True):
            line = line[:place] + mark + line[place:]
        lines[number - 1] = line
    return b"\n".join(lines).decode()
