"""Follow a tutorial word for word: its blocks of commands run in order in one shell, what is printed is compared.

A ``sh`` block is typed into the shell. A ``text`` block after it is what the commands print: ``…`` stands for whatever
differs from machine to machine, on a line of its own for any number of lines.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)
# Words after ``sh`` that say that a block is not typed here: it starts the portal, or asks the network.
_ELSEWHERE = ("first-terminal", "download")
_NUMBER = re.compile(r"\d+(?:[.:T-]\d+)*(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Step:
    """Commands that a reader types, the line on which they stand, and what is printed then ("": not said)."""

    line: int
    commands: str
    printed: str = ""
    is_elsewhere: bool = False


def steps(text: str) -> list[Step]:
    """Return the steps of a tutorial."""
    found: list[Step] = []
    for block in _BLOCK.finditer(text):
        language, words, body = block.groups()
        if language == "sh":
            line = text.count("\n", 0, block.start()) + 1
            found.append(Step(line, body, is_elsewhere=any(word in words for word in _ELSEWHERE)))
        elif language == "text" and found:
            found[-1] = replace(found[-1], printed=body)
    return found


def agrees(said: str, printed: str, *, numbers: bool) -> bool:
    """Whether a text says what is printed; without `numbers`, and for as many chips and filters as there are."""
    said, printed = _spaced(said), _spaced(printed)
    if not numbers:
        said, printed = _words(said), _words(printed)
    # Of what is told once for each chip there may be more or fewer lines in a smaller night.
    often = "" if numbers else "+"
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else f"(?:{_line(line)}){often}" for line in said.splitlines()
    )
    return re.fullmatch(pattern, printed) is not None


def _line(said: str) -> str:
    return ".*?".join(map(re.escape, said.split("…"))) + r"\n"


def _spaced(text: str) -> str:
    """Return a text with single spaces: how wide a column is depends on what else is in the archive."""
    return "".join(" ".join(line.split()) + "\n" for line in text.strip().splitlines())


def _words(text: str) -> str:
    """Return a text with its numbers as #, one job for several, and lines that are alike then once."""
    told = re.sub(r"\b(job|product|run)s\b", r"\1", _NUMBER.sub("#", text))
    return "".join(f"{line}\n" for line, _ in groupby(told.splitlines()))


class Shell:
    """One bash, as a reader has it; a command that fails ends it."""

    def __init__(self, folder: Path, environment: Mapping[str, str], seconds: float) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc", "-e", "-o", "pipefail"], cwd=folder, env=dict(environment), text=True, errors="replace",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._clock = threading.Timer(seconds, self._bash.kill)
        self._clock.start()

    def type(self, commands: str) -> str:
        """Return what the commands print; raise RuntimeError with it where one failed."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write("{\n" + commands + "\n} < /dev/null\necho '== typed =='\n")
        self._bash.stdin.flush()
        lines = []
        for line in self._bash.stdout:
            if line.endswith("== typed ==\n"):
                return "".join(lines) + line.removesuffix("== typed ==\n")
            lines.append(line)
        raise RuntimeError("".join(lines))

    def close(self) -> None:
        """End the shell."""
        self._clock.cancel()
        self._bash.kill()
        self._bash.communicate()


def follow(
    text: str, shell: Shell, places: Mapping[str, str], *, numbers: bool
) -> Iterator[tuple[Step, str, str, bool]]:
    """Type what the second terminal is told; yield each step with what the text says, what came, whether they agree.

    `places` are texts of the tutorial and what stands for them here: the portal's address, folders.
    """
    for step in steps(text):
        if step.is_elsewhere:
            continue
        commands, said = step.commands, step.printed
        for there, here in places.items():
            commands, said = commands.replace(there, here), said.replace(there, here)
        printed = shell.type(commands)
        yield step, said, printed, not said or agrees(said, printed, numbers=numbers)
