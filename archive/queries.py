"""Choosing products by what is known of them, and walking their lineage: one way for all who ask."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from archive.context import Context, visible
from archive.models import Lineage, Product, Validity
from archive.sky import within_cone
from recipes.kinds import KINDS

_AT_ONCE = 500  # numbers in one IN (...)
_FAMILY = 5000  # products after which a lineage is followed no further (a flat of a survey serves thousands)
_ORDERS = {"name", "-name", "date_obs", "-date_obs", "created", "-created", "kind", "night", "-night"}


_USUAL_ORDER = ("-date_obs", "-id")


class BadSelection(ValueError):
    """A filter that cannot be understood; the message names it and says what is expected."""


@dataclass(frozen=True)
class Selection:
    """Filters on products, all of which hold; an empty one does not filter. Sky positions and radius are degrees."""

    kinds: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    readout_modes: tuple[str, ...] = ()
    nights: tuple[datetime.date, ...] = ()
    night_from: datetime.date | None = None
    night_to: datetime.date | None = None
    object: str = ""
    name: str = ""
    sha256: str = ""
    is_valid: int | None = None
    run: int | None = None
    job: int | None = None
    project: str = ""
    creator: str = ""
    recipe: str = ""
    unflagged: bool = False
    cone: tuple[float, float, float] | None = None
    ids: tuple[int, ...] = ()
    order: tuple[str, ...] = _USUAL_ORDER

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Selection:
        """Read filters from texts, as a query string or a command line has them; commas separate several values.

        Names: kind, instrument, chip, filter, readout_mode, night, night_from, night_to, object, name, sha256,
        is_valid (0, 1, 2 or a word), run, job, project, creator, recipe, unflagged, ids, ra with dec and radius, order.
        Raises :class:`BadSelection`.
        """
        texts = {key: _joined(value) for key, value in given.items()}
        texts = {key: text for key, text in texts.items() if text}
        hostile = next((key for key, text in texts.items() if "\0" in text), None)
        if hostile:
            raise BadSelection(f"{hostile}: no text of the archive holds a NUL character")
        unknown_kind = next((kind for kind in _several(texts.get("kind", "")) if kind not in KINDS), None)
        if unknown_kind is not None:
            raise BadSelection(f"kind: there is no kind {unknown_kind[:40]!r}; the kinds are: {', '.join(KINDS)}")
        unknown = sorted(set(texts) - _NAMES)
        if unknown:
            raise BadSelection(f"there is no filter {unknown[0]!r}; the filters are: {', '.join(sorted(_NAMES))}")
        return cls(
            kinds=_several(texts.get("kind", "")),
            instruments=_several(texts.get("instrument", "")),
            chips=_several(texts.get("chip", "")),
            filters=_several(texts.get("filter", "")),
            readout_modes=_several(texts.get("readout_mode", "")),
            object=texts.get("object", ""),
            name=texts.get("name", ""),
            sha256=texts.get("sha256", ""),
            project=texts.get("project", ""),
            creator=texts.get("creator", ""),
            recipe=texts.get("recipe", ""),
            nights=tuple(_night("night", text) for text in _several(texts.get("night", ""))),
            night_from=_night("night_from", texts["night_from"]) if "night_from" in texts else None,
            night_to=_night("night_to", texts["night_to"]) if "night_to" in texts else None,
            is_valid=_validity(texts["is_valid"]) if "is_valid" in texts else None,
            run=_whole("run", texts["run"]) if "run" in texts else None,
            job=_whole("job", texts["job"]) if "job" in texts else None,
            unflagged=texts.get("unflagged", "").lower() in {"1", "yes", "true", "on"},
            cone=_cone(texts),
            ids=tuple(_whole("ids", text) for text in _several(texts.get("ids", ""))),
            order=_order(texts["order"]) if "order" in texts else _USUAL_ORDER,
        )


_NAMES = {"kind", "instrument", "chip", "filter", "readout_mode", "night", "night_from", "night_to", "object", "name",
          "sha256", "is_valid", "run", "job", "project", "creator", "recipe", "unflagged", "ids", "ra", "dec", "radius",
          "order"}  # fmt: skip


def select(context: Context, selection: Selection = Selection()) -> QuerySet[Product]:
    """Return what `context` may see of the products that `selection` describes."""
    products = visible(context)
    for column, values in (
        ("kind", selection.kinds),
        ("instrument", selection.instruments),
        ("chip", selection.chips),
        ("filter_name", selection.filters),
        ("readout_mode", selection.readout_modes),
        ("night", selection.nights),
        ("pk", selection.ids),
    ):
        if values:
            products = products.filter(one_of(column, values))
    exact = {
        "night__gte": selection.night_from,
        "night__lte": selection.night_to,
        "is_valid": selection.is_valid,
        "made_by_run": selection.run,
        "made_by_job": selection.job,
        "sha256": selection.sha256 or None,
        "project__name": selection.project or None,
        "creator__username": selection.creator or None,
        "recipe": selection.recipe or None,
        "object_name__icontains": selection.object or None,
        "name__icontains": selection.name or None,
    }
    products = products.filter(**{column: value for column, value in exact.items() if value is not None})
    if selection.unflagged:
        products = products.filter(quality_flags=0)
    if selection.cone:
        near, annotation = within_cone(*selection.cone)
        products = products.annotate(**annotation).filter(near)
    return products.order_by(*selection.order)


def one_of(column: str, values: Iterable[Any]) -> Q:
    """Return the filter for a column with one of `values`; an empty text is NULL to Oracle, there it is asked apart."""
    values = list(values)
    if "" not in values or not connection.features.interprets_empty_strings_as_nulls:
        return Q(**{f"{column}__in": values})
    return Q(**{f"{column}__in": [value for value in values if value != ""]}) | Q(**{column: ""})


@dataclass(frozen=True)
class Kin:
    """A product in a lineage: `source` served as `role` for `product`, `depth` steps away from where one began."""

    product_id: int
    source_id: int
    role: str
    depth: int


@dataclass(frozen=True)
class Family:
    """A lineage: the steps, the products in it that may be seen, by number, and how many others there are.

    `is_cut` says that there were more than could be followed: the nearest are here.
    """

    steps: list[Kin]
    products: dict[int, Product]
    hidden: int
    is_cut: bool = False


def ancestors(context: Context, product: Product, depth: int = 20) -> Family:
    """Return what `product` was made from, up to the raw frames: a query a generation, and one for the products."""
    return _family(context, product, "product_id", "source_id", depth)


def descendants(context: Context, product: Product, depth: int = 20) -> Family:
    """Return what was made from `product`, down to the last."""
    return _family(context, product, "source_id", "product_id", depth)


def _family(context: Context, product: Product, known: str, wanted: str, depth: int) -> Family:
    steps: list[Kin] = []
    seen = {product.pk}
    generation = {product.pk}
    for distance in range(1, depth + 1):
        found = [
            Kin(child, source, role, distance)
            for some in _batches(sorted(generation))
            for child, source, role in Lineage.objects.filter(**{f"{known}__in": some})
            .order_by("product_id", "role", "ordinal")
            .values_list("product_id", "source_id", "role")[:_FAMILY]
        ]
        steps += found
        generation = {getattr(step, wanted) for step in found} - seen
        seen |= generation
        if not generation or len(steps) >= _FAMILY:
            break
    others = sorted(seen - {product.pk})
    readable = {
        kin.pk: kin for some in _batches(others) for kin in visible(context).filter(pk__in=some).defer("parameters")
    }
    kept = {*readable, product.pk}
    shown = [step for step in steps if step.product_id in kept and step.source_id in kept]
    return Family(shown, readable, len(others) - len(readable), bool(generation) or len(steps) >= _FAMILY)


def codes_behind(numbers: Iterable[int]) -> set[tuple[int, str]]:
    """Return all shipped code that had a part in these products: (creator, digest) of them and of all their ancestors.

    No ancestor is left out, seen or not, however many there are: whether products may be published rests on it.
    """
    codes: set[tuple[int, str]] = set()
    seen: set[int] = set()
    generation = set(numbers)
    while generation:
        seen |= generation
        sources: set[int] = set()
        for some in _batches(sorted(generation)):
            shipped = Product.objects.filter(pk__in=some).exclude(code_digest="").order_by()
            codes |= set(shipped.values_list("creator_id", "code_digest").distinct())
            made = Lineage.objects.filter(product__in=some, source__made_by_job__isnull=False).order_by()
            sources |= set(made.values_list("source_id", flat=True).distinct())
        generation = sources - seen
    return codes


def _batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _AT_ONCE):
        yield numbers[start : start + _AT_ONCE]


def _joined(value: Any) -> str:
    return ",".join(str(entry) for entry in value) if isinstance(value, list | tuple) else str(value or "").strip()


def _several(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _night(name: str, text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise BadSelection(f"{name}: {text!r} is not a date like 2024-05-12") from None


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise BadSelection(f"{name}: {text!r} is not a whole number")
    return int(text)


def _validity(text: str) -> int:
    words = {"bad": Validity.BAD, "good": Validity.GOOD, "proposed": Validity.PROPOSED}
    if text.lower() in words:
        return words[text.lower()]
    if text in {"0", "1", "2"}:
        return int(text)
    raise BadSelection(f"is_valid: {text!r} is none of 0 (bad), 1 (good), 2 (proposed)")


def _cone(texts: Mapping[str, str]) -> tuple[float, float, float] | None:
    given = [name for name in ("ra", "dec", "radius") if name in texts]
    if not given:
        return None
    if len(given) < 3:
        raise BadSelection("a place on the sky is given by ra, dec and radius together, in degrees")
    try:
        ra, dec, radius = (float(texts[name]) for name in ("ra", "dec", "radius"))
    except ValueError:
        raise BadSelection("ra, dec and radius are numbers, in degrees") from None
    if not (-360 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius <= 180):
        raise BadSelection("ra lies from 0 to 360, dec from -90 to 90, radius above 0 to 180 degrees")
    return ra % 360, dec, radius


def _order(text: str) -> tuple[str, ...]:
    columns = _several(text)
    wrong = [column for column in columns if column not in _ORDERS]
    if wrong:
        raise BadSelection(f"order: {wrong[0]!r} is none of {', '.join(sorted(_ORDERS))}")
    return (*columns, "id")
