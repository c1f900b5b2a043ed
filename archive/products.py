"""Products that a job made enter the archive: rows, measurements, lineage, validity, position on the sky."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.db import connection, transaction
from django.db.models import Model

from archive.context import Context
from archive.models import LimitSource, Lineage, Measurement, Privilege, Product
from archive.sky import healpix_of
from archive.staleness import inherit
from recipes.kinds import KINDS, ProductKind

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Kinds that look at no place on the sky: their pointing is where the telescope happened to be.
_NOT_ON_SKY = {"RawBias", "RawDark", "RawDomeFlat"}
# Attributes that have columns of their own and may not be lost on the way: name, longest text.
_LENGTHS = {"instrument": 60, "chip": 40, "filter": 40, "readout_mode": 60, "object": 100}


class InvalidProduct(ValueError):
    """What was handed in cannot be a product; the message says why."""


class Staged(Protocol):
    """A product as its job describes it: ``processing_units.contract.StagedProduct``."""

    kind: str
    name: str
    sha256: str
    size: int
    attributes: dict[str, Any]
    measurements: list[dict[str, Any]]
    quality_flags: int
    made_without: list[str]


@dataclass(frozen=True)
class MadeBy:
    """The job that made a product, by number, and what decided its bytes."""

    run: int
    job: int
    recipe: str
    recipe_version: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    code_digest: str = ""


@dataclass(frozen=True)
class UsedInput:
    """One input of a job: a product's number in its role."""

    product: int
    role: str
    ordinal: int = 0


def register(staged: Staged, context: Context, made_by: MadeBy, inputs: Sequence[UsedInput]) -> Product:
    """Make one product, see :func:`register_all`."""
    return register_all([staged], context, made_by, inputs)[0]


def register_all(
    staged: Sequence[Staged], context: Context, made_by: MadeBy, inputs: Sequence[UsedInput]
) -> list[Product]:
    """Make the products of a job with measurements and lineage; call it inside the transaction that ends the job.

    `context` is the run's: creator, project, privilege. What shipped code made goes to MyDB, whatever the run asked.
    Raises :class:`InvalidProduct`, and django.db.IntegrityError when the job has registered that name before.
    """
    if context.user is None:
        raise InvalidProduct("a product needs a creator: the context is a visitor's")
    nights = _nights_of(staged, inputs)
    products = [_product(item, context, made_by, nights) for item in staged]
    measurements = [
        measurement
        for product, item in zip(products, staged, strict=True)
        for measurement in _measurements(product, item.measurements)
    ]
    insert_all(Product, products)
    lineage = [
        Lineage(product=product, source_id=used.product, role=used.role, ordinal=used.ordinal)
        for product in products
        for used in inputs
    ]
    Measurement.objects.bulk_create(measurements)
    Lineage.objects.bulk_create(lineage)
    # Once this is committed: what calls an input bad at this moment sees these products, or these see its verdict.
    made = [product.pk for product in products]
    transaction.on_commit(lambda: inherit(made), robust=True)
    return products


def insert_all(model: type[Model], rows: Sequence[Model]) -> None:
    """Insert `rows` so that they know their numbers: at once where the database returns them (Oracle does not)."""
    if connection.features.can_return_rows_from_bulk_insert:
        model._default_manager.bulk_create(rows)
        return
    for row in rows:
        row.save(force_insert=True)


