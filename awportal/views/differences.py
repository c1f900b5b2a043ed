"""Two products side by side: in what they differ; and what a product may be compared with."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from archive.context import context_of, visible
from awportal.listing import page_of, with_pictures
from awportal.pictures.frame_file import FrameError
from awportal.product_difference import difference_of
from awportal.stored_files import difference_picture
from awportal.views.products import find_product


@require_safe
def diff_with(request: HttpRequest, pk: int) -> HttpResponse:
    """List what a product may be compared with: of the same kind, instrument, chip and filter; or go to one."""
    found = find_product(request, pk)
    wanted = request.GET.get("with", "").strip()
    if wanted.isdigit() and len(wanted) < 19:
        return redirect("product-diff", found.pk, int(wanted))
    alike = visible(context_of(request.user)).filter(
        kind=found.kind, instrument=found.instrument, chip=found.chip, filter_name=found.filter_name
    )
    page = page_of(alike.exclude(pk=found.pk).order_by("-pk").defer("parameters"), request.GET.get("page"))
    with_pictures(page.rows)
    answer = {"product": found, "page": page, "wanted": wanted}
    return render(request, "diff_with.html", answer, status=422 if wanted else 200)


@require_safe
def product_diff(request: HttpRequest, pk: int, other: int) -> HttpResponse:
    """Show in what two products differ."""
    first, second = find_product(request, pk), find_product(request, other)
    answer = {"first": first, "second": second, "diff": difference_of(first, second, context_of(request.user))}
    return render(request, "diff.html", answer)


@require_safe
def product_diff_picture(request: HttpRequest, pk: int, other: int) -> HttpResponse:
    """Give the picture of the difference of two frames; it never changes, so a browser may keep it."""
    first, second = find_product(request, pk), find_product(request, other)
    try:
        response = HttpResponse(difference_picture(first, second), content_type="image/png")
    except FrameError as problem:
        raise Http404(str(problem)) from None
    response["Cache-Control"] = "private, max-age=86400"
    return response
