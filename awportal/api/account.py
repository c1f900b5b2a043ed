"""Who one is, the tokens one has, and the units one may use."""

from __future__ import annotations

import datetime
from importlib.metadata import version

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from archive.models import Privilege, Project
from awportal.api.authentication import context_of_request, user_of
from awportal.api.errors import Refusal
from awportal.models import ApiToken
from awportal.tokens import make_token, revoke_token
from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.permissions import user_type, why_not_on_unit
from processing_units.frontend.waiting import UnitLoad, unit_load, why_unit_is_slow

router = Router(tags=["account"])

_MOST_TOKENS = 50


class WhoAmI(BaseModel):
    """User and context: what one sees, and where results go."""

    user: str
    user_type: int
    project: str
    projects: list[str]
    privilege: int
    privilege_name: str
    version: str


class UnitInformation(BaseModel):
    """A processing unit, and how it stands."""

    name: str
    alias: str
    kind: str
    state: str
    reason: str
    nodes: int
    slots: int
    busy: int
    waiting: int
    recipes: list[str]


class UnitList(BaseModel):
    """Processing units."""

    items: list[UnitInformation]


class TokenInformation(BaseModel):
    """A token, without its text."""

    id: int
    label: str
    created: datetime.datetime
    last_used: datetime.datetime | None


class NewToken(TokenInformation):
    """A token with its text, which is shown this once."""

    token: str


class TokenList(BaseModel):
    """Tokens."""

    items: list[TokenInformation]


class TokenRequest(BaseModel):
    """What a new token is for."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(min_length=1, max_length=100)


@router.get("/whoami", response=WhoAmI)
def whoami(request: HttpRequest) -> WhoAmI:
    """Return user, project and privilege."""
    context = context_of_request(request)
    user = user_of(request)
    return WhoAmI(
        user=user.get_username(),
        user_type=user_type(context),
        project=context.project.name if context.project else "",
        projects=list(Project.objects.filter(memberships__user=user).order_by("name").values_list("name", flat=True)),
        privilege=context.privilege,
        privilege_name=Privilege(context.privilege).label,
        version=version("awportal"),
    )


@router.get("/units", response=UnitList)
def list_units(request: HttpRequest) -> UnitList:
    """List the processing units that you may use, and how they stand."""
    context = context_of_request(request)
    kind, user = user_type(context), user_of(request)
    items = []
    for unit in ProcessingUnit.objects.order_by("name"):
        # A unit that takes none of this user's jobs is not shown, unless it is only closed for now.
        why_not = why_not_on_unit(unit, unit.recipes_allowed[0] if unit.recipes_allowed else "", user.pk, kind)
        if not why_not or not unit.accepting:
            items.append(_describe(unit, unit_load(unit)))
    return UnitList(items=items)


def _describe(unit: ProcessingUnit, load: UnitLoad) -> UnitInformation:
    if not unit.accepting:
        state, reason = "closed", "it accepts no jobs at the moment"
    elif not load.frontend_is_alive or not load.nodes:
        state, reason = "down", why_unit_is_slow(load)
    else:
        state, reason = ("ready" if load.free_slots else "full"), why_unit_is_slow(load)
    return UnitInformation(
        name=unit.name,
        alias=unit.alias or "",
        kind=unit.kind,
        state=state,
        reason=reason,
        nodes=load.nodes,
        slots=load.slots,
        busy=load.running,
        waiting=load.queued,
        recipes=unit.recipes_allowed,
    )


@router.get("/tokens", response=TokenList)
def list_tokens(request: HttpRequest) -> TokenList:
    """List your tokens that live."""
    found = ApiToken.objects.filter(user=user_of(request), revoked__isnull=True).order_by("pk")
    return TokenList(items=[_token(token) for token in found])


@router.post("/tokens", response={201: NewToken})
def new_token(request: HttpRequest, wanted: TokenRequest) -> Status[NewToken]:
    """Make a token; its text is in this answer and nowhere else."""
    user = user_of(request)
    if ApiToken.objects.filter(user=user, revoked__isnull=True).count() >= _MOST_TOKENS:
        raise Refusal(409, f"you have {_MOST_TOKENS} tokens already", hint="revoke those that you no longer use")
    token, text = make_token(user, wanted.label)
    return Status(201, NewToken(**_token(token).model_dump(), token=text))


@router.delete("/tokens/{int:number}", response=TokenList)
def end_token(request: HttpRequest, number: int) -> TokenList:
    """Revoke one of your tokens; return those that are left."""
    token = ApiToken.objects.filter(user=user_of(request), pk=number).first()
    if token is None:
        raise Refusal(404, f"you have no token {number}")
    revoke_token(token)
    return list_tokens(request)


def _token(token: ApiToken) -> TokenInformation:
    return TokenInformation(id=token.pk, label=token.label, created=token.created, last_used=token.last_used)
