"""What a notice says: a mail's words, a webhook's JSON. Names come from users and headers, and do nothing here."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import signing

from processing_units.frontend.batch_status import batch_status
from processing_units.frontend.models import Batch, Notice, Run
from processing_units.frontend.status import run_status
from processing_units.wording import counted

CONFIRMED_WITHIN_SECONDS = 2 * 24 * 3600
_SALT = "address of notices"


def contents(notice: Notice) -> dict[str, Any]:
    """Return what is told, as a webhook sends it: the state of the run or batch as it is now, after its end."""
    told: dict[str, Any] = {"notice": notice.pk, "user": notice.user.get_username()}
    if notice.run is not None:
        status = run_status(notice.run, with_jobs=False)
        more = {"number": status.id, "recipe": status.recipe, "reason": status.reason, "submitted": status.submitted}
        return (
            told
            | {"event": "run ended", "ended": status.ended}
            | more
            | _state(status.state, status.counts, _url(notice.run))
        )
    if notice.batch is not None:
        batch = batch_status(notice.batch, with_runs=False)
        more = {"number": batch.id, "name": batch.name, "runs": notice.batch.runs.count(), "made": batch.made}
        return told | {"event": "batch ended"} | more | _state(batch.state, batch.counts, _url(notice.batch))
    return told | {"event": "test", "url": _page()}


def mail(notice: Notice) -> tuple[str, str, str]:
    """Return the address, subject and text of a mail."""
    if notice.address:
        return notice.address, "Confirm your address", _confirmation(notice)
    told = contents(notice)
    foot = f"\n\nYou asked to be told; change it or stop it at {_page()}\n"
    address = notice.user.notice_choice.address
    if told["event"] == "test":
        return address, "A test", f"Mail from {settings.BASE_URL} reaches you.{foot}"
    jobs = ", ".join(f"{number} {state}" for state, number in told["counts"].items() if number)
    if notice.run is not None:
        what = f"{told['recipe']} (run {told['number']})"
        text = f"Run {told['number']} of {told['recipe']}, submitted {told['submitted']}, ended {told['ended']}."
    else:
        what = f"batch {told['number']}"
        text = (
            f"Batch {told['number']} {_line(told['name'])}".rstrip() + f", {counted(told['runs'], 'run')}, has ended."
        )
    reason = f"\n{_line(told.get('reason', ''))}" if told.get("reason") else ""
    return address, f"{told['state']}: {what}", f"{text}\nJobs: {jobs}.{reason}\n\n{told['url']}{foot}"


def address_token(user_id: int, address: str) -> str:
    """Return what the link of a confirmation holds."""
    return signing.dumps([user_id, address], salt=_SALT)


def confirmed_address(token: str) -> tuple[int, str] | None:
    """Return whose address a link confirms; None where it is too old or not ours."""
    try:
        user_id, address = signing.loads(token, salt=_SALT, max_age=CONFIRMED_WITHIN_SECONDS)
    except signing.BadSignature:
        return None
    return int(user_id), str(address)


def _confirmation(notice: Notice) -> str:
    link = f"{settings.BASE_URL}/account/notices/confirm/{address_token(notice.user_id, notice.address)}/"
    return (
        f"The user {_line(notice.user.get_username())} of {settings.BASE_URL} wants to be told here when a run ends.\n"
        f"If that is you, log in and confirm it within two days:\n\n{link}\n\n"
        "Else do nothing: no other mail will come.\n"
    )


def _state(state: str, counts: dict[Any, int], url: str) -> dict[str, Any]:
    return {"state": state, "counts": {str(name): number for name, number in counts.items() if number}, "url": url}


def _url(of: Run | Batch) -> str:
    return f"{settings.BASE_URL}/{'runs' if isinstance(of, Run) else 'batches'}/{of.pk}/"


def _page() -> str:
    return f"{settings.BASE_URL}/account/notices/"


def _line(text: str) -> str:
    """Return a text as one line of signs that can be shown."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:500]
