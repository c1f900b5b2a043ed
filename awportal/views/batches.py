"""Batches: the list, the editor, the plan that is agreed to, and the page that shows how the whole stands."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from pydantic import ValidationError

from archive.context import context_of
from awportal.batch_examples import EXAMPLES, example
from awportal.htmx import wants_part
from awportal.listing import page_of
from awportal.run_page import bar_of
from awportal.views.errors import refusals_told
from awportal.views.runs import rows_of
from processing_units.contract import BatchMakeRequest, BatchPlan, BatchRequest, JobState
from processing_units.frontend.batch_status import counts_of, goes_on, open_chains, retry_batch, state_of
from processing_units.frontend.batches import draft, draft_again, make
from processing_units.frontend.cancel import cancel_batch
from processing_units.frontend.models import Job
from processing_units.frontend.permissions import find_batch, visible_batches
from processing_units.frontend.refusals import ScriptWrong, TooLate
from processing_units.wording import counted, first_fault
from recipes.errors import UsageError

_BATCHES_SHOWN = 25
_RUNS_SHOWN = 25
_PLAN_RUNS_SHOWN = 100
_LINES_AROUND = 2
LANGUAGES = (("star", "Starlark"), ("yaml", "YAML"), ("csv", "CSV"))


@login_required
@require_safe
@never_cache
def batches(request: HttpRequest) -> HttpResponse:
    """List one's own batches."""
    context = context_of(request.user)
    mine = visible_batches(context).filter(user=request.user).order_by("-pk")
    page = page_of(mine, request.GET.get("page"), _BATCHES_SHOWN)
    counts = counts_of(page.rows)
    rows = [
        {"batch": batch, "counts": counts[batch.pk], "bar": bar_of(counts[batch.pk]), "runs": len(batch.plan["runs"]),
         "state": state_of(batch, counts[batch.pk], open_chains(batch)),
         "jobs": sum(counts[batch.pk].values()) or batch.plan["jobs"]}
        for batch in page.rows
    ]  # fmt: skip
    answer = {"page": page, "rows": rows, "is_live": any(row["state"] in {"queued", "running"} for row in rows)}
    return render(request, "parts/batch_list.html" if wants_part(request) else "batches.html", answer)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@refusals_told
def new_batch(request: HttpRequest) -> HttpResponse:
    """Write a script, from an example or from another batch's; what it comes to is the batch's own page."""
    context = context_of(request.user)
    form: dict[str, Any] = {"key": uuid.uuid4().hex, "name": ""}
    status = 200
    if request.method == "POST":
        form = {name: request.POST.get(name, "") for name in ("text", "language", "name", "key")}
        form["text"] = form["text"].replace("\r\n", "\n")
        try:
            asked = BatchRequest(
                text=form["text"], language=form["language"], name=form["name"], idempotency_key=form["key"]
            )
            return redirect("batch", draft(asked, context).pk)
        except ValidationError as refused:
            form["error"] = first_fault(refused)
        except UsageError as refused:
            form["error"], form["hint"] = refused.message, refused.hint
            form["error_line"] = refused.line if isinstance(refused, ScriptWrong) else 0
            form["excerpt"] = _excerpt(form["text"], form["error_line"])
        # What was refused was not kept: mended, it is another one.
        form["key"], status = uuid.uuid4().hex, 422
    elif request.GET.get("from", "").isdigit():
        earlier = find_batch(min(int(request.GET["from"]), 2**63 - 1), context)
        if earlier.goal:
            return redirect("batch", earlier.pk)
        form |= {"text": earlier.text, "language": earlier.language, "name": earlier.name}
    else:
        form["text"], form["language"] = example(request.GET.get("example", ""), context)
    answer = {"form": form, "examples": EXAMPLES, "languages": LANGUAGES, "lines": form["text"].count("\n") + 1}
    return render(request, "new_batch.html", answer, status=status)


@login_required
@require_safe
@never_cache
@refusals_told
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a batch: its plan until it is agreed to, then how its runs stand, renewed while it goes on."""
    context = context_of(request.user)
    found = find_batch(pk, context)
    may_change = found.user == request.user
    if found.made is None:
        plan = BatchPlan.model_validate(found.plan)
        answer = {
            "batch": found,
            "plan": plan,
            "plan_runs": plan.runs[:_PLAN_RUNS_SHOWN],
            "bytes": sum(run.bytes for run in plan.runs),
            "can_run": plan.jobs - plan.problems,
            "may_change": may_change,
        }
        return render(request, "batch_plan.html", answer)
    counts = counts_of([found])[found.pk]
    to_come = open_chains(found)
    state = state_of(found, counts, to_come)
    page = page_of(found.runs.select_related("unit", "user").order_by("-pk"), request.GET.get("page"), _RUNS_SHOWN)
    failed = Job.objects.filter(run__batch=found, state=JobState.FAILED, retried_as__isnull=True).order_by("pk")
    answer = {
        "batch": found,
        "state": state,
        "counts": counts,
        "jobs": sum(counts.values()),
        "bar": bar_of(counts),
        "to_come": to_come,
        "goes_on": goes_on(found),
        "is_live": state in {"queued", "running"},
        "failed": list(failed[:5]),
        "page": page,
        "rows": rows_of(page.rows),
        "may_change": may_change or request.user.is_staff,
    }
    return render(request, "parts/batch_live.html" if wants_part(request) else "batch.html", answer)


@login_required
@require_POST
@refusals_told
def make_batch(request: HttpRequest, pk: int) -> HttpResponse:
    """Make all runs of the plan that was seen."""
    context = context_of(request.user)
    found = find_batch(pk, context)
    asked = BatchMakeRequest(
        digest=request.POST.get("digest", "")[:100], leave_out=request.POST.get("leave_out", "") == "yes"
    )
    try:
        make(found, asked, context)
    except TooLate as changed:
        messages.warning(request, f"{changed.message[0].upper()}{changed.message[1:]}: {changed.hint}.")
    return redirect("batch", pk)


@login_required
@require_POST
@refusals_told
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Read the script once more with the frames that it was told of then: a plan to agree to."""
    context = context_of(request.user)
    return redirect("batch", draft_again(find_batch(pk, context), context).pk)


@login_required
@require_POST
@refusals_told
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel all that has not ended of a batch."""
    context = context_of(request.user)
    done = cancel_batch(find_batch(pk, context), context)
    messages.success(request, f"{done} cancelled; what runs is stopped within seconds.")
    return redirect("batch", pk)


@login_required
@require_POST
@refusals_told
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Submit all failed jobs of a batch again."""
    context = context_of(request.user)
    made = retry_batch(find_batch(pk, context), context)
    messages.success(request, f"The failed jobs run again, as {counted(len(made), 'run')}.")
    return redirect("batch", pk)


def _excerpt(text: str, line: int) -> list[tuple[int, str, bool]]:
    """Return the lines about a wrong one: number, text, whether it is the one."""
    lines = text.split("\n")
    numbers = range(max(1, line - _LINES_AROUND), min(len(lines), line + _LINES_AROUND) + 1) if line else range(0)
    return [(number, lines[number - 1], number == line) for number in numbers]
