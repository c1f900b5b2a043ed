"""Batches: many runs from one script or table, planned, agreed to, made, watched, cancelled and retried as a whole."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpRequest
from ninja import Path, Query, Router, Status
from pydantic import BaseModel

from awportal.api.authentication import context_of_request
from processing_units.contract import BatchMakeRequest, BatchPlan, BatchRequest, BatchStatus
from processing_units.frontend.batch_status import batch_status, retry_batch
from processing_units.frontend.batches import draft, draft_again, make, plan_batch
from processing_units.frontend.cancel import cancel_batch
from processing_units.frontend.models import Batch
from processing_units.frontend.permissions import find_batch, visible_batches

router = Router(tags=["batches"])

_LARGEST_ID = 2**63 - 1

Number = Annotated[int, Path(ge=1, le=_LARGEST_ID)]


class BatchList(BaseModel):
    """Batches, newest first, without their runs."""

    items: list[BatchStatus]


@router.post("/batches/plan", response=BatchPlan)
def plan(request: HttpRequest, asked: BatchRequest) -> BatchPlan:
    """Return what a script would do; nothing is kept."""
    return plan_batch(asked, context_of_request(request))


@router.post("/batches", response={201: BatchStatus, 200: BatchStatus})
def new_batch(request: HttpRequest, asked: BatchRequest) -> Status[BatchStatus]:
    """Keep a script with its plan; the same idempotency key gives the same batch (200 when it was there)."""
    context = context_of_request(request)
    key = asked.idempotency_key
    there = bool(key) and Batch.objects.filter(user=context.user, idempotency_key=key).exists()
    return Status(200 if there else 201, batch_status(draft(asked, context)))


@router.get("/batches", response=BatchList)
def list_batches(request: HttpRequest, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> BatchList:
    """List one's own batches, the newest first."""
    context = context_of_request(request)
    found = visible_batches(context).filter(user=context.user).select_related("user").order_by("-pk")[:limit]
    return BatchList(items=[batch_status(batch, with_runs=False) for batch in found])


@router.get("/batches/{int:number}", response=BatchStatus)
def one_batch(request: HttpRequest, number: Number) -> BatchStatus:
    """Return how a batch stands."""
    return batch_status(find_batch(number, context_of_request(request)))


@router.post("/batches/{int:number}/make", response=BatchStatus)
def make_batch(request: HttpRequest, number: Number, asked: BatchMakeRequest) -> BatchStatus:
    """Make the runs of a plan that was seen, in one transaction; a second time changes nothing."""
    context = context_of_request(request)
    return batch_status(make(find_batch(number, context), asked, context))


@router.post("/batches/{int:number}/again", response={201: BatchStatus})
def again(request: HttpRequest, number: Number) -> Status[BatchStatus]:
    """Read the script once more with the answers that it had then: a new batch that asks for the same runs."""
    context = context_of_request(request)
    return Status(201, batch_status(draft_again(find_batch(number, context), context)))


@router.post("/batches/{int:number}/cancel", response=BatchStatus)
def cancel(request: HttpRequest, number: Number) -> BatchStatus:
    """Cancel all that has not ended of a batch."""
    context = context_of_request(request)
    batch = find_batch(number, context)
    cancel_batch(batch, context)
    return batch_status(batch)


@router.post("/batches/{int:number}/retry", response=BatchStatus)
def retry(request: HttpRequest, number: Number) -> BatchStatus:
    """Submit all failed jobs of a batch again."""
    context = context_of_request(request)
    batch = find_batch(number, context)
    retry_batch(batch, context)
    return batch_status(batch)
