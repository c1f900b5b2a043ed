"""Queries as Astro-WISE writes them: ``(RawFrame.filter == 'V') & (RawFrame.date >= '2024-05-12')``.

What the portal can filter by is asked of it; the rest is held to the answer here, so that any attribute can be asked
for, a QC value or a header card that was kept too.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, overload

from awclient.awe.frames import OTHER_NAMES, Frame, moment_of, names_of, value_of
from awclient.client import Json, Portal
from awclient.errors import UsageProblem

_EXACT = {"instrument", "chip", "filter", "readout_mode", "creator", "recipe", "project", "is_valid"}
_PART = {"name", "object"}  # the portal looks for what contains it
_OF_A_NAME = {"instrument", "chip", "filter", "project", "creator"}  # objects with a name of their own in Astro-WISE


@dataclass(frozen=True)
class Test:
    """One comparison: an attribute, how, and with what."""

    name: str
    how: Callable[[Any, Any], bool]
    value: Any

    def holds(self, known: Json) -> bool:
        """Whether a product passes; what is not known of it passes no comparison but !=."""
        try:
            found = value_of(known, self.name)
        except KeyError:
            found = None
        if found is None or self.value is None:
            return bool(self.how(found, self.value)) if self.how in (operator.eq, operator.ne) else False
        if isinstance(found, datetime):
            return bool(self.how(found, moment_of(self.value)))
        if isinstance(found, date):
            return bool(self.how(found, moment_of(self.value).date()))
        try:
            return bool(self.how(found, self.value))
        except TypeError:
            raise UsageProblem(f"{self.name} is {found!r}: it cannot be compared with {self.value!r}") from None

    def asked(self) -> dict[str, str]:
        """Return filters of the portal that let all pass which pass this."""
        name = OTHER_NAMES.get(self.name, self.name)
        if name in ("night", "date_obs"):
            return self._nights(name)
        text = str(self.value)
        if self.how is not operator.eq or not text or (name in _EXACT and "," in text):
            return {}
        if name == "id":
            return {"ids": text}
        return {name: text} if name in _EXACT or name in _PART else {}

    def _nights(self, name: str) -> dict[str, str]:
        day = moment_of(self.value).date()
        around = timedelta(days=0 if name == "night" else 1)  # a night is named by the date of its evening
        limits = {}
        if self.how in (operator.eq, operator.ge, operator.gt):
            limits["night_from"] = (day - around).isoformat()
        if self.how in (operator.eq, operator.le, operator.lt):
            limits["night_to"] = (day + around).isoformat()
        return limits


@dataclass(frozen=True)
class _Joined:
    """Two conditions, of which both or either must hold."""

    first: Test | _Joined
    second: Test | _Joined
    both: bool

    def holds(self, known: Json) -> bool:
        if self.both:
            return self.first.holds(known) and self.second.holds(known)
        return self.first.holds(known) or self.second.holds(known)

    def asked(self) -> dict[str, str]:
        first, second = self.first.asked(), self.second.asked()
        return second | first if self.both else dict(first.items() & second.items())


class Query(Sequence[Frame]):
    """Products that fulfil a condition; asked for when they are first looked at, the newest observation first.

    ``len(query)``, ``query[0]``, ``for frame in query``; ``query & other``, ``query | other``; ``query.max('date')``.
    """

    def __init__(self, portal: Portal, kinds: tuple[str, ...], condition: Test | _Joined | None) -> None:
        self._portal = portal
        self._kinds = kinds
        self._condition = condition
        self._found: list[Frame] | None = None

    def __and__(self, other: Query) -> Query:
        return self._with(other, both=True)

    def __or__(self, other: Query) -> Query:
        return self._with(other, both=False)

    def __bool__(self) -> bool:
        """Raise: ``a and b`` would silently drop a condition.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("join conditions with & and |, each in brackets; ask len(query) whether there is anything")

    def __len__(self) -> int:
        return len(self._frames())

    @overload
    def __getitem__(self, place: int) -> Frame: ...
    @overload
    def __getitem__(self, place: slice) -> list[Frame]: ...
    def __getitem__(self, place: int | slice) -> Frame | list[Frame]:
        return self._frames()[place]

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames())

    def __repr__(self) -> str:
        frames = self._frames()
        told = [repr(frame) for frame in frames[:20]] + ([f"... {len(frames) - 20} more"] if len(frames) > 20 else [])
        return "\n".join([f"{len(frames)} products", *told])

    def max(self, name: str) -> Frame:
        """Return the product with the largest value of an attribute."""
        return max(self._with_value(name), key=lambda frame: getattr(frame, name))

    def min(self, name: str) -> Frame:
        """Return the product with the smallest value of an attribute."""
        return min(self._with_value(name), key=lambda frame: getattr(frame, name))

    def _with_value(self, name: str) -> list[Frame]:
        found = [frame for frame in self._frames() if getattr(frame, name, None) is not None]
        if not found:
            raise UsageProblem(f"no product of this query has a value of {name}")
        return found

    def _with(self, other: Query, *, both: bool) -> Query:
        if self._condition is None or other._condition is None:
            raise UsageProblem("a query without a condition cannot be joined", hint="give both of them one")
        if both:
            kinds = tuple(kind for kind in self._kinds if kind in other._kinds)
            if not kinds:
                raise UsageProblem(
                    f"no product is both {' or '.join(self._kinds)} and {' or '.join(other._kinds)}",
                    hint="ask for attributes of one class",
                )
        elif set(self._kinds) == set(other._kinds):
            kinds = self._kinds
        else:
            raise UsageProblem("| joins conditions on one class", hint="add the lists: list(a) + list(b)")
        return Query(self._portal, kinds, _Joined(self._condition, other._condition, both))

    def _frames(self) -> list[Frame]:
        if self._found is None:
            asked: dict[str, Any] = dict(self._condition.asked()) if self._condition else {}
            known = list(self._portal.products(kind=",".join(self._kinds), **asked))
            self._check_names(known)
            self._found = [
                Frame(self._portal, each) for each in known if self._condition is None or self._condition.holds(each)
            ]
        return self._found

    def _check_names(self, known: list[Json]) -> None:
        """Refuse an attribute that none of the products has: it is a slip of the pen."""
        there = {name for each in known for name in names_of(each)} | OTHER_NAMES.keys()
        for name in _names(self._condition):
            if known and name not in there:
                near = difflib.get_close_matches(name, there, n=1)
                raise UsageProblem(
                    f"no {' or '.join(self._kinds)} has an attribute {name}",
                    hint=f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(there))}",
                )


