"""Tokens of commands and scripts: shown once, kept hashed, revoked at any time; a scope says what they open."""

from __future__ import annotations

import datetime
import hashlib
import re
import secrets

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from archive.audit import of_user, record
from awportal.models import ApiToken

PREFIX = "aw_"
Scope = ApiToken.Scope
# A script that asks every second would otherwise write a row every second.
_LAST_USED_STEP = datetime.timedelta(minutes=1)
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# What a token for work changes, below /api/v1/: one's own frames, runs and what they are made with. All that gives
# others a right (publishing, accepting, roles), makes tokens, or changes machines needs a token for all.
_WORK = re.compile(
    r"/api/v1/(plan|runs|batches|nights|ingest|selections|parameter-sets|code|products/\d+/reprocess)(/.*)?"
)


def make_token(user: User, label: str, scope: str = Scope.EVERYTHING) -> tuple[ApiToken, str]:
    """Make a token of 256 bits; return its row and the text that is shown this once."""
    text = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(user=user, label=label, scope=scope, token_hash=_hash(text))
        record(user, of_user(user, "token", "", f"{label} ({token.scope})"))
    return token, text


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


def opens(token: ApiToken, method: str | None, path: str) -> bool:
    """Whether the token's scope allows a request: its method and its path from the root."""
    if token.scope == Scope.EVERYTHING or method in _READS:
        return True
    return token.scope == Scope.WORK and _WORK.fullmatch(path) is not None


def revoke_token(token: ApiToken, by: User | None = None) -> None:
    """End a token, on behalf of its user or of `by`; a second time changes nothing."""
    with transaction.atomic():
        if ApiToken.objects.filter(pk=token.pk, revoked__isnull=True).update(revoked=timezone.now()):
            record(by or token.user, of_user(token.user, "token", f"{token.label} ({token.scope})", ""))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
