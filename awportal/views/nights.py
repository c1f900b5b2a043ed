"""Nights: the list, and the log of one as an observer reads it."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Sequence
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from archive.context import context_of
from archive.night_log import Night, exposures, nights, tallies, times_of
from awportal.listing import Page

_NIGHTS_SHOWN = 10
_EXPOSURES_SHOWN = 100


@require_safe
@never_cache
def all_nights(request: HttpRequest) -> HttpResponse:
    """List nights, newest first, with what was exposed in each."""
    context = context_of(request.user)
    every = nights(context)
    instrument = request.GET.get("instrument", "").strip()[:60]
    found = [each for each in every if instrument in {"", each.instrument}]
    page = _page(found, request.GET.get("page", ""), _NIGHTS_SHOWN)
    counted = tallies(context, page.rows)
    answer = {
        "page": page,
        "rows": [(each, counted.get(each, [])) for each in page.rows],
        "instruments": sorted({each.instrument for each in every}),
        "instrument": instrument,
    }
    return render(request, "nights.html", answer)


@require_safe
@never_cache
def night(request: HttpRequest, instrument: str, night: str) -> HttpResponse:
    """Show the log of a night."""
    context = context_of(request.user)
    which = Night(instrument, _date(night))
    counted = tallies(context, [which]).get(which, [])
    if not counted:
        raise Http404(f"there is no raw frame of {instrument[:60]} of the night {night}, or none that you may see")
    times = times_of(context, which)
    page = _page(times, request.GET.get("page", ""), _EXPOSURES_SHOWN)
    whole = len(times) <= _EXPOSURES_SHOWN
    rows = exposures(context, which) if whole else exposures(context, which, page.rows[0], page.rows[-1])
    own = nights(context, instrument)
    place = own.index(which) if which in own else -1
    answer = {
        "which": which,
        "command": shlex.join(["awrecipe", "nightlog", which.instrument, which.night.isoformat()]),
        "page": page,
        "tallies": counted,
        "exposures": rows,
        "earlier": own[place + 1] if 0 <= place < len(own) - 1 else None,
        "later": own[place - 1] if place > 0 else None,
    }
    return render(request, "night.html", answer)


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise Http404(f"{text[:40]!r} is no night: write its date like 2024-05-12") from None


def _page(rows: Sequence[Any], number: str, size: int) -> Page:
    """Return a page of what is all there; past the end it is the last."""
    last = max(1, -(-len(rows) // size))
    wanted = min(int(number), last) if number.isdigit() and 0 < len(number) < 10 and int(number) > 0 else 1
    start = (wanted - 1) * size
    return Page(list(rows[start : start + size]), wanted, wanted < last, len(rows), size)
