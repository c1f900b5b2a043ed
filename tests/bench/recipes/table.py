"""The table that every bench of a recipe prints: ours, the peer's, their ratio, the bar, and whether it is met."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as RichTable


@dataclass
class BenchTable:
    """Rows of one bench; times in seconds, memory in MiB."""

    title: str
    rows: list[tuple[str, ...]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def compare(self, what: str, ours: float, peer: str, theirs: float, *, at_least: float, unit: str = "s") -> None:
        """Add a row whose bar is ``theirs / ours >= at_least``."""
        ratio = theirs / ours
        self._add(
            what,
            f"{ours:.3g} {unit}",
            f"{peer} {theirs:.3g} {unit}",
            f"{ratio:.2f}×",
            f"≥ {at_least:g}×",
            ratio >= at_least,
        )

    def bound(self, what: str, ours: float, unit: str, *, at_most: float) -> None:
        """Add a row whose bar is ``ours <= at_most``."""
        self._add(what, f"{ours:.4g} {unit}", "", "", f"≤ {at_most:g} {unit}", ours <= at_most)

    def at_least(self, what: str, ours: float, unit: str, *, bar: float) -> None:
        """Add a row whose bar is ``ours >= bar``."""
        self._add(what, f"{ours:.4g} {unit}", "", "", f"≥ {bar:g} {unit}", ours >= bar)

    def tell(self, what: str, ours: str, peer: str = "") -> None:
        """Add a row without a bar."""
        self.rows.append((what, ours, peer, "", "", ""))

    def show(self) -> None:
        """Print the table and which bars were missed."""
        table = RichTable("what", "ours", "peer", "ratio", "bar", "met", title=self.title)
        for row in self.rows:
            table.add_row(*row)
        Console(width=160).print(table)
        print(f"bars missed: {', '.join(self.missed) or 'none'}")

    def _add(self, what: str, ours: str, peer: str, ratio: str, bar: str, met: bool) -> None:
        self.rows.append((what, ours, peer, ratio, bar, "yes" if met else "NO"))
        if not met:
            self.missed.append(what)
