"""Tables by columns: source lists, catalogues, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from recipes.attributes import FrameAttributes


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    values: NDArray[Any]
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class Table:
    """A table by columns, with the name of its extension.

    ``plots`` names the columns that are to be plotted against each other (x, y): the page draws them, and the product
    can be downloaded as a picture of them.
    """

    columns: Mapping[str, Column]
    name: str = "SOURCES"
    attributes: FrameAttributes = field(default_factory=FrameAttributes)
    plots: Sequence[tuple[str, str]] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values) if self.columns else 0
