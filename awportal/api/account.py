"""Who one is, and the tokens one has."""

from __future__ import annotations

import datetime
from importlib.metadata import version
from typing import Annotated, Literal

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from archive.models import Privilege, Project
from awportal.api.authentication import context_of_request, user_of
from awportal.api.errors import Refusal
from awportal.models import ApiToken
from awportal.tokens import make_token, revoke_token
from processing_units.contract import Text
from processing_units.frontend.permissions import user_type

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


class TokenInformation(BaseModel):
    """A token, without its text."""

    id: int
    label: str
    scope: str
    created: datetime.datetime
    last_used: datetime.datetime | None


class NewToken(TokenInformation):
    """A token with its text, which is shown this once."""

    token: str


class TokenList(BaseModel):
    """Tokens."""

    items: list[TokenInformation]


class TokenRequest(BaseModel):
    """What a new token is for, and what it opens: read, work (one's own frames and runs) or all."""

    model_config = ConfigDict(extra="forbid")

    label: Annotated[Text, Field(min_length=1, max_length=100)]
    scope: Literal["read", "work", "all"] = "all"


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
    token, text = make_token(user, wanted.label, wanted.scope)
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
    return TokenInformation(
        id=token.pk, label=token.label, scope=token.scope, created=token.created, last_used=token.last_used
    )
