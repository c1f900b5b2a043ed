"""Calibration timestamps as a chart, and changing those of one."""

from __future__ import annotations

import datetime

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from archive.context import Context, context_of, visible
from archive.filter_texts import BadSelection, moment
from archive.timestamps import EARLIEST, KINDS_WITH_TIMES, LATEST, MOST_BARS, Span, set_timestamps, timestamps_of
from awportal.filters import given_filters
from awportal.listing import facets
from awportal.validity_chart import validity_chart

_NAMES = ("instrument", "chip", "kind", "from", "to")


@require_safe
@never_cache
def calibrations(request: HttpRequest) -> HttpResponse:
    """Show which calibration of a chip is valid when, and what eclipses what."""
    context = context_of(request.user)
    given = given_filters(request.GET, _NAMES)
    offered = facets(context)
    error = ""
    within: Span = (EARLIEST, LATEST)
    try:
        within = _asked(given)
    except BadSelection as refused:
        error = str(refused)
    instrument, chip = _chip(context, given)
    kinds = [given["kind"]] if given.get("kind") in KINDS_WITH_TIMES else []
    found = timestamps_of(context, instrument, chip, kinds, within)
    answer = {
        "given": {**given, "instrument": instrument, "chip": chip},
        "facets": offered,
        "kinds": [kind for kind in KINDS_WITH_TIMES if kind in offered["kind"]],
        "chart": validity_chart(found, within, datetime.datetime.now(datetime.UTC)),
        "left_out": found.left_out,
        "most": MOST_BARS,
        "error": error,
    }
    return render(request, "calibrations.html", answer, status=422 if error else 200)


@login_required
@require_POST
def change_timestamps(request: HttpRequest, pk: int) -> HttpResponse:
    """Write from when to when a calibration is valid."""
    context = context_of(request.user)
    product = visible(context).select_related("project").filter(pk=min(pk, 2**63 - 1)).first()
    if product is None:
        raise Http404(f"there is no product {pk}, or none that you may see")
    try:
        set_timestamps(context, product, request.POST.get("start", ""), request.POST.get("end", ""))
        messages.success(request, "The timestamps are changed; jobs that are planned from now on choose by them.")
    except PermissionError as refused:
        raise PermissionDenied(str(refused)) from None
    except BadSelection as refused:
        messages.error(request, f"Not changed. {refused}.")
    return redirect("product", product.pk)


def _asked(given: dict[str, str]) -> Span:
    begin = moment("from", given["from"]) if "from" in given else EARLIEST
    end = moment("to", given["to"]) if "to" in given else LATEST
    if begin >= end:
        raise BadSelection("to: the end lies before the beginning")
    return begin, end


def _chip(context: Context, given: dict[str, str]) -> tuple[str, str]:
    """Return the instrument and chip that are asked for; else those of the newest observation."""
    known = {name: given[name] for name in ("instrument", "chip") if name in given}
    if len(known) < 2:
        # Not the newest calibration: to find that, a database may sort them all.
        observed = visible(context).filter(**known).exclude(chip="").order_by("-date_obs", "-id")
        newest = observed.values("instrument", "chip").first() or {"instrument": "", "chip": ""}
        known = {**newest, **known}
    return known["instrument"], known["chip"]