def columns_of(kind: ProductKind, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a product that its attributes fill."""
    texts = {name: _text(attributes.get(name), name, longest) for name, longest in _LENGTHS.items()}
    position = (None, None) if kind.name in _NOT_ON_SKY else _position(attributes)
    method = attributes.get("overscan_correction")
    return {
        "instrument": texts["instrument"],
        "chip": texts["chip"],
        "filter_name": texts["filter"] if kind.per_filter else "",
        "readout_mode": texts["readout_mode"] or "default",
        "object_name": texts["object"],
        "date_obs": parse_time(attributes.get("date_obs")),
        "night": _date(attributes.get("night")),
        "exposure_time": _number(attributes.get("exposure_time")),
        "temperature": _number(attributes.get("temperature")),
        "overscan_correction": method if isinstance(method, int) and 0 <= method <= 8 else None,
        "ra": position[0],
        "dec": position[1],
        "healpix": healpix_of(*position),
    }


def validity_of(
    kind: ProductKind, attributes: Mapping[str, Any], nights: Sequence[datetime.date] = ()
) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """Return from when to when a calibration serves by default: days around its night, as its kind says.

    A recipe may say otherwise by the attributes ``timestamp_start`` and ``timestamp_end``. `nights` are those of its
    inputs, for products that do not tell their own.
    """
    if kind.validity_days is None:
        return None, None
    around = datetime.timedelta(days=kind.validity_days)
    own = _date(attributes.get("night"))
    observed = parse_time(attributes.get("date_obs"))
    if own is None and observed is not None:
        own = (observed - datetime.timedelta(hours=12)).date()
    first, last = (own, own) if own else (min(nights, default=None), max(nights, default=None))
    start = _noon(first) - around if first else None
    end = _noon(last) + datetime.timedelta(days=1) + around if last else None
    return parse_time(attributes.get("timestamp_start")) or start, parse_time(attributes.get("timestamp_end")) or end


def parse_time(value: Any) -> datetime.datetime | None:
    """Return an ISO 8601 time (UT where it names no zone), or None where it is none."""
    if isinstance(value, datetime.datetime):
        time = value
    else:
        try:
            time = datetime.datetime.fromisoformat(str(value))
        except ValueError:
            return None
    return time.replace(tzinfo=datetime.UTC) if time.tzinfo is None else time.astimezone(datetime.UTC)


def storable(value: Any) -> Any:
    """Return `value` as every database stores it in JSON: no NaN, no infinity, no NUL, keys that are texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [storable(entry) for entry in value]
    return value


def _product(item: Staged, context: Context, made_by: MadeBy, nights: Sequence[datetime.date]) -> Product:
    kind = _checked(item)
    start, end = validity_of(kind, item.attributes, nights)
    shipped = bool(made_by.code_digest)
    return Product(
        kind=kind.name,
        name=item.name,
        sha256=item.sha256,
        file_size=item.size,
        attributes=storable(item.attributes),
        creator=context.user,
        project=None if shipped else context.project,
        privilege=Privilege.MYDB if shipped else context.privilege,
        quality_flags=item.quality_flags,
        timestamp_start=start,
        timestamp_end=end,
        recipe=made_by.recipe,
        recipe_version=made_by.recipe_version,
        parameters=storable(dict(made_by.parameters)),
        code_digest=made_by.code_digest,
        made_by_run=made_by.run,
        made_by_job=made_by.job,
        made_without=storable(item.made_without),
        identity=f"job {made_by.job}: {item.name}",
        **columns_of(kind, item.attributes),
    )


def _checked(item: Staged) -> ProductKind:
    """Return the kind of a product that a job handed in; a job may run shipped code, so nothing is taken on trust."""
    kind = KINDS.get(item.kind)
    if kind is None or kind.is_raw:
        raise InvalidProduct(f"{item.name[:80]!r}: a job cannot make a product of the kind {item.kind[:40]!r}")
    if not _NAME.fullmatch(item.name):
        raise InvalidProduct(f"{item.name[:80]!r} cannot be a product's name: use letters, digits and . _ + = - only")
    if not _SHA256.fullmatch(item.sha256):
        raise InvalidProduct(f"{item.name}: {item.sha256[:80]!r} is not a sha256")
    if not 0 <= item.size < 2**63 or not 0 <= item.quality_flags < 2**31:
        raise InvalidProduct(
            f"{item.name}: its size and quality flags must be whole numbers from 0 that a database can keep"
        )
    return kind


def _measurements(product: Product, entries: Sequence[Mapping[str, Any]]) -> list[Measurement]:
    measurements = [_measurement(product, entry) for entry in entries]
    names = [measurement.name for measurement in measurements]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidProduct(f"{product.name}: {twice[0]} is measured twice")
    return measurements


def _measurement(product: Product, entry: Mapping[str, Any]) -> Measurement:
    verdict = entry.get("verdict", "unlimited")
    if verdict not in Measurement.Verdict.values:
        raise InvalidProduct(f"{product.name}: {verdict!r} is no verdict of a measurement")
    source = entry.get("limit_source") or ""
    if source not in {"", *LimitSource.values}:
        raise InvalidProduct(f"{product.name}: {source!r} is no source of a limit")
    return Measurement(
        product=product,
        name=_text(entry.get("name"), "a measurement's name", 60),
        measured=_number(entry.get("value")),
        error=_number(entry.get("error")),
        unit=_text(entry.get("unit"), "a measurement's unit", 40),
        lower_limit=_number(entry.get("minimum")),
        upper_limit=_number(entry.get("maximum")),
        verdict=verdict,
        limit_source=source,
        limit_since=parse_time(entry.get("limit_since")),
    )


def _nights_of(staged: Sequence[Staged], inputs: Sequence[UsedInput]) -> list[datetime.date]:
    """Return the nights of the inputs, asked for only if a product does not tell its own."""
    if all(item.attributes.get("night") or item.attributes.get("date_obs") for item in staged):
        return []
    numbers = [used.product for used in inputs]
    nights = Product.objects.filter(pk__in=numbers, night__isnull=False).values_list("night", flat=True)
    return [night for night in nights if night is not None]


def _position(attributes: Mapping[str, Any]) -> tuple[float | None, float | None]:
    ra, dec = _number(attributes.get("ra")), _number(attributes.get("dec"))
    if ra is None or dec is None or not -90 <= dec <= 90:
        return None, None
    return ra % 360.0, dec


def _text(value: Any, name: str, longest: int) -> str:
    text = _CONTROL.sub(" ", "" if value is None else str(value)).strip()
    if len(text) > longest and name != "object":
        raise InvalidProduct(f"{name} {text[:longest]!r}... is longer than {longest} characters")
    return text[:longest]


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _date(value: Any) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def _noon(night: datetime.date) -> datetime.datetime:
    """Return noon UT of the date: half a day off from local noon at most, little beside days of validity."""
    return datetime.datetime.combine(night, datetime.time(12), tzinfo=datetime.UTC)
