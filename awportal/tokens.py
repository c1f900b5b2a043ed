"""Tokens of the command line and of scripts: shown once, kept hashed, revoked at any time."""

from __future__ import annotations

import datetime
import hashlib
import secrets

from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from awportal.models import ApiToken

PREFIX = "aw_"
# A script that asks every second would otherwise write a row every second.
_LAST_USED_STEP = datetime.timedelta(minutes=1)


def make_token(user: AbstractBaseUser, label: str) -> tuple[ApiToken, str]:
    """Make a token of 256 bits; return its row and the text that is shown this once."""
    text = PREFIX + secrets.token_urlsafe(32)
    return ApiToken.objects.create(user=user, label=label, token_hash=_hash(text)), text


def find_token(text: str) -> ApiToken | None:
    """Return the living token of an active user that `text` is, and note that it was used; None for any other text."""
    token = (
        ApiToken.objects.select_related("user")
        .filter(token_hash=_hash(text), revoked__isnull=True, user__is_active=True)
        .first()
    )
    now = timezone.now()
    if token and (token.last_used is None or now - token.last_used > _LAST_USED_STEP):
        ApiToken.objects.filter(pk=token.pk).update(last_used=now)
    return token


def revoke_token(token: ApiToken) -> None:
    """End a token; a second time changes nothing."""
    ApiToken.objects.filter(pk=token.pk, revoked__isnull=True).update(revoked=timezone.now())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
