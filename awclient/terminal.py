"""What is written to a person's terminal: text made harmless, tables, and progress where there is a terminal.

Results go to standard output, everything else to standard error, so that ``--json`` can be piped.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from awclient.errors import EXIT_OK, ClientError

# Control characters could move a terminal's cursor or more; the marks of direction could turn a text around.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LINE_EVERY_SECONDS = 10.0
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def clean(text: object) -> str:
    """Return the text without what a terminal would act upon; line ends and tabs stay."""
    return _CONTROL.sub("", _ESCAPE_SEQUENCE.sub("", str(text)))


def say(text: object) -> None:
    """Write a line for a person to standard error."""
    print(clean(text), file=sys.stderr, flush=True)


def tell(command: str, problem: ClientError) -> None:
    """Say what went wrong and how to mend it."""
    where = f"{clean(problem.field)}: " if problem.field and problem.field not in problem.message else ""
    say(f"{command}: {where}{problem.message}")
    if problem.hint:
        say(f"  {problem.hint}")


def out(text: object = "", end: str = "\n") -> None:
    """Write a line of the result."""
    _write(clean(text) + end)


def out_json(value: Any) -> None:
    """Write the result as JSON (escaped to ASCII, so that no character in it acts on a terminal)."""
    _write(json.dumps(value, indent=2) + "\n")


def out_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table: columns aligned, no frames, so that it can be read and cut alike."""
    texts = [[clean(cell).replace("\n", " ").replace("\t", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [[heading.upper() for heading in headings], *texts]
    )
    _write("".join(f"{line}\n" for line in lines))


def _write(text: str) -> None:
    """Write the result; where whoever read it (head, less) has closed it, that is a good end."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        # What is left in the buffer goes nowhere, or Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_OK) from None


class Progress:
    """Bars on a terminal; elsewhere a line now and then."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars: dict[str, Any] = {}
        self._said: dict[str, tuple[str, float]] = {}
        self._display: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Display

            self._display = Display(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[said]}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._display.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._display is not None:
            self._display.stop()

    @property
    def is_live(self) -> bool:
        """Whether bars are drawn, so that it costs nothing to say how far each thing is."""
        return self._display is not None

    def show(self, name: str, fraction: float, said: str) -> None:
        """Show how far `name` is, and say what it does."""
        name, said = clean(name), clean(said)
        if self._display is not None:
            if name not in self._bars:
                self._bars[name] = self._display.add_task(name, total=1.0, said=said)
            self._display.update(self._bars[name], completed=fraction, said=said)
        elif said and not self._quiet:
            self._show_line(name, fraction, said)

    def _show_line(self, name: str, fraction: float, said: str) -> None:
        """Write the beginning and the end, and what is between only now and then: it goes into a file."""
        before, at = self._said.get(name, ("", 0.0))
        if said == before or (before and fraction < 1 and time.monotonic() - at < _LINE_EVERY_SECONDS):
            return
        self._said[name] = said, time.monotonic()
        print(f"{name}: {said}", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """Write a line above the bars."""
        if self._display is not None:
            self._display.console.print(clean(text), markup=False, highlight=False)
        elif not self._quiet:
            say(text)
