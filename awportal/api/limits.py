"""Limits of QC values: what holds, what a chip's history gives, what an administrator sets."""

from __future__ import annotations

from typing import Literal

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel, Field

from archive.models import QualityLimit
from archive.quality_limits import SIGMAS, BadLimit, Proposal, Scope, clear, learn, set_limit, shown
from awportal.api.authentication import context_of_request
from awportal.api.errors import Refusal
from recipes.quality import LIMITS

router = Router(tags=["limits"])


class LimitInformation(BaseModel):
    """One limit: of which value, for what it holds, where it comes from, since when."""

    kind: str
    measurement: str
    instrument: str = ""
    chip: str = ""
    filter: str = ""
    minimum: float | None = None
    maximum: float | None = None
    source: Literal["published", "learned", "set"]
    since: str = ""
    set_by: str = ""
    products: int = 0


class LimitList(BaseModel):
    """Limits."""

    items: list[LimitInformation]


class ProposedLimit(BaseModel):
    """What a history gives for one value of one chip, or why it gives nothing."""

    kind: str
    measurement: str
    instrument: str
    chip: str
    filter: str
    products: int
    minimum: float | None = None
    maximum: float | None = None
    reason: str = ""


class Learned(BaseModel):
    """What was learned (or would be, in a dry run)."""

    items: list[ProposedLimit]
    kept: bool


class OfWhat(BaseModel):
    """What limits hold for."""

    instrument: str
    chip: str = ""
    filter: str = ""
    kind: str = ""


class LearnRequest(OfWhat):
    """Learn from the history of an instrument's chips."""

    sigmas: float = SIGMAS
    dry_run: bool = False


class SetRequest(OfWhat):
    """Set one limit by hand."""

    measurement: str
    minimum: float | None = None
    maximum: float | None = None


class ClearRequest(OfWhat):
    """Take limits away."""

    measurement: str = ""


class Cleared(BaseModel):
    """How many limits were taken away."""

    cleared: int = Field(ge=0)


@router.get("/limits", response=LimitList)
def list_limits(
    request: HttpRequest,
    instrument: str = "",
    chip: str = "",
    filter: str = "",
    kind: str = "",
    published: bool = False,
) -> LimitList:
    """List the limits learned and set; with ``published`` those that come with the recipes, too."""
    rows = [_described(row) for row in shown(Scope(instrument, chip, filter), kind)]
    return LimitList(items=rows + (_published(kind) if published else []))


@router.post("/limits/learn", response=Learned)
def learn_limits(request: HttpRequest, asked: LearnRequest) -> Learned:
    """Learn limits from history: median and robust scatter of each value of each chip."""
    try:
        proposals = learn(context_of_request(request), _scope(asked), asked.kind, asked.sigmas, keep=not asked.dry_run)
    except BadLimit as problem:
        raise Refusal(400, str(problem)) from None
    except PermissionDenied as problem:
        raise Refusal(403, str(problem)) from None
    return Learned(items=[_proposed(proposal) for proposal in proposals], kept=not asked.dry_run)


@router.post("/limits", response=LimitInformation)
def set_a_limit(request: HttpRequest, asked: SetRequest) -> LimitInformation:
    """Set a limit by hand."""
    try:
        row = set_limit(
            context_of_request(request), asked.kind, asked.measurement, _scope(asked), asked.minimum, asked.maximum
        )
    except BadLimit as problem:
        raise Refusal(400, str(problem)) from None
    except PermissionDenied as problem:
        raise Refusal(403, str(problem)) from None
    return _described(row)


@router.post("/limits/clear", response=Cleared)
def clear_limits(request: HttpRequest, asked: ClearRequest) -> Cleared:
    """Take limits away: the published ones hold again."""
    try:
        return Cleared(cleared=clear(context_of_request(request), _scope(asked), asked.kind, asked.measurement))
    except PermissionDenied as problem:
        raise Refusal(403, str(problem)) from None


def _scope(asked: OfWhat) -> Scope:
    return Scope(asked.instrument.strip(), asked.chip.strip(), asked.filter.strip())


def _described(row: QualityLimit) -> LimitInformation:
    return LimitInformation(
        kind=row.kind,
        measurement=row.measurement,
        instrument=row.instrument,
        chip=row.chip or "",
        filter=row.filter_name or "",
        minimum=row.minimum,
        maximum=row.maximum,
        source=row.source,
        since=row.since.isoformat(timespec="seconds"),
        set_by=row.set_by.username,
        products=row.learned_from,
    )


def _published(kind: str) -> list[LimitInformation]:
    return [
        LimitInformation(
            kind=name,
            measurement=measurement,
            minimum=-limit.maximum if limit.symmetric and limit.maximum is not None else limit.minimum,
            maximum=limit.maximum,
            source="published",
        )
        for name, limits in LIMITS.items()
        for measurement, limit in limits.items()
        if kind in {"", name} and (limit.minimum is not None or limit.maximum is not None)
    ]


def _proposed(proposal: Proposal) -> ProposedLimit:
    scope = proposal.scope
    return ProposedLimit(
        kind=proposal.kind,
        measurement=proposal.measurement,
        instrument=scope.instrument,
        chip=scope.chip,
        filter=scope.filter,
        products=proposal.products,
        minimum=proposal.minimum,
        maximum=proposal.maximum,
        reason=proposal.reason,
    )
