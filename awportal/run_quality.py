"""The quality of a run's products at a glance: a line a product, the values that tell most, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from archive.models import Measurement, Product

LINES = 60
COLUMNS = 3
# What an observer looks at first, where a product has it.
_FIRST = ("read_noise", "gain", "sky_level", "sky_noise", "seeing", "psf_fwhm", "source_count", "stdev", "mean")


@dataclass(frozen=True)
class Line:
    """A product: its values in the order of the columns, and what lies beyond its limits."""

    product: Product
    values: list[float | None]
    beyond: str
    held: bool


@dataclass(frozen=True)
class Quality:
    """The table."""

    columns: list[tuple[str, str]]
    lines: list[Line]

    @property
    def per_filter(self) -> bool:
        """Whether any of the products has a filter."""
        return any(line.product.filter_name for line in self.lines)


def quality_of(products: QuerySet[Product]) -> Quality | None:
    """Return the table of these products; None where nothing was measured. Those beyond a limit come first."""
    # A subquery and no DISTINCT: Oracle has none on columns of JSON.
    with_values = Measurement.objects.filter(product__in=products.order_by().values("pk")).values("product")
    measured = list(products.filter(pk__in=with_values).order_by("pk")[:LINES])
    rows = Measurement.objects.filter(product__in=[product.pk for product in measured]).order_by("pk")
    by_product: dict[int, dict[str, Measurement]] = {}
    for row in rows:
        by_product.setdefault(row.product_id, {})[row.name] = row
    if not by_product:
        return None
    columns = _columns(by_product)
    lines = [_line(product, by_product[product.pk], columns) for product in measured]
    return Quality(columns, sorted(lines, key=lambda line: not line.beyond))


def _columns(by_product: dict[int, dict[str, Measurement]]) -> list[tuple[str, str]]:
    units = {name: row.unit for rows in by_product.values() for name, row in rows.items()}
    limited = {name for rows in by_product.values() for name, row in rows.items() if row.verdict != "unlimited"}
    order = sorted(units, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name not in limited))
    return [(name, units[name]) for name in order[:COLUMNS]]


def _line(product: Product, rows: dict[str, Measurement], columns: list[tuple[str, str]]) -> Line:
    beyond = [name for name, row in rows.items() if row.verdict == Measurement.Verdict.BAD]
    more = f" and {len(beyond) - 1} more" if len(beyond) > 1 else ""
    return Line(
        product=product,
        values=[rows[name].measured if name in rows else None for name, _ in columns],
        beyond=f"{beyond[0]}{more}" if beyond else "",
        held=any(row.verdict == Measurement.Verdict.GOOD for row in rows.values()),
    )