def _names(condition: Test | _Joined | None) -> list[str]:
    if isinstance(condition, _Joined):
        return _names(condition.first) + _names(condition.second)
    return [condition.name] if condition else []


class Attribute:
    """An attribute of a class of products; compared with a value it is a query."""

    def __init__(self, portal: Portal, kinds: tuple[str, ...], name: str) -> None:
        self._portal = portal
        self._kinds = kinds
        self._name = name

    @property
    def name(self) -> Attribute:
        """The same: ``RawFrame.filter.name == 'V'`` is how Astro-WISE writes it."""
        return self if self._name in _OF_A_NAME else Attribute(self._portal, self._kinds, f"{self._name}.name")

    def like(self, pattern: str) -> Query:
        """Select values that look like a pattern with ``*`` and ``?``."""
        return self._query(lambda found, wanted: fnmatchcase(str(found), wanted), pattern)

    def __eq__(self, other: object) -> Query:  # type: ignore[override]
        return self._query(operator.eq, other)

    def __ne__(self, other: object) -> Query:  # type: ignore[override]
        return self._query(operator.ne, other)

    def __lt__(self, other: object) -> Query:
        return self._query(operator.lt, other)

    def __le__(self, other: object) -> Query:
        return self._query(operator.le, other)

    def __gt__(self, other: object) -> Query:
        return self._query(operator.gt, other)

    def __ge__(self, other: object) -> Query:
        return self._query(operator.ge, other)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self._name} of {', '.join(self._kinds)}: compare it with a value>"

    def _query(self, how: Callable[[Any, Any], bool], value: object) -> Query:
        return Query(self._portal, self._kinds, Test(self._name, how, value))


class ProductClass:
    """A class of products at the prompt: its attributes make queries."""

    def __init__(self, portal: Portal, name: str, kinds: tuple[str, ...], description: str) -> None:
        self._portal = portal
        self._name = name
        self._kinds = kinds
        self._description = description

    def __getattr__(self, name: str) -> Attribute:
        if name.startswith("_"):
            raise AttributeError(name)
        return Attribute(self._portal, self._kinds, name)

    def __repr__(self) -> str:
        return f"<{self._name}: {self._description}>"

    def all(self) -> Query:
        """Return all of them that may be seen."""
        return Query(self._portal, self._kinds, None)

    def select(self, **wanted: Any) -> Query:
        """Return those whose attributes have these values."""
        query: Query | None = None
        for name, value in wanted.items():
            one: Query = getattr(self, name) == value
            query = one if query is None else query & one
        return self.all() if query is None else query


def product_classes(portal: Portal) -> dict[str, ProductClass]:
    """Return the classes by name: each kind, raw ones also as Astro-WISE calls them, and all raw ones as RawFrame."""
    classes: dict[str, ProductClass] = {}
    raw: list[str] = []
    for kind in portal.kinds():
        name, description = str(kind["name"]), str(kind["description"])
        classes[name] = ProductClass(portal, name, (name,), description)
        if kind["raw"]:
            classes[f"{name}Frame"] = ProductClass(portal, f"{name}Frame", (name,), description)
            raw.append(name)
    return classes | {"RawFrame": ProductClass(portal, "RawFrame", tuple(raw), "any exposure as the camera gave it")}
