"""Runs: the list, the page that lives, cancel, retry, logs, and all products as one archive."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from archive.context import context_of
from archive.models import Privilege
from awportal.command_line import number_ranges
from awportal.htmx import wants_part
from awportal.listing import page_of
from awportal.products_archive import archive_response
from awportal.run_page import JOBS_SHOWN, bar_of, shown_log, view_run
from awportal.views.errors import refusals_told
from awportal.views.products import asked_level
from processing_units.contract import JobState
from processing_units.frontend.cancel import cancel_own, cancel_run
from processing_units.frontend.logs import log_of_run, neutralised
from processing_units.frontend.models import Run
from processing_units.frontend.move import move_run, units_to_move_to
from processing_units.frontend.permissions import find_run, visible_runs
from processing_units.frontend.publishing import publish_run
from processing_units.frontend.retry import retry_failed
from processing_units.frontend.status import derived_state, job_counts_of
from processing_units.wording import counted

_RUNS_SHOWN = 25


@login_required
@require_safe
@never_cache
def runs(request: HttpRequest) -> HttpResponse:
    """List runs, one's own or all that one may see."""
    context = context_of(request.user)
    everybody = request.GET.get("of") == "all"
    found = visible_runs(context).select_related("unit", "user").order_by("-pk")
    if not everybody:
        found = found.filter(user=request.user)
    page = page_of(found, request.GET.get("page"), _RUNS_SHOWN)
    answer = {"page": page, "rows": rows_of(page.rows), "everybody": everybody}
    return render(request, "parts/run_list.html" if wants_part(request) else "runs.html", answer)


def rows_of(listed: list[Run]) -> list[dict[str, object]]:
    """Return runs with their counts, bars and states, for lists."""
    counts = job_counts_of(listed)
    return [
        {"run": run, "counts": counts[run.pk], "state": derived_state(counts[run.pk]), "bar": bar_of(counts[run.pk]),
         "total": sum(counts[run.pk].values())}
        for run in listed
    ]  # fmt: skip


@login_required
@require_safe
@never_cache
@refusals_told
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a run; the page asks for its living part every two seconds while the run is open."""
    context = context_of(request.user)
    found = find_run(pk, context)
    state = _state(request.GET)
    number = request.GET.get("page", "")
    page = min(int(number), 10_000) if number.isdigit() and number != "0" else 1
    view = view_run(found, context, state=state, page=page)
    answer = {
        "view": view,
        "run": found,
        "status": view.status,
        "state": state,
        "states": list(JobState),
        "elsewhere": units_to_move_to(found, context) if view.status.counts[JobState.QUEUED] else [],
        "log_text": shown_log(view.log),
        "page_number": page,
        "last_page": page * JOBS_SHOWN >= view.total,
    }
    return render(request, "parts/run_live.html" if wants_part(request) else "run.html", answer)


@login_required
@require_POST
@refusals_told
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel what has not ended of a run."""
    context = context_of(request.user)
    count = cancel_run(find_run(pk, context), context)
    if count:
        messages.success(
            request, f"{count} job{'s' if count > 1 else ''} cancelled; what runs is stopped within seconds."
        )
    else:
        messages.warning(request, "All jobs had ended already: there was nothing to cancel.")
    return redirect("run", pk)


@login_required
@require_POST
@refusals_told
def cancel_all(request: HttpRequest) -> HttpResponse:
    """Cancel all that one's own runs have open."""
    done = cancel_own(context_of(request.user))
    messages.success(request, f"{done} cancelled; what runs is stopped within seconds.")
    return redirect("runs")


@login_required
@require_POST
@refusals_told
def move(request: HttpRequest, pk: int) -> HttpResponse:
    """Let what waits of a run wait for another unit."""
    context = context_of(request.user)
    found = find_run(pk, context)
    moved = move_run(found, request.POST.get("unit", ""), context)
    rest = "; what runs of it ends where it is" if moved.running else ""
    messages.success(request, f"{counted(moved.jobs, 'job')} moved to unit {found.unit}{rest}.")
    return redirect("run", pk)


@login_required
@require_POST
@refusals_told
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Submit the failed jobs of a run again, as a run of their own."""
    context = context_of(request.user)
    return redirect("run", retry_failed(find_run(pk, context), context).pk)


@login_required
@require_POST
@refusals_told
def publish_products(request: HttpRequest, pk: int) -> HttpResponse:
    """Let more people see all products of a run."""
    context = context_of(request.user)
    level, project = asked_level(request)
    count = publish_run(find_run(pk, context), level, context, project)
    if count:
        verb = "is" if count == 1 else "are"
        messages.success(
            request, f"Published: {counted(count, 'product')} {verb} seen by {Privilege(level).label} now."
        )
    else:
        messages.warning(request, "There was nothing that is not published so far.")
    return redirect("run", pk)


@login_required
@require_safe
@refusals_told
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Go to the recipe's form, filled in as it was for this run."""
    found = find_run(pk, context_of(request.user))
    query = QueryDict(mutable=True)
    for role, numbers in found.submission.get("inputs", {}).items():
        query[f"in-{role}" if role else "product"] = number_ranges(numbers)
    for name, value in found.submission.get("parameters", {}).items():
        query[f"p-{name}"] = str(value)
    query["comment"] = found.remark
    if found.code_digest:
        query["code"] = found.code_digest
    return redirect(f"{reverse('run-recipe', args=[found.recipe])}?{query.urlencode()}")


@login_required
@require_safe
@refusals_told
def run_log(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Give the whole log of a run as text."""
    found = find_run(pk, context_of(request.user))
    lines = (neutralised(piece) for piece in log_of_run(found))
    response = StreamingHttpResponse(lines, content_type="text/plain; charset=utf-8")
    if request.GET.get("download"):
        response["Content-Disposition"] = f'attachment; filename="run-{found.pk}.log"'
    return response


@login_required
@require_safe
@refusals_told
def run_products(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Give all products of a run that one may see as one zip archive, streamed."""
    context = context_of(request.user)
    return archive_response(request, find_run(pk, context), context)


def _state(query: QueryDict) -> JobState | None:
    text = query.get("state", "")
    return JobState(text) if text in {state.value for state in JobState} else None
