"""What a user may have at a time: one's own to see, anybody's for administrators to change."""

from __future__ import annotations

from typing import Annotated

from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel, ConfigDict, Field

from awportal.api.authentication import context_of_request, user_of
from awportal.api.errors import Refusal
from processing_units.frontend.quotas import Share, change_quota, standing

router = Router(tags=["account"])


class ShareInformation(BaseModel):
    """How much of something there is and may be; a limit of 0 is none. ``own``: the limit is this user's alone."""

    used: int
    limit: int
    own: bool


class QuotaInformation(BaseModel):
    """How a user stands."""

    user: str
    queued: ShareInformation
    running: ShareInformation
    bytes: ShareInformation


class QuotaRequest(BaseModel):
    """Limits as texts: a number (bytes also as 10G), 0 for none, ``default``."""

    model_config = ConfigDict(extra="forbid")

    limits: dict[str, Annotated[str, Field(max_length=40)]] = Field(max_length=10)


@router.get("/quota", response=QuotaInformation)
def own_quota(request: HttpRequest) -> QuotaInformation:
    """Return what you have and may have."""
    return _described(user_of(request))


@router.get("/quota/{name}", response=QuotaInformation)
def quota_of(request: HttpRequest, name: str) -> QuotaInformation:
    """Return what a user has and may have (staff)."""
    return _described(_find(request, name))


@router.post("/quota/{name}", response=QuotaInformation)
def set_quota_of(request: HttpRequest, name: str, wanted: QuotaRequest) -> QuotaInformation:
    """Give a user limits of their own (administrators)."""
    user = _find(request, name)
    change_quota(user, wanted.limits, context_of_request(request))
    return _described(user)


def _find(request: HttpRequest, name: str) -> User:
    asking = user_of(request)
    if not asking.is_staff and asking.get_username() != name:
        raise Refusal(403, "only process managers and administrators see what other users have")
    user = User.objects.filter(username=name).first()
    if user is None:
        raise Refusal(404, f"there is no user {name!r}")
    return user


def _described(user: User) -> QuotaInformation:
    found = standing(user)
    return QuotaInformation(
        user=user.get_username(),
        queued=_share(found.queued_jobs),
        running=_share(found.running_jobs),
        bytes=_share(found.stored_bytes),
    )


def _share(share: Share) -> ShareInformation:
    return ShareInformation(used=share.used, limit=share.limit, own=share.is_own)
