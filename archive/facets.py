"""Which values occur (instruments, chips, nights, objects), kept in a table: no page reads all products for them.

The keeper takes up new products every few seconds; what it has not seen yet is looked at as it is. A value is kept with
whom it may be told to: nobody is offered the name of what they may not see.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Max, Q, QuerySet

from archive.context import Context, visible
from archive.models import FacetsMark, FacetValue, Membership, Privilege, Product
from recipes.kinds import KINDS

_COLUMNS = ("instrument", "kind", "filter_name", "chip", "night", "project__name", "object_name")
_NAMES = ("instrument", "kind", "filter", "chip", "night", "project", "object")
# A night of an instrument of which there are raw frames, as "2024-05-12 instrument".
LOGGED = "logged"
_MARK = "products"
_OF_SCOPE = ("privilege", "creator_id", "project_id")
# A product's number is given out before its transaction ends: one with a lower number may still come within this.
_SETTLED = datetime.timedelta(minutes=10)
_AT_ONCE = 20_000
_BATCH = 500
# Objects that a part of a name may stand for; a part that fits more fits so many frames that a page is soon full.
_MOST_OBJECTS = 200


def gather(at_most: int = 5 * _AT_ONCE) -> int:
    """Take up the values of products that were not seen yet; return of how many products."""
    before = datetime.datetime.now(datetime.UTC) - _SETTLED
    taken = 0
    while taken < at_most:
        mark = seen_until()
        # Numbers do not grow with time exactly: up to the first that is too young, and no further.
        found = list(Product.objects.filter(pk__gt=mark).order_by("pk").values_list("created", "pk")[:_AT_ONCE])
        young = next((place for place, (created, _) in enumerate(found) if created > before), len(found))
        if not young:
            break
        end = found[young - 1][1]
        note(Product.objects.filter(pk__gt=mark, pk__lte=end))  # a value twice noted is kept once
        FacetsMark.objects.filter(name=_MARK, until=mark).update(until=end)
        taken += young
    return taken


def note(products: QuerySet[Product]) -> None:
    """Keep the values of these products; what is kept already stays as it is."""
    wanted = {
        (scope, name, text)
        for *values, privilege, creator, project in products.order_by().values_list(*_COLUMNS, *_OF_SCOPE).distinct()
        for name, text in _facets_of(values)
        for scope in _scopes_of(privilege, creator, project)
    }
    if not wanted:
        return
    FacetsMark.objects.get_or_create(name=_MARK)
    with transaction.atomic():
        # Who holds the mark is the only one that writes values.
        FacetsMark.objects.select_for_update().get(name=_MARK)
        scopes = sorted({scope for scope, _, _ in wanted})
        kept = set(FacetValue.objects.filter(scope__in=scopes).values_list("scope", "name", "text"))
        FacetValue.objects.bulk_create(
            [FacetValue(scope=scope, name=name, text=text) for scope, name, text in sorted(wanted - kept)],
            batch_size=_BATCH,
        )


def seen_until() -> int:
    """Return the number of the product up to which the table knows all."""
    return FacetsMark.objects.filter(name=_MARK).values_list("until", flat=True).first() or 0


def version() -> str:
    """Return a text that changes when a product came in or the table grew."""
    newest = Product.objects.aggregate(newest=Max("pk"))["newest"] or 0
    return f"{newest}-{FacetValue.objects.aggregate(newest=Max('pk'))['newest'] or 0}"


def values_of(context: Context, names: Sequence[str]) -> dict[str, set[str]]:
    """Return the values of these facets among the products that `context` may see."""
    found: dict[str, set[str]] = {name: set() for name in names}
    kept = FacetValue.objects.filter(scope__in=_scopes_for(context), name__in=names)
    for name, text in kept.values_list("name", "text").distinct():
        found[name].add(text)
    for row in set(_unseen(context).values_list(*_COLUMNS)):
        for name, text in _facets_of(row):
            if name in found:
                found[name].add(text)
    return found


def objects_like(context: Context, part: str) -> Q:
    """Return the filter for products whose object's name holds `part`, by the few names that do, so an index serves."""
    kept = FacetValue.objects.filter(scope__in=_scopes_for(context), name="object", text__icontains=part)
    names = set(kept.values_list("text", flat=True).distinct()[: _MOST_OBJECTS + 1])
    unseen = _unseen(context).filter(object_name__icontains=part)
    names |= set(unseen.values_list("object_name", flat=True))
    return Q(object_name__in=sorted(names)) if len(names) <= _MOST_OBJECTS else Q(object_name__icontains=part)


def _facets_of(values: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yield facet and text of a product's columns."""
    told = {name: str(value) for name, value in zip(_NAMES, values, strict=True) if value not in (None, "")}
    yield from told.items()
    kind = KINDS.get(told.get("kind", ""))
    if kind is not None and kind.is_raw and {"night", "instrument"} <= told.keys():
        yield LOGGED, f"{told['night']} {told['instrument']}"


def _unseen(context: Context) -> QuerySet[Product]:
    """Return what the table does not know yet. Asked without DISTINCT, for which SQLite would go through an index."""
    return visible(context).filter(pk__gt=seen_until()).order_by()


def _scopes_of(privilege: int, creator: int, project: int | None) -> Iterable[str]:
    """Return for whom a product's values are kept: its creator, and the widest circle that sees it."""
    yield f"user {creator}"
    if privilege >= Privilege.WORLD:
        yield "world"
    elif privilege >= Privilege.ALL_USERS:
        yield "users"
    elif privilege == Privilege.PROJECT and project is not None:
        yield f"project {project}"


def _scopes_for(context: Context) -> list[str]:
    """Return whose values may be told to this context; the same rule as ``archive.context.readable``."""
    if context.user is None or not context.user.is_active:
        return ["world"]
    projects: Iterable[Any] = Membership.objects.filter(user=context.user).values_list("project_id", flat=True)
    return ["world", "users", f"user {context.user.pk}", *(f"project {number}" for number in projects)]
