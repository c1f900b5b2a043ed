"""The keeper sends what was written: each notice is claimed, sent, and noted as sent; what fails is tried again later.

A process that dies between sending and noting sends once more: its mail has the same Message-ID, a webhook the same
number, by which the receiver can tell.
"""

from __future__ import annotations

import http.client
import logging
import smtplib
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F
from django.db.models.functions import Now

from processing_units.frontend.clock import seconds_from_now
from processing_units.frontend.models import Notice, NoticeChoice
from processing_units.frontend.notices import texts, webhook
from processing_units.named_points import reach
from recipes.errors import UsageError

log = logging.getLogger(__name__)

AT_ONCE = 50
MOST_TRIES = 9
KEPT_DAYS = 30
# A claim holds longer than a mail server can take to answer.
_CLAIM_SECONDS = 300.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 15.0, 6 * 3600.0
_PERMANENT = 500


def send_due() -> int:
    """Send what is due; return how many were sent."""
    due = Notice.objects.filter(sent__isnull=True, given_up__isnull=True, not_before__lte=Now())
    if not settings.EMAIL_HOST:
        due = due.exclude(way=Notice.Way.MAIL)
    return sum(_send_one(number) for number in due.order_by("not_before").values_list("pk", flat=True)[:AT_ONCE])


def forget_old() -> int:
    """Remove what was written a month ago; what waits as long had no mail server, and is news to nobody any more."""
    return Notice.objects.filter(written__lt=seconds_from_now(-KEPT_DAYS * 86400.0)).delete()[0]


def pause_after(tries: int) -> float:
    """Return the pause after so many tries [s]: 15 s, a minute, 4 min, ... to 6 h; nine tries take a day."""
    return float(min(_FIRST_PAUSE_SECONDS * 4 ** (tries - 1), _LONGEST_PAUSE_SECONDS))


def _send_one(number: int) -> int:
    mine = Notice.objects.filter(pk=number, sent__isnull=True, given_up__isnull=True, not_before__lte=Now())
    if not mine.update(not_before=seconds_from_now(_CLAIM_SECONDS), tries=F("tries") + 1):
        return 0  # another keeper has it
    notice = Notice.objects.select_related("user", "run", "batch").get(pk=number)
    reach("notice.claimed")
    try:
        _go(notice)
    except _NoWayLeft as problem:
        _note(notice, str(problem), is_over=True)
        return 0
    except smtplib.SMTPRecipientsRefused as refused:
        code, text = next(iter(refused.recipients.values()), (0, b""))
        _note(notice, f"the mail server refused the address: {code} {text!r}", is_over=code >= _PERMANENT)
        return 0
    except ValueError as problem:  # no mail and no request can be written of it, at no later time either
        _note(notice, str(problem), is_over=True)
        return 0
    except (OSError, http.client.HTTPException, UsageError) as problem:  # smtplib's errors are OSErrors
        _note(notice, str(problem) or type(problem).__name__)
        return 0
    reach("notice.sent")
    Notice.objects.filter(pk=number).update(sent=Now(), problem="")
    return 1


class _NoWayLeft(Exception):
    """The user wants no such notice any more."""


def _go(notice: Notice) -> None:
    choice = NoticeChoice.objects.filter(user=notice.user_id).first()
    if choice is None or (notice.way not in choice.ways and not notice.address) or not notice.user.is_active:
        raise _NoWayLeft("you have turned this way off meanwhile")
    if notice.way == Notice.Way.WEBHOOK:
        webhook.send(choice, texts.contents(notice))
        return
    address, subject, text = texts.mail(notice)
    host = urlsplit(settings.BASE_URL).hostname or "awportal"
    headers = {"Message-ID": f"<awportal-notice-{notice.pk}@{host}>", "Auto-Submitted": "auto-generated"}
    EmailMessage(f"[awportal] {subject}", text, settings.DEFAULT_FROM_EMAIL, [address], headers=headers).send()


def _note(notice: Notice, problem: str, *, is_over: bool = False) -> None:
    log.info("notice %d (%s) was not sent at try %d: %s", notice.pk, notice.way, notice.tries, problem)
    fields = {"problem": problem[:500]}
    if is_over or notice.tries >= MOST_TRIES:
        Notice.objects.filter(pk=notice.pk).update(given_up=Now(), **fields)
    else:
        Notice.objects.filter(pk=notice.pk).update(not_before=seconds_from_now(pause_after(notice.tries)), **fields)
