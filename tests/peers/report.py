"""What the comparisons with peers measured: one line each, printed as a table by ``make peers``.

``python tests/peers/report.py`` prints what the last run of the tests recorded; exit code 1 where a bar was missed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

RECORDS = Path(__file__).resolve().parent.parent.parent / "build" / "peers"


def record(recipe: str, peer: str, what: str, ours: float, theirs: float | None, bar: str, *, met: bool) -> None:
    """Keep one line: what was compared, our value, the peer's (None where only we have one), the bar, and whether met.

    The test asserts by itself; this only tells.
    """
    RECORDS.mkdir(parents=True, exist_ok=True)
    line = {"recipe": recipe, "peer": peer, "what": what, "ours": ours, "theirs": theirs, "bar": bar, "met": bool(met)}
    with (RECORDS / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def main() -> int:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    lines = [
        json.loads(text)
        for path in sorted(RECORDS.glob("*.jsonl"))
        for text in path.read_text("utf-8").split("\n")
        if text
    ]
    table = Table("recipe", "peer", "what", "ours", "theirs", "bar", "met")
    for line in sorted(lines, key=lambda line: (line["recipe"], line["peer"], line["what"])):
        theirs = "" if line["theirs"] is None else f"{line['theirs']:.5g}"
        table.add_row(line["recipe"], line["peer"], line["what"], f"{line['ours']:.5g}", theirs, line["bar"],
                      "yes" if line["met"] else "NO")  # fmt: skip
    Console(width=160).print(table)
    missed = sum(not line["met"] for line in lines)
    print(f"{len(lines)} comparisons, {missed} bars missed")
    return 1 if missed or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
