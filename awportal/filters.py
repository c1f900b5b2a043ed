"""The archive's filters on a page: which were given, in words, each with the address without it; columns to sort by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import QueryDict

from archive.filter_texts import USUAL_RADIUS, numbers, several
from archive.models import SavedSelection
from archive.queries import QUALITIES, VALIDITIES
from processing_units.wording import counted

# What the archive page has a field for, and what only links give.
FIELDS = (
    "instrument", "night_from", "night_to", "filter", "chip", "kind", "object", "project", "quality", "validity",
    "valid_at", "ra", "dec", "radius",
)  # fmt: skip
LINKED = ("selection", "night", "run", "is_valid", "name", "creator", "readout_mode", "ids")
# Those that the page hides until they are wanted.
RARER = ("project", "quality", "validity", "valid_at", "ra", "dec", "radius")
COLUMNS = (
    ("name", "name", ""),
    ("kind", "kind", ""),
    ("instrument", "instrument", ""),
    ("chip", "chip", ""),
    ("filter", "filter", ""),
    ("date_obs", "observed", ""),
    ("exposure_time", "exposure", "num"),
    ("object", "object", ""),
)
QUALITY_WORDS = {"passed": "passed", "flagged": "flagged", "bad": "called bad", "stale": "stale"}
VALIDITY_WORDS = {"valid": "valid", "invalid": "not valid"}
_LONGEST = 2000


@dataclass(frozen=True)
class Holding:
    """A filter that holds, in words, and the query string of the page without it."""

    what: str
    words: str
    without: str


@dataclass(frozen=True)
class Column:
    """The head of a column: the query string that sorts by it, and how it sorts now (as aria-sort says it)."""

    title: str
    style: str
    link: str
    sorted: str

    @property
    def sign(self) -> str:
        """The arrow beside the title."""
        return {"ascending": "↑", "descending": "↓"}.get(self.sorted, "")


def given_filters(data: QueryDict, names: tuple[str, ...] = FIELDS + LINKED) -> dict[str, str]:
    """Return the filters of a query string, trimmed; what is empty is left out, one night is a range of one."""
    given = {name: data[name].strip()[:_LONGEST] for name in names if data.get(name, "").strip()}
    night = given.get("night", "")
    if night and "," not in night and "night_from" in names and not {"night_from", "night_to"} & set(given):
        given["night_from"] = given["night_to"] = given.pop("night")
    return given


def holding(given: Mapping[str, str], saved: SavedSelection | None = None) -> list[Holding]:
    """Return the filters that hold, those that belong together as one; `saved` is the selection that is named."""
    told: list[Holding] = []
    if saved is not None:
        given = {**given, "selection": f"{saved.name} ({told_selection(saved)})"}
    for names, what, words in _groups(given):
        left = {name: value for name, value in given.items() if name not in names}
        told.append(Holding(what, words, f"?{urlencode(left)}"))
    return told


def _groups(given: Mapping[str, str]) -> list[tuple[tuple[str, ...], str, str]]:
    """Return names, title and words of each filter."""
    groups: list[tuple[tuple[str, ...], str, str]] = []
    first, last = given.get("night_from", ""), given.get("night_to", "")
    if first or last:
        span = first if first == last else " ".join(
            part for part in (f"from {first}" if first else "", f"to {last}" if last else "") if part
        )  # fmt: skip
        groups.append((("night_from", "night_to"), "night", span))
    if {"ra", "dec", "radius"} & set(given):
        radius = given.get("radius", str(USUAL_RADIUS))
        radius += "°" if radius[-1:].isdigit() else ""
        place = f"{radius} around {given.get('ra', '?')} {given.get('dec', '?')}"
        groups.append((("ra", "dec", "radius"), "position", place))
    if {"validity", "valid_at"} & set(given):
        word = VALIDITY_WORDS.get(given.get("validity", VALIDITIES[0]), given.get("validity", ""))
        groups.append((("validity", "valid_at"), "validity", f"{word} {_at(given.get('valid_at', 'now'))}"))
    told = {name for names, _, _ in groups for name in names} | {"order"}
    for name, value in sorted(given.items()):  # a database keeps them in an order of its own
        if name not in told:
            words = QUALITY_WORDS.get(value, value) if name == "quality" else value
            groups.append(((name,), {"ids": "products"}.get(name, name.replace("_", " ")), words))
    return groups


def told_selection(saved: SavedSelection) -> str:
    """Return what a saved selection holds, in words."""
    if not saved.is_fixed:
        words = (f"{what} {words}" for _, what, words in _groups(saved.filters))
        return "asked anew: " + ", ".join(words)
    count = len(numbers("ids", several(saved.filters["ids"])))
    rest = {name: value for name, value in saved.filters.items() if name != "ids"}
    more = ", ".join(f"{what} {words}" for _, what, words in _groups(rest))
    return f"fixed: {counted(count, 'product')}" + (f", of which {more}" if more else "")


def _at(moment: str) -> str:
    return "now" if moment.lower() == "now" else f"at {moment}"


def columns(given: Mapping[str, str]) -> list[Column]:
    """Return the heads of the columns; a click on the one that sorts turns it round."""
    order = given.get("order", "-date_obs")
    heads = []
    for name, title, style in COLUMNS:
        now = {name: "ascending", f"-{name}": "descending"}.get(order, "none")
        # The newest first, but texts from a to z.
        beginning = "-date_obs" if name == "date_obs" else name
        wanted = {"ascending": f"-{name}", "descending": name}.get(now, beginning)
        left = {key: value for key, value in given.items() if key != "order"}
        heads.append(Column(title, style, f"?{urlencode({**left, 'order': wanted})}", now))
    return heads


def choices() -> dict[str, list[tuple[str, str]]]:
    """Return the values, with their words, of the filters that choose among a few."""
    return {
        "quality": [(name, QUALITY_WORDS[name]) for name in QUALITIES],
        "validity": [(name, VALIDITY_WORDS[name]) for name in VALIDITIES],
    }
