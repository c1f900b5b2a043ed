"""Products: choosing them, what is known of them, and their files."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Annotated, Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from ninja import Query, Router
from pydantic import BaseModel, ConfigDict, Field

from archive.context import visible
from archive.models import Change, Lineage, Privilege, Product
from archive.paging import COUNTED_AT_MOST, numbers_of
from archive.queries import ancestors, select
from archive.saved_selections import parse
from awportal.api.authentication import context_of_request
from awportal.api.errors import Refusal
from awportal.samp_messages import messages_for
from dataserver.formats import formats_for
from dataserver.signing import signed_url
from processing_units.frontend.publishing import MOST_AT_ONCE, publications_of, publish, unaccepted_code
from recipes.kinds import KINDS

router = Router(tags=["products"])

_LINK_SECONDS = 3600.0
_LARGEST_PAGE = 500
_LARGEST_ID = 2**63 - 1
_AT_ONCE = 500


class MeasuredValue(BaseModel):
    """One QC value with the limits it was held to."""

    name: str
    value: float | None
    error: float | None
    unit: str
    minimum: float | None
    maximum: float | None
    verdict: str
    limit_source: str = ""
    limit_since: str | None = None


class ProductInformation(BaseModel):
    """A product with its attributes, its QC values and the numbers of what it was made from."""

    id: int
    kind: str
    name: str
    sha256: str
    size: int
    instrument: str
    chip: str
    filter: str
    readout_mode: str
    date_obs: str | None
    night: str | None
    exposure_time: float | None
    object: str
    ra: float | None
    dec: float | None
    attributes: dict[str, Any]
    creator: str
    project: str
    privilege: int
    is_valid: int
    stale_because: int | None
    quality_flags: int
    valid_from: str | None
    valid_until: str | None
    created: str
    recipe: str
    recipe_version: str
    parameters: dict[str, Any]
    code_digest: str
    run: int | None
    made_without: list[str]
    measurements: list[MeasuredValue]
    inputs: dict[str, list[int]]
    page: str


class Ancestor(BaseModel):
    """A step of a lineage: ``source`` served as ``role`` for ``product``."""

    product: int
    source: int
    role: str
    kind: str
    name: str


class PublicationStep(BaseModel):
    """A step up of who sees a product."""

    who: str
    made: str
    privilege_before: int
    privilege_after: int
    project: str


class ProductDetails(ProductInformation):
    """A product with its whole lineage, back to the raw frames; ``hidden`` counts those that you may not see.

    ``held_back`` says why it cannot be published, where it rests on code that no project manager has accepted.
    """

    lineage: list[Ancestor]
    hidden: int
    formats: list[str]
    publications: list[PublicationStep]
    held_back: str


class ProductMessages(BaseModel):
    """A product as messages of SAMP (``samp.mtype``, ``samp.params``), the one to be preferred first."""

    name: str
    messages: list[dict[str, Any]]


class PublishRequest(BaseModel):
    """Products, the level to raise them to (2 project to 5 VO), and the project for those that belong to none."""

    model_config = ConfigDict(extra="forbid")

    products: Annotated[list[Annotated[int, Field(ge=1, le=_LARGEST_ID)]], Field(min_length=1, max_length=MOST_AT_ONCE)]
    privilege: Annotated[int, Field(ge=2, le=5)]
    project: str = ""


class Published(BaseModel):
    """How many products were raised; the others were at the level, or above it, before."""

    published: int
    privilege: int


class ProductPage(BaseModel):
    """A page of products; ``next`` is the offset of the next page; ``count`` is null where there are very many."""

    items: list[ProductInformation]
    count: int | None
    next: int | None


class ProductFilters(BaseModel):
    """Filters on products, all of which hold; commas separate several values. See ``archive.queries.Selection``.

    ``selection`` is the name or key of a saved selection, within which the others hold.
    """

    model_config = ConfigDict(extra="forbid")

    kind: str = ""
    instrument: str = ""
    chip: str = ""
    filter: str = ""
    readout_mode: str = ""
    night: str = ""
    night_from: str = ""
    night_to: str = ""
    object: str = ""
    name: str = ""
    sha256: str = ""
    is_valid: str = ""
    validity: str = ""
    valid_at: str = ""
    quality: str = ""
    run: str = ""
    job: str = ""
    project: str = ""
    creator: str = ""
    recipe: str = ""
    unflagged: str = ""
    ids: str = ""
    ra: str = ""
    dec: str = ""
    radius: str = ""
    order: str = ""
    selection: str = ""


@router.get("/products", response=ProductPage)
def list_products(
    request: HttpRequest, filters: Query[ProductFilters], offset: int = 0, limit: int = 100
) -> ProductPage:
    """List the products that the filters describe and that you may see, newest observation first."""
    if not 0 <= offset <= _LARGEST_ID or not 1 <= limit <= _LARGEST_PAGE:
        raise Refusal(400, f"offset counts from 0, limit from 1 to {_LARGEST_PAGE}", field="limit")
    unknown = sorted(set(request.GET) - set(ProductFilters.model_fields) - {"offset", "limit"})
    if unknown:
        names = ", ".join(ProductFilters.model_fields)
        raise Refusal(
            400, f"there is no filter {unknown[0][:40]!r}", hint=f"the filters are: {names}", field=unknown[0][:40]
        )
    context = context_of_request(request)
    found = select(context, parse(context, filters.model_dump()))
    numbers, count = numbers_of(found, offset, limit + 1)
    following = offset + limit if len(numbers) > limit else None
    described = {item.id: item for item in describe_all(request, Product.objects.filter(pk__in=numbers[:limit]))}
    items = [described[number] for number in numbers[:limit] if number in described]
    return ProductPage(items=items, count=count if count <= COUNTED_AT_MOST else None, next=following)


@router.get("/products/{int:number}", response=ProductDetails)
def one_product(request: HttpRequest, number: int) -> ProductDetails:
    """Return a product with its lineage."""
    context = context_of_request(request)
    product = _find(request, number)
    family = ancestors(context, product)
    lineage = [
        Ancestor(product=step.product_id, source=step.source_id, role=step.role, kind=source.kind, name=source.name)
        for step in family.steps
        if (source := family.products.get(step.source_id)) is not None
    ]
    described = describe_all(request, visible(context).filter(pk=product.pk))[0]
    return ProductDetails(
        **described.model_dump(),
        lineage=lineage,
        hidden=family.hidden,
        formats=[each.name for each in formats_for(KINDS[product.kind].content, product.attributes)],
        publications=[_step(step) for step in publications_of(product)],
        held_back=", ".join(map(str, unaccepted_code([product.pk]))) if product.privilege == Privilege.MYDB else "",
    )


@router.post("/products/publish", response=Published)
def publish_products(request: HttpRequest, wanted: PublishRequest) -> Published:
    """Let more people see products, all of them or none; asked twice, the second time changes nothing."""
    raised = publish(wanted.products, wanted.privilege, context_of_request(request), wanted.project)
    return Published(published=raised, privilege=wanted.privilege)


@router.get("/products/{int:number}/download")
def download_product(request: HttpRequest, number: int, format: str = "fits") -> HttpResponse:
    """Send on to the data server, with the right to read this one file, in this one format, for an hour."""
    product = _find(request, number)
    possible = {each.name: each for each in formats_for(KINDS[product.kind].content, product.attributes)}
    chosen = possible.get(format)
    if chosen is None:
        raise Refusal(
            400,
            f"{product.name} cannot be given as {format[:40]!r}",
            hint="it can be given as: " + ", ".join(possible),
            field="format",
        )
    converted = chosen.write is not None
    address = signed_url(
        settings.DATA_KEY,
        settings.DATA_URL,
        "GET",
        f"/files/{product.sha256}",
        lifetime=_LINK_SECONDS,
        name=chosen.file_name(_as_file(product.name)),
        format=chosen.name if converted else "",
    )
    return HttpResponseRedirect(address)


@router.get("/products/{int:number}/samp", response=ProductMessages)
def samp_messages(request: HttpRequest, number: int) -> ProductMessages:
    """Return the messages by which DS9, TOPCAT and Aladin load a product; their addresses are good for 15 minutes."""
    return ProductMessages(**messages_for(_find(request, number)))


def describe_all(request: HttpRequest, products: QuerySet[Product]) -> list[ProductInformation]:
    """Return products as users see them; the number of queries does not grow with the number of products."""
    listed = list(products.select_related("creator", "project").prefetch_related("measurements"))
    inputs = _inputs_of([product.pk for product in listed])
    return [_describe(request, product, inputs.get(product.pk, {})) for product in listed]


def _find(request: HttpRequest, number: int) -> Product:
    product = visible(context_of_request(request)).filter(pk=min(number, _LARGEST_ID)).first()
    if product is None:
        raise Refusal(
            404, f"there is no product {number}, or none that you may see", hint="`awrecipe products` lists them"
        )
    return product


def _inputs_of(numbers: list[int]) -> dict[int, dict[str, list[int]]]:
    found: dict[int, dict[str, list[int]]] = {}
    for begin in range(0, len(numbers), _AT_ONCE):
        rows = Lineage.objects.filter(product__in=numbers[begin : begin + _AT_ONCE]).order_by(
            "product", "role", "ordinal"
        )
        for product, role, source in rows.values_list("product_id", "role", "source_id"):
            found.setdefault(product, {}).setdefault(role, []).append(source)
    return found


def _describe(request: HttpRequest, product: Product, inputs: dict[str, list[int]]) -> ProductInformation:
    return ProductInformation(
        id=product.pk,
        kind=product.kind,
        name=product.name,
        sha256=product.sha256,
        size=product.file_size,
        instrument=product.instrument,
        chip=product.chip,
        filter=product.filter_name or "",
        readout_mode=product.readout_mode,
        date_obs=_iso(product.date_obs),
        night=product.night.isoformat() if product.night else None,
        exposure_time=product.exposure_time,
        object=product.object_name or "",
        ra=product.ra,
        dec=product.dec,
        attributes=product.attributes,
        creator=product.creator.get_username(),
        project=product.project.name if product.project else "",
        privilege=product.privilege,
        is_valid=product.is_valid,
        stale_because=product.stale_because,
        quality_flags=product.quality_flags,
        valid_from=_iso(product.timestamp_start),
        valid_until=_iso(product.timestamp_end),
        created=_iso(product.created) or "",
        recipe=product.recipe or "",
        recipe_version=product.recipe_version or "",
        parameters=product.parameters,
        code_digest=product.code_digest or "",
        run=product.made_by_run,
        made_without=[str(role) for role in product.made_without],
        measurements=_measured(product.measurements.all()),
        inputs=inputs,
        page=_page(request, product.pk),
    )


def _step(step: Change) -> PublicationStep:
    return PublicationStep(
        who=step.who,
        made=_iso(step.made) or "",
        privilege_before=int(step.value_before),
        privilege_after=int(step.value_after),
        project=step.project.name if step.project else "",
    )


def _measured(measurements: Iterable[Any]) -> list[MeasuredValue]:
    return [
        MeasuredValue(
            name=entry.name,
            value=entry.measured,
            error=entry.error,
            unit=entry.unit or "",
            minimum=entry.lower_limit,
            maximum=entry.upper_limit,
            verdict=entry.verdict,
            limit_source=entry.limit_source or "",
            limit_since=_iso(entry.limit_since),
        )
        for entry in sorted(measurements, key=lambda entry: entry.pk)
    ]


def _as_file(name: str) -> str:
    """Return a product's name as that of the stored FITS file, whose ending it need not have."""
    plain = name.lower().removesuffix(".gz").removesuffix(".fz")
    return name if plain.endswith((".fits", ".fit", ".fts")) else f"{name}.fits"


def _page(request: HttpRequest, number: int) -> str:
    try:
        return settings.BASE_URL + reverse("product", args=[number])
    except NoReverseMatch:
        return request.build_absolute_uri(reverse("api:one_product", args=[number]))


def _iso(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
