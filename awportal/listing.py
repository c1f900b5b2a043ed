"""Pages of long lists, and the values that their filters offer: bounded work however many products there are."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db.models import QuerySet

from archive.context import Context, visible
from archive.facets import values_of, version
from archive.models import Product
from archive.paging import COUNTED_AT_MOST, numbers_of
from recipes.kinds import KINDS

PAGE_SIZE = 50
_FACET_SECONDS = 300
FACETS = ("instrument", "kind", "filter", "chip", "night", "project")
_NIGHTS_OFFERED = 500


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    rows: list[Any]
    number: int
    has_next: bool
    total: int
    size: int

    @property
    def first(self) -> int:
        """Number of the first row, from 1."""
        return (self.number - 1) * self.size + 1

    @property
    def last(self) -> int:
        """Number of the last row."""
        return self.first + len(self.rows) - 1

    @property
    def total_text(self) -> str:
        """How many there are in all, as far as they are counted."""
        return f"more than {COUNTED_AT_MOST:,}".replace(",", " ") if self.total > COUNTED_AT_MOST else str(self.total)


def page_of(rows: QuerySet[Any], number: str | None, size: int = PAGE_SIZE) -> Page:
    """Return a page of `rows`; what is no number of a page is the first."""
    wanted = _number(number)
    start = (wanted - 1) * size
    found = list(rows[start : start + size + 1])
    total = rows.order_by()[: COUNTED_AT_MOST + 1].count()
    return Page(found[:size], wanted, len(found) > size, total, size)


def _number(text: str | None) -> int:
    return min(int(text), 100_000) if text and text.isdigit() and int(text) > 0 else 1


def products_page(found: QuerySet[Product], number: str | None) -> Page:
    """Return a page of products, which may be very many."""
    wanted = _number(number)
    numbers, total = numbers_of(found, (wanted - 1) * PAGE_SIZE, PAGE_SIZE + 1)
    rows = Product.objects.defer("parameters").in_bulk(numbers[:PAGE_SIZE])
    shown = [rows[pk] for pk in numbers[:PAGE_SIZE] if pk in rows]
    return Page(shown, wanted, len(numbers) > PAGE_SIZE, total, PAGE_SIZE)


def facets(context: Context) -> dict[str, list[Any]]:
    """Return the values that occur among the visible products, for the filters; kept until something new comes."""
    key = f"facets-{context.user.pk if context.user else 0}-{version()}"
    kept: dict[str, list[Any]] | None = cache.get(key)
    if kept is None:
        found = values_of(context, FACETS)
        kept = {name: sorted(values) for name, values in found.items()}
        latest = sorted(found["night"], reverse=True)[:_NIGHTS_OFFERED]
        kept["night"] = [datetime.date.fromisoformat(night) for night in latest]
        kept["kind"] = [name for name in KINDS if name in found["kind"]]
        cache.set(key, kept, _FACET_SECONDS)
    return kept


def nights_of(context: Context, kinds: tuple[str, ...]) -> tuple[str, datetime.date] | None:
    """Return instrument and night of the newest product of these kinds: where a form begins."""
    newest = (
        visible(context)
        .filter(kind__in=kinds, night__isnull=False)
        .order_by("-night", "-pk")
        .values_list("instrument", "night")
    )
    found = newest.first()
    return (found[0], found[1]) if found else None


def with_pictures(products: list[Product]) -> list[Product]:
    """Mark the products that can be drawn; templates ask for it."""
    from awportal.stored_files import has_picture

    for product in products:
        product.drawn = has_picture(product)  # type: ignore[attr-defined]
    return products
