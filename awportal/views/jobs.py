"""A job: its attempts side by side, its log, why it failed and what to do, and the line that does the same."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from archive.context import context_of
from awportal.htmx import wants_part
from awportal.run_page import shown_log, view_job
from awportal.views.errors import refusals_told
from processing_units.frontend.logs import log_of, neutralised
from processing_units.frontend.models import Job
from processing_units.frontend.permissions import find_run

_LARGEST_NUMBER = 2**31 - 1


@login_required
@require_safe
@never_cache
@refusals_told
def job(request: HttpRequest, pk: int, ordinal: int) -> HttpResponse:
    """Show a job; the page asks again every two seconds while it is open."""
    context = context_of(request.user)
    found = _find(request, pk, ordinal)
    view = view_job(found, context, _attempt(request))
    answer = {"view": view, "job": found, "run": found.run, "log_text": shown_log(view.log)}
    return render(request, "parts/job_live.html" if wants_part(request) else "job.html", answer)


@login_required
@require_safe
@refusals_told
def job_log(request: HttpRequest, pk: int, ordinal: int) -> HttpResponse:
    """Give the whole log of an attempt as text."""
    log = log_of(_find(request, pk, ordinal), attempt=_attempt(request))
    return HttpResponse(neutralised(log.text), content_type="text/plain; charset=utf-8")


def _find(request: HttpRequest, pk: int, ordinal: int) -> Job:
    run = find_run(pk, context_of(request.user))
    if ordinal > _LARGEST_NUMBER:
        raise Http404("there is no such job")
    return get_object_or_404(
        Job.objects.select_related("run", "run__unit", "unit", "cluster_manager"), run=run, ordinal=ordinal
    )


def _attempt(request: HttpRequest) -> int | None:
    text = request.GET.get("attempt", "")
    return int(text) if text.isdigit() and len(text) < 6 else None
