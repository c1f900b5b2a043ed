"""Which column is what: ``ra=RAJ2000,dec=DEJ2000,V=Vmag,V_error=e_Vmag,B=Vmag+B-V``.

On the left stands what the column is to be: ``ra dec ra_error dec_error pmra pmdec id``, a band, or ``<band>_error``.
On the right a column, with its unit in brackets where the file does not tell (``pmRA[arcsec/yr]``), or, for magnitudes,
a sum of columns, bands that were named before it, and numbers. In an error the plus means a sum of squares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from archive.catalogues.reading import NotACatalogue, TableRead

POSITIONS = ("ra", "dec", "ra_error", "dec_error", "pmra", "pmdec")
ID = "id"
ERROR = "_error"
_BAND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,9}")
_UNIT = re.compile(r"(.*)\[([^\[\]]*)\]")
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+")
HINT = "write --columns like ra=RAJ2000,dec=DEJ2000,V=Vmag,V_error=e_Vmag"


@dataclass(frozen=True)
class Term:
    """One part of a sum: a column, a band or a number, with its sign."""

    sign: int
    column: str = ""
    band: str = ""
    number: float = 0.0


@dataclass(frozen=True)
class Rule:
    """What one thing is made of."""

    target: str
    terms: tuple[Term, ...]
    unit: str = ""
    text: str = ""

    @property
    def columns(self) -> list[str]:
        """The columns that it takes."""
        return [term.column for term in self.terms if term.column]


def parse_map(text: str, table: TableRead) -> dict[str, Rule]:
    """Return the rules by target, or raise :class:`NotACatalogue` that lists the columns found."""
    rules: dict[str, Rule] = {}
    for part in _parts(text):
        target, equals, expression = (piece.strip() for piece in part.partition("="))
        if not equals or not expression:
            raise NotACatalogue(f"--columns: {part[:60]!r} says nothing of the kind ra=RAJ2000", HINT)
        target = _target(target)
        if target in rules:
            raise NotACatalogue(f"--columns: {target} is given twice", HINT)
        rules[target] = rule_of(target, expression, table, rules)
    return rules


def rule_of(target: str, expression: str, table: TableRead, before: Iterable[str] = ()) -> Rule:
    """Return the rule for one target."""
    unit = ""
    if expression not in table.columns and (match := _UNIT.fullmatch(expression)):
        expression, unit = match[1].strip(), match[2].strip()
    is_sum = target not in POSITIONS and target != ID
    terms = _terms(expression, table, set(before) if is_sum else set())
    if (len(terms) != 1 and not is_sum) or (not is_sum and not terms[0].column):
        raise NotACatalogue(f"--columns: {target} is one column, not {expression[:60]!r}", f"there are {table.told()}")
    return Rule(target, terms, unit, expression)


def _target(name: str) -> str:
    lower = name.lower()
    if lower in POSITIONS or lower == ID:
        return lower
    band = name.removesuffix(ERROR)
    if not _BAND.fullmatch(band):
        words = ", ".join((*POSITIONS, ID))
        raise NotACatalogue(f"--columns: {name[:40]!r} is none of {words}, no band like V and no V_error", HINT)
    return name


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,\n](?![^\[]*\])", text) if part.strip()]


def _terms(expression: str, table: TableRead, bands: set[str]) -> tuple[Term, ...]:
    """Return the parts of a sum; of names that begin alike the longest counts, since ``B-V`` may be one column."""
    names = sorted(table.columns, key=len, reverse=True)
    rest, terms, sign = expression.strip(), [], 1
    while rest:
        column = next((name for name in names if rest.startswith(name) and _ends(rest[len(name) :])), None)
        if column is None:
            column = next((name for name in names if rest.lower().startswith(name.lower())
                           and _ends(rest[len(name) :])), None)  # fmt: skip
        band = next((name for name in sorted(bands, key=len, reverse=True) if rest.startswith(name)
                     and _ends(rest[len(name) :])), None)  # fmt: skip
        number = _NUMBER.match(rest)
        if column is not None:
            terms.append(Term(sign, column=column))
            rest = rest[len(column) :].strip()
        elif band is not None:
            terms.append(Term(sign, band=band))
            rest = rest[len(band) :].strip()
        elif number and _ends(rest[number.end() :]):
            terms.append(Term(sign, number=float(number[0])))
            rest = rest[number.end() :].strip()
        else:
            word = re.split(r"\s*[+-]\s*", rest)[0] or rest
            raise NotACatalogue(f"--columns: there is no column {word[:60]!r}", f"there are {table.told()}")
        if rest:
            if rest[0] not in "+-" or len(rest) == 1:
                raise NotACatalogue(f"--columns: {expression[:60]!r} is no sum of columns", f"there are {table.told()}")
            sign = 1 if rest[0] == "+" else -1
            rest = rest[1:].strip()
    return tuple(terms)


def _ends(rest: str) -> bool:
    return not rest.strip() or rest.strip()[0] in "+-"
