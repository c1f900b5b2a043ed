"""What was made from a product, what is stale for it, and making that anew."""

from __future__ import annotations

import uuid

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from archive.context import context_of, may_change, visible
from archive.models import Validity
from archive.staleness import impact_of
from awportal.listing import PAGE_SIZE, Page
from awportal.views.errors import refusals_told
from awportal.views.products import find_product
from processing_units.frontend.refusals import PlanChanged
from processing_units.frontend.reprocess import plan_reprocessing, reprocess


@require_safe
def impact(request: HttpRequest, pk: int) -> HttpResponse:
    """Show all that was made from a product; before it is called bad, what would become stale."""
    context = context_of(request.user)
    found = find_product(request, pk)
    told = impact_of(found, context)
    places = [(number, place) for place, generation in enumerate(told.generations, 1) for number in generation]
    text = request.GET.get("page", "")
    page = min(int(text), 100_000) if text.isdigit() and int(text) else 1
    some = dict(places[(page - 1) * PAGE_SIZE : page * PAGE_SIZE])
    rows = sorted(visible(context).filter(pk__in=some).defer("parameters"), key=lambda row: (some[row.pk], row.pk))
    answer = {
        "product": found,
        "impact": told,
        "rows": [(some[row.pk], row) for row in rows],
        "page": Page(rows, page, page * PAGE_SIZE < len(places), len(places), PAGE_SIZE),
        "is_bad": found.is_valid == Validity.BAD,
        "may_change": may_change(context, found),
        "asks": request.GET.get("verdict") == "bad" and found.is_valid != Validity.BAD,
    }
    return render(request, "impact.html", answer)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@refusals_told
def make_anew(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what would be made anew, as a dry run; run exactly that."""
    context = context_of(request.user)
    found = find_product(request, pk)
    key = request.POST.get("key", "").replace("\0", "")[:100] or uuid.uuid4().hex
    changed = ""
    if request.method == "POST":
        try:
            return redirect("run", reprocess(found, context, request.POST.get("plan", ""), key).pk)
        except PlanChanged as problem:
            changed = problem.message
    plan = plan_reprocessing(found, context)
    answer = {
        "product": found,
        "plan": plan,
        "jobs": sum(step.counts.jobs for step in plan.steps),
        "first": plan.steps[0] if plan.steps else None,
        "key": key,
        "changed": changed,
    }
    return render(request, "reprocess.html", answer, status=422 if changed else 200)
