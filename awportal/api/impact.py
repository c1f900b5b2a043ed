"""Verdicts on products, what was made from one, what is stale for it, and making that anew."""

from __future__ import annotations

from typing import Annotated, Literal

from django.http import HttpRequest
from ninja import Path, Query, Router, Status
from pydantic import BaseModel, ConfigDict, Field

from archive.context import Context, may_change, visible
from archive.models import Product, Validity
from archive.staleness import impact_of
from archive.staleness import judge as write_verdict
from awportal.api.authentication import context_of_request, user_of
from awportal.api.errors import Refusal
from processing_units.contract import ReprocessPlan, RunStatus, Text
from processing_units.frontend.reprocess import plan_reprocessing, reprocess
from processing_units.frontend.status import run_status

router = Router(tags=["products"])

_LARGEST_ID = 2**63 - 1
Number = Annotated[int, Path(ge=1, le=_LARGEST_ID)]


class Descendant(BaseModel):
    """A product made from another; ``stale_because`` is a product called bad that it rests on."""

    id: int
    generation: int
    kind: str
    name: str
    chip: str
    filter: str
    is_valid: int
    stale_because: int | None


class ImpactInformation(BaseModel):
    """All that was made from a product; the counts are of all, the items are a page of them."""

    product: int
    total: int
    stale: int
    hidden: int
    kinds: dict[str, int]
    items: list[Descendant]
    next: int | None


class Verdict(BaseModel):
    """What a person finds of a product."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["bad", "good", "proposed"]


class JudgedInformation(BaseModel):
    """A verdict that was written; ``changed`` products that rest on it are stale now, or not any more."""

    product: int
    verdict: str
    changed: int


class ReprocessRequest(BaseModel):
    """The plan to run, by its fingerprint."""

    model_config = ConfigDict(extra="forbid")

    plan: Text = Field(pattern=r"^[0-9a-f]{64}$")
    idempotency_key: Text = Field(min_length=1, max_length=100)


@router.get("/products/{int:number}/impact", response=ImpactInformation)
def impact(
    request: HttpRequest,
    number: Number,
    offset: Annotated[int, Query(ge=0, le=_LARGEST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ImpactInformation:
    """Return what was made from a product, in all generations, the nearest first."""
    context = context_of_request(request)
    found = impact_of(_find(number, context), context)
    places = [(pk, place) for place, generation in enumerate(found.generations, 1) for pk in generation]
    some = dict(places[offset : offset + limit])
    rows = visible(context).filter(pk__in=some).defer("parameters", "attributes")
    items = [
        Descendant(
            id=row.pk,
            generation=some[row.pk],
            kind=row.kind,
            name=row.name,
            chip=row.chip or "",
            filter=row.filter_name or "",
            is_valid=row.is_valid,
            stale_because=row.stale_because,
        )
        for row in sorted(rows, key=lambda row: (some[row.pk], row.pk))
    ]
    following = offset + limit if offset + limit < len(places) else None
    return ImpactInformation(
        product=number, total=found.total, stale=found.stale, hidden=found.hidden, kinds=found.kinds, items=items,
        next=following,
    )  # fmt: skip


@router.post("/products/{int:number}/verdict", response=JudgedInformation)
def judge(request: HttpRequest, number: Number, wanted: Verdict) -> JudgedInformation:
    """Call a product good or bad; what rests on a bad one becomes stale, in all generations. Safe to repeat."""
    context = context_of_request(request)
    product = _find(number, context)
    if not may_change(context, product):
        raise Refusal(403, "only its creator, a manager of its project or an administrator may judge this product")
    changed = write_verdict(product, Validity[wanted.verdict.upper()], user_of(request))
    return JudgedInformation(product=number, verdict=wanted.verdict, changed=changed)


@router.get("/products/{int:number}/reprocess", response=ReprocessPlan)
def reprocess_plan(request: HttpRequest, number: Number) -> ReprocessPlan:
    """Return what would be made anew of what is stale for a product (a dry run); nothing is made."""
    context = context_of_request(request)
    return plan_reprocessing(_find(number, context), context)


@router.post("/products/{int:number}/reprocess", response={201: RunStatus})
def make_anew(request: HttpRequest, number: Number, wanted: ReprocessRequest) -> Status[RunStatus]:
    """Run exactly the plan of that fingerprint; the same idempotency key gives the same run."""
    context = context_of_request(request)
    run = reprocess(_find(number, context), context, wanted.plan, wanted.idempotency_key)
    return Status(201, run_status(run))


def _find(number: int, context: Context) -> Product:
    product = visible(context).filter(pk=number).first()
    if product is None:
        raise Refusal(404, f"there is no product {number}, or none that you may see")
    return product
