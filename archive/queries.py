"""Choosing products by what is known of them, and walking their lineage: one way for all who ask."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from archive.context import Context, visible
from archive.facets import objects_like
from archive.filter_texts import BadSelection, cone, moment, night, numbers, one_word, order, several, verdict, whole
from archive.many_numbers import batches
from archive.models import Lineage, Product, Project, Validity
from archive.sky import within_cone
from recipes.kinds import KINDS

_FAMILY = 5000  # products after which a lineage is followed no further (a flat of a survey serves thousands)
QUALITIES = ("passed", "flagged", "bad", "stale")
VALIDITIES = ("valid", "invalid")
_USUAL_ORDER = ("-date_obs", "-id")
# Where nights bound the selection, the index by night gives the same order.
_ORDER_IN_NIGHTS = ("-night", "-date_obs", "-id")


@dataclass(frozen=True)
class Selection:
    """Filters on products, all of which hold; an empty one does not filter. Sky positions and radius are degrees.

    ``quality`` is passed (neither flagged nor called bad), flagged, or bad (a person's verdict). ``validity`` asks
    whether a product is valid or invalid at the time ``valid_at``: called bad, or outside its timestamps. ``within`` is
    another selection that holds as well.
    """

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
    validity: str = ""
    valid_at: datetime.datetime | None = None
    quality: str = ""
    run: int | None = None
    job: int | None = None
    project: str = ""
    creator: str = ""
    recipe: str = ""
    unflagged: bool = False
    cone: tuple[float, float, float] | None = None
    ids: tuple[int, ...] = ()
    order: tuple[str, ...] = ()
    within: Selection | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any], within: Selection | None = None) -> Selection:
        """Read filters from texts, as a query string or a command line has them; commas separate several values.

        Names: kind, instrument, chip, filter, readout_mode, night, night_from, night_to, object, name, sha256,
        is_valid (0, 1, 2 or a word), validity, valid_at, quality, run, job, project, creator, recipe, unflagged, ids
        (also 3-8), ra with dec and radius (degrees or sexagesimal), order. Raises :class:`BadSelection`.
        """
        texts = {key: _joined(value) for key, value in given.items()}
        texts = {key: text for key, text in texts.items() if text}
        hostile = next((key for key, text in texts.items() if "\0" in text), None)
        if hostile:
            raise BadSelection(f"{hostile}: no text of the archive holds a NUL character")
        unknown_kind = next((kind for kind in several(texts.get("kind", "")) if kind not in KINDS), None)
        if unknown_kind is not None:
            raise BadSelection(f"kind: there is no kind {unknown_kind[:40]!r}; the kinds are: {', '.join(KINDS)}")
        unknown = sorted(set(texts) - NAMES)
        if unknown:
            raise BadSelection(f"there is no filter {unknown[0]!r}; the filters are: {', '.join(sorted(NAMES))}")
        read = {field: reader(name, texts[name]) for name, (field, reader) in _READERS.items() if name in texts}
        if "validity" in read or "valid_at" in read:
            read = {"validity": "valid", "valid_at": moment("valid_at", "now"), **read}
        return cls(**read, cone=cone(texts), within=within)

    @property
    def order_or_usual(self) -> tuple[str, ...]:
        """The columns to sort by; newest observation first where nothing else was asked for."""
        by_night = self.nights or self.night_from or self.night_to
        return self.order or (_ORDER_IN_NIGHTS if by_night else _USUAL_ORDER)


def _text(_name: str, text: str) -> str:
    return text


def _texts(_name: str, text: str) -> tuple[str, ...]:
    return several(text)


# What each name of a filter fills, and how its text is read.
_READERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "kind": ("kinds", _texts),
    "instrument": ("instruments", _texts),
    "chip": ("chips", _texts),
    "filter": ("filters", _texts),
    "readout_mode": ("readout_modes", _texts),
    "night": ("nights", lambda name, text: tuple(night(name, one) for one in several(text))),
    "night_from": ("night_from", night),
    "night_to": ("night_to", night),
    "object": ("object", _text),
    "name": ("name", _text),
    "sha256": ("sha256", _text),
    "is_valid": ("is_valid", lambda _name, text: verdict(text)),
    "validity": ("validity", lambda name, text: one_word(name, text, VALIDITIES)),
    "valid_at": ("valid_at", moment),
    "quality": ("quality", lambda name, text: one_word(name, text, QUALITIES)),
    "run": ("run", whole),
    "job": ("job", whole),
    "project": ("project", _text),
    "creator": ("creator", _text),
    "recipe": ("recipe", _text),
    "unflagged": ("unflagged", lambda _name, text: text.lower() in {"1", "yes", "true", "on"}),
    "ids": ("ids", lambda name, text: numbers(name, several(text))),
    "order": ("order", lambda _name, text: order(text)),
}
NAMES = {*_READERS, "ra", "dec", "radius"}


def select(context: Context, selection: Selection = Selection()) -> QuerySet[Product]:
    """Return what `context` may see of the products that `selection` describes."""
    products = visible(context) if selection.within is None else select(context, selection.within)
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
        "creator__username": selection.creator or None,
        "recipe": selection.recipe or None,
        "name__icontains": selection.name or None,
    }
    products = products.filter(**{column: value for column, value in exact.items() if value is not None})
    if selection.project:
        # Its number is asked first: a join would hide from the database which index serves.
        products = products.filter(project__in=list(Project.objects.filter(name=selection.project)))
    if selection.object:
        products = products.filter(objects_like(context, selection.object))
    if selection.quality:
        products = products.filter(_of_quality(selection.quality))
    if selection.valid_at:
        products = products.filter(_of_validity(selection.validity, selection.valid_at))
    if selection.unflagged:
        products = products.filter(quality_flags=0)
    if selection.cone:
        near, annotation = within_cone(*selection.cone)
        products = products.annotate(**annotation).filter(near)
    return products.order_by(*selection.order_or_usual)


def _of_quality(quality: str) -> Q:
    if quality == "flagged":
        return Q(quality_flags__gt=0)
    if quality == "bad":
        return Q(is_valid=Validity.BAD)
    if quality == "stale":
        return Q(stale_because__isnull=False)
    return Q(quality_flags=0) & ~Q(is_valid=Validity.BAD)


def _of_validity(validity: str, at: datetime.datetime) -> Q:
    """Return the filter for what is valid at a time, or is not; an open end is open."""
    if validity == "invalid":
        return Q(is_valid=Validity.BAD) | Q(timestamp_start__gt=at) | Q(timestamp_end__lt=at)
    begun = Q(timestamp_start__isnull=True) | Q(timestamp_start__lte=at)
    lasts = Q(timestamp_end__isnull=True) | Q(timestamp_end__gte=at)
    return begun & lasts & ~Q(is_valid=Validity.BAD)


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
            for some in batches(sorted(generation))
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
        kin.pk: kin for some in batches(others) for kin in visible(context).filter(pk__in=some).defer("parameters")
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
        for some in batches(sorted(generation)):
            shipped = Product.objects.filter(pk__in=some).exclude(code_digest="").order_by()
            codes |= set(shipped.values_list("creator_id", "code_digest").distinct())
            made = Lineage.objects.filter(product__in=some, source__made_by_job__isnull=False).order_by()
            sources |= set(made.values_list("source_id", flat=True).distinct())
        generation = sources - seen
    return codes


def _joined(value: Any) -> str:
    return ",".join(str(entry) for entry in value) if isinstance(value, list | tuple) else str(value or "").strip()
