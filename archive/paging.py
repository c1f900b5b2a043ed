"""Pages of products, however many there are: bounded work, whatever is filtered by and sorted by."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import QuerySet

from archive.models import Product

# So many are counted, and found without asking for their order.
COUNTED_AT_MOST = 2000


def numbers_of(found: QuerySet[Product], start: int, size: int) -> tuple[list[int], int]:
    """Return the numbers of the products from `start` on, `size` at most, and how many there are.

    More than ``COUNTED_AT_MOST`` are not counted. First they are asked for in no order, so that the database takes the
    index that leaves fewest; few are sorted here. Of many, going through an index in their order soon fills the page.
    """
    numbers = list(found.order_by().values_list("pk", flat=True)[: COUNTED_AT_MOST + 1])
    if len(numbers) > COUNTED_AT_MOST:
        return list(found.values_list("pk", flat=True)[start : start + size]), len(numbers)
    columns = [column.lstrip("-") for column in found.query.order_by]
    # Asked for afterwards: to make times of two thousand texts takes longer than all else of a page's search.
    rows = list(Product.objects.filter(pk__in=numbers).order_by().values_list("pk", *columns))
    for place, column in reversed(list(enumerate(found.query.order_by, 1))):
        rows.sort(key=lambda row, place=place: _key(row[place]), reverse=column.startswith("-"))  # type: ignore[misc]
    return [row[0] for row in rows[start : start + size]], len(rows)


def _key(value: Any) -> tuple[bool, Any]:
    """Return what sorts a value as the database does, where a missing one is the largest or the smallest of all."""
    if connection.features.nulls_order_largest:
        return value is None, 0 if value is None else value
    return value is not None, 0 if value is None else value
