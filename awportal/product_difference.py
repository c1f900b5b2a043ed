"""In what two products differ: how they were made, from what, header, measured values and pixels."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archive.context import Context, visible
from archive.models import Lineage, Product, Validity
from awportal.pictures.charts import Chart, histogram_chart
from awportal.pictures.frame_file import FrameError
from awportal.product_page import headers_of
from awportal.stored_files import content_of, difference_facts

MOST_CARDS = 200
MOST_INPUTS = 20
_LINES = {
    "kind": "kind", "name": "name", "instrument": "instrument", "chip": "chip", "filter_name": "filter",
    "object_name": "object", "date_obs": "observed", "exposure_time": "exposure [s]", "readout_mode": "read-out",
    "recipe": "recipe", "recipe_version": "version", "code_digest": "own code", "quality_flags": "quality flags",
    "is_valid": "verdict", "made_without": "made without", "created": "entered", "sha256": "sha256",
}  # fmt: skip
# Cards that say nothing of their own: text, and sums over what is compared anyway.
_NOT_COMPARED = {"COMMENT", "HISTORY", "", "CHECKSUM", "DATASUM"}
_DRAWN = {"raw", "image", "mask"}


@dataclass(frozen=True)
class Line:
    """A value of both products; None is what one of them has not."""

    name: str
    first: Any
    second: Any

    @property
    def differs(self) -> bool:
        """Whether they are not the same."""
        return bool(self.first != self.second)


@dataclass
class RoleOfBoth:
    """What served both in one role, and what one of them alone."""

    role: str
    both: int
    first: list[Product]
    second: list[Product]
    more: int = 0


@dataclass
class Difference:
    """All in which two products differ."""

    lines: list[Line]
    parameters: list[Line]
    roles: list[RoleOfBoth]
    measurements: list[Line]
    cards: list[Line] = field(default_factory=list)
    same_cards: int = 0
    more_cards: int = 0
    pixels: dict[str, Any] = field(default_factory=dict)
    histogram: Chart | None = None
    problem: str = ""  # why the files could not be compared


def difference_of(first: Product, second: Product, context: Context) -> Difference:
    """Return in what two products differ; files that cannot be compared give their problem, never an error."""
    found = Difference(
        lines=[Line(words, _told(first, name), _told(second, name)) for name, words in _LINES.items()],
        parameters=_lines(first.parameters, second.parameters),
        roles=_roles(first, second, context),
        measurements=_lines(*(_measured(product) for product in (first, second))),
    )
    try:
        cards = _lines(_cards(first), _cards(second))
        differing = [card for card in cards if card.differs]
        found.cards, found.same_cards = differing[:MOST_CARDS], len(cards) - len(differing)
        found.more_cards = len(differing) - len(found.cards)
        if content_of(first) in _DRAWN and content_of(second) in _DRAWN:
            found.pixels = difference_facts(first, second)
            found.histogram = histogram_chart(
                found.pixels.get("histogram", []),
                found.pixels.get("edges", []),
                str(found.pixels.get("unit", "")),
                float(found.pixels.get("low", 0)),
                float(found.pixels.get("high", 1)),
            )
    except FrameError as problem:
        found.problem = str(problem)
    return found


def _told(product: Product, name: str) -> Any:
    """Return a column as a person reads it."""
    value = getattr(product, name)
    if name == "is_valid":
        return Validity(value).label
    if name == "made_without":
        return ", ".join(map(str, value))
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return value[:16] if name in {"sha256", "code_digest"} else value


def _lines(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Line]:
    return [Line(name, first.get(name), second.get(name)) for name in dict.fromkeys([*first, *second])]


def _measured(product: Product) -> dict[str, float | None]:
    return dict(product.measurements.order_by("pk").values_list("name", "measured"))


def _cards(product: Product) -> dict[str, str]:
    """Return the cards of all units by name, the first of each."""
    found: dict[str, str] = {}
    for unit, cards in headers_of(product):
        for card in cards:
            if card.keyword not in _NOT_COMPARED:
                found.setdefault(f"{unit} {card.keyword}", card.value)
    return found


def _roles(first: Product, second: Product, context: Context) -> list[RoleOfBoth]:
    used: tuple[dict[str, set[int]], dict[str, set[int]]] = (defaultdict(set), defaultdict(set))
    for place, product in enumerate((first, second)):
        for role, source in Lineage.objects.filter(product=product).values_list("role", "source"):
            used[place][role].add(source)
    roles = []
    for role in sorted({*used[0], *used[1]}):
        alone = [used[0][role] - used[1][role], used[1][role] - used[0][role]]
        shown = [_some(numbers, context) for numbers in alone]
        more = sum(map(len, alone)) - sum(map(len, shown))
        roles.append(RoleOfBoth(role, len(used[0][role] & used[1][role]), shown[0], shown[1], more))
    return roles


def _some(numbers: set[int], context: Context) -> list[Product]:
    return list(visible(context).filter(pk__in=sorted(numbers)[:MOST_INPUTS]).order_by("pk"))
