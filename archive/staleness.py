"""What rests on a product that was called bad: it is stale, however many generations lie between.

Each stale product names one bad product that it rests on, so that lists and choices read a column and walk nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Q

from archive.audit import of_product, record
from archive.context import Context, visible
from archive.many_numbers import batches
from archive.models import Lineage, Product, Validity

# A calibration is compared with the one before of its kind: that decides a QC value, and no pixel.
COMPARED_WITH = "previous"


@dataclass(frozen=True)
class Impact:
    """All that was made from a product, in all generations.

    Attributes
    ----------
    generations : list of list of int
        Numbers of the products that may be seen; each stands in the first generation in which it is met.
    kinds : dict
        How many there are of each kind, the largest number first; of those that may be seen.
    stale : int
        How many of them are stale now.
    hidden : int
        How many there are besides that may not be seen.
    """

    generations: list[list[int]]
    kinds: dict[str, int]
    stale: int
    hidden: int

    @property
    def total(self) -> int:
        """How many there are, seen or not."""
        return sum(map(len, self.generations)) + self.hidden


def judge(product: Product, verdict: Validity, by: User | None = None) -> int:
    """Write a person's verdict, and who gave it; return how many products it makes stale, or no longer so.

    What is committed by a job at the same moment looks at its inputs after its commit (:func:`inherit`), and this
    looks for descendants again after its own, so none slips through between the two.
    """
    with transaction.atomic():
        before = Product.objects.select_for_update(of=("self",)).select_related("project").get(pk=product.pk)
        Product.objects.filter(pk=product.pk).update(is_valid=verdict)
        product.is_valid = verdict
        if before.is_valid != verdict:
            was, now = (str(Validity(each).label) for each in (before.is_valid, verdict))
            record(by, of_product(before, "verdict", was, now))
        changed = _mark_all_below(product) if verdict == Validity.BAD else _clear_below(product)
    if verdict == Validity.BAD:
        changed += _mark_all_below(product)
    return changed


def inherit(products: Iterable[int]) -> int:
    """Mark those of the products, made just now, that rest on what is bad or stale; return how many are."""
    count = 0
    for some in batches(sorted(products)):
        count += _mark(_causes(some))
    return count


def impact_of(product: Product, context: Context) -> Impact:
    """Return what was made from a product: numbers alone are walked, a few queries for every 500 products."""
    generations: list[list[int]] = []
    kinds: dict[str, int] = {}
    stale = hidden = 0
    for generation in _generations({product.pk}):
        seen: list[int] = []
        for some in batches(sorted(generation)):
            readable = visible(context).filter(pk__in=some).order_by()
            seen += readable.values_list("pk", flat=True)
            stale += readable.filter(stale_because__isnull=False).count()
            for kind, number in readable.values_list("kind").annotate(Count("pk")):
                kinds[kind] = kinds.get(kind, 0) + number
        hidden += len(generation) - len(seen)
        generations.append(sorted(seen))
    ordered = dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
    return Impact(generations, ordered, stale, hidden)


def _generations(begin: set[int], within: set[int] | None = None) -> Iterator[set[int]]:
    """Yield what was made from these products, generation by generation, each product once."""
    seen, generation = set(begin), set(begin)
    while generation:
        following: set[int] = set()
        for some in batches(sorted(generation)):
            made = Lineage.objects.filter(source__in=some).exclude(role=COMPARED_WITH).order_by()
            following |= set(made.values_list("product", flat=True).distinct())
        generation = following - seen if within is None else (following - seen) & within
        seen |= generation
        if generation:
            yield generation


def _mark_all_below(product: Product) -> int:
    """Mark all that was made from a bad product and is not stale for another already."""
    count = 0
    for generation in _generations({product.pk}):
        for some in batches(sorted(generation)):
            fresh = Product.objects.filter(pk__in=some, stale_because__isnull=True)
            count += fresh.update(stale_because=product.pk)
    return count


def _clear_below(product: Product) -> int:
    """Take the mark off all that was made from a product, but for what rests on another that is bad."""
    below: set[int] = set().union(*_generations({product.pk}))
    stale_before: set[int] = set()
    for some in batches(sorted(below)):
        rows = Product.objects.filter(pk__in=some, stale_because__isnull=False)
        stale_before |= set(rows.values_list("pk", flat=True))
        rows.update(stale_because=None)
    causes: dict[int, int] = {}
    for some in batches(sorted(below)):
        causes |= _causes(some)
    for cause in sorted(set(causes.values())):
        begin = {number for number, because in causes.items() if because == cause}
        _mark(dict.fromkeys(begin, cause))
        for generation in _generations(begin, below):
            _mark(dict.fromkeys(generation, cause))
    still: set[int] = set()
    for some in batches(sorted(stale_before)):
        rows = Product.objects.filter(pk__in=some, stale_because__isnull=False)
        still |= set(rows.values_list("pk", flat=True))
    return len(stale_before - still)


def _causes(products: Iterable[int]) -> dict[int, int]:
    """Return for those of at most 500 products that rest on something bad or stale which bad product that is."""
    rests = Q(source__is_valid=Validity.BAD) | Q(source__stale_because__isnull=False)
    rows = Lineage.objects.filter(rests, product__in=list(products)).exclude(role=COMPARED_WITH).order_by("-source")
    found = rows.values_list("product", "source", "source__is_valid", "source__stale_because")
    return {product: source if valid == Validity.BAD else because for product, source, valid, because in found}


def _mark(causes: dict[int, int]) -> int:
    count = 0
    for cause in sorted(set(causes.values())):
        numbers = sorted(number for number, because in causes.items() if because == cause)
        for some in batches(numbers):
            count += Product.objects.filter(pk__in=some, stale_because__isnull=True).update(stale_because=cause)
    return count
