"""Log-ins, and those that were refused, in the log of changes: whose account, and from which address."""

from __future__ import annotations

import datetime
from typing import Any

from axes.helpers import get_client_ip_address
from axes.signals import user_locked_out
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.http import HttpRequest
from django.utils import timezone

from archive.audit import Subject, Told, record
from archive.models import Change

# Who guesses passwords writes one line a minute, not one a guess.
_TOLD_EVERY = datetime.timedelta(minutes=1)
UNKNOWN = "(no such user)"


def connect() -> None:
    """Listen to what Django and its throttle tell."""
    user_logged_in.connect(_logged_in, dispatch_uid="awportal.log_ins")
    user_login_failed.connect(_refused, dispatch_uid="awportal.log_ins")
    user_locked_out.connect(_locked_out, dispatch_uid="awportal.log_ins")


def _logged_in(sender: object, request: HttpRequest | None, user: User, **_: Any) -> None:
    record(user, _told(user, "log-in", request))


def _refused(sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    _note_refusal(credentials.get("username"), "log-in refused", request)


def _locked_out(sender: object, request: HttpRequest | None, username: str | None = None, **_: Any) -> None:
    _note_refusal(username, "log-ins locked", request)


def _note_refusal(name: object, what: str, request: HttpRequest | None) -> None:
    # Only the name of somebody who is there: people type their password into the wrong field.
    known = User.objects.filter(username=name).first() if isinstance(name, str) and "\0" not in name else None
    told = _told(known, what, request)
    like = Change.objects.filter(
        subject=told.subject, subject_number=told.number, what=what, value_after=told.after
    ).order_by("-pk")
    last = like.values_list("made", flat=True).first()
    if last is None or timezone.now() - last > _TOLD_EVERY:
        record(None, told, who=told.name)


def _told(user: User | None, what: str, request: HttpRequest | None) -> Told:
    address = get_client_ip_address(request) if request is not None else None
    number, name = (user.pk, user.get_username()) if user else (None, UNKNOWN)
    return Told(Subject.USER, number, name, what, "", f"from {address}" if address else "")
