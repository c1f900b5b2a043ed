"""A product's page, its picture, header, lineage and downloads; a person's verdict."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from archive.context import context_of, may_change, visible
from archive.models import Privilege, Product, Validity
from archive.queries import ancestors, descendants
from archive.staleness import judge as write_verdict
from awportal.lineage_graph import lineage_graph, lineage_lines
from awportal.listing import page_of, with_pictures
from awportal.pictures.frame_file import FrameError
from awportal.product_glance import at_a_glance
from awportal.product_page import frame_of, headers_of, look_at, publishing_of, trends
from awportal.stored_files import content_of, download_url, file_name, picture_of
from awportal.views.errors import refusals_told
from awportal.views.samp import may_call_a_hub
from dataserver.formats import formats_for
from processing_units.frontend.models import Job
from processing_units.frontend.permissions import visible_runs
from processing_units.frontend.publishing import publish
from processing_units.wording import counted
from recipes.catalogue import all_recipes
from recipes.kinds import KINDS

_LARGEST_NUMBER = 2**63 - 1
_SHOWN_ATTRIBUTES = 60


@require_safe
@may_call_a_hub
def product(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a product."""
    context = context_of(request.user)
    found = find_product(request, pk)
    job = Job.objects.filter(pk=found.made_by_job, run__in=visible_runs(context)).first() if found.made_by_job else None
    measured = trends(found, context)
    histories = [pair for pair in measured if pair[1] is not None]
    up, down = ancestors(context, found, depth=8), descendants(context, found, depth=4)
    answer = {
        "product": found,
        "content": content_of(found),
        "look": look_at(found),
        "trends": measured,
        "glance": at_a_glance(found.kind, [measurement for measurement, _ in measured]),
        # those that are held to limits first
        "histories": sorted(histories, key=lambda pair: pair[0].verdict == "unlimited"),
        "formats": formats_for(content_of(found), found.attributes),
        "job": job,
        "stale_because": visible(context).filter(pk=found.stale_because).first() if found.stale_because else None,
        "used_by": _recipes_that_take(found.kind),
        "frame_of_list": frame_of(found, context),
        "up": up,
        "down": down,
        "graph": lineage_graph(found, up, down) if up.steps or down.steps else None,
        "lines": lineage_lines(found, up, down),
        "may_change": may_change(context, found),
        "is_calibration": KINDS[found.kind].is_calibration,
        "verdicts": Validity,
        "publishing": publishing_of(found, context),
        "attributes": sorted(found.attributes.items())[:_SHOWN_ATTRIBUTES],
    }
    return render(request, "product.html", answer)


@require_safe
def product_picture(request: HttpRequest, pk: int, size: str) -> HttpResponse:
    """Give the product's picture; it never changes, so a browser may keep it."""
    found = find_product(request, pk)
    try:
        response = HttpResponse(picture_of(found, size), content_type="image/png")
    except FrameError as problem:
        raise Http404(str(problem)) from None
    response["Cache-Control"] = "private, max-age=86400"
    return response


@require_safe
def product_header(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the headers of the product's file."""
    found = find_product(request, pk)
    try:
        units, problem = headers_of(found), ""
    except FrameError as error:
        units, problem = [], str(error)
    return render(request, "header.html", {"product": found, "units": units, "problem": problem})


@require_safe
def product_inputs(request: HttpRequest, pk: int, role: str) -> HttpResponse:
    """List what served the product in one role."""
    found = find_product(request, pk)
    context = context_of(request.user)
    sources = visible(context).filter(descendants__product=found, descendants__role=role).order_by("date_obs", "pk")
    page = page_of(sources.defer("parameters"), request.GET.get("page"))
    with_pictures(page.rows)
    return render(request, "product_inputs.html", {"product": found, "role": role, "page": page})


@require_safe
def download(request: HttpRequest, pk: int, format_name: str) -> HttpResponse:
    """Send on to the data server, with the right to read this one file for a while."""
    found = find_product(request, pk)
    chosen = next((each for each in formats_for(content_of(found), found.attributes) if each.name == format_name), None)
    if chosen is None:
        raise Http404(f"{found.name} cannot be given as {format_name}")
    return HttpResponseRedirect(download_url(found, chosen.name, chosen.file_name(file_name(found))))


@login_required
@require_POST
def judge(request: HttpRequest, pk: int) -> HttpResponse:
    """Write a person's verdict on a product."""
    found = find_product(request, pk)
    if not may_change(context_of(request.user), found):
        raise PermissionDenied("only its creator, a manager of its project or an administrator may judge this product")
    text = request.POST.get("is_valid", "")
    if text not in {str(level.value) for level in Validity}:
        raise Http404("there is no such verdict")
    verdict = Validity(int(text))
    if verdict == Validity.BAD and not request.POST.get("confirmed") and found.descendants.exists():
        return redirect(f"{reverse('impact', args=[found.pk])}?verdict=bad")
    changed = write_verdict(found, verdict, request.user)  # type: ignore[arg-type] - who gets here is logged in
    if changed:
        now = "stale now" if verdict == Validity.BAD else "not stale any more"
        messages.success(request, f"{counted(changed, 'product')} made from it: {now}.")
    return redirect("impact" if changed else "product", found.pk)


def asked_level(request: HttpRequest) -> tuple[int, str]:
    """Return the level and the project that a form of publishing asks for; 0 is no level."""
    text = request.POST.get("privilege", "")
    level = int(text) if text in {str(level.value) for level in Privilege} else 0
    return level, request.POST.get("project", "").replace("\0", "")[:100]


@login_required
@require_POST
@refusals_told
def publish_product(request: HttpRequest, pk: int) -> HttpResponse:
    """Let more people see a product."""
    found = find_product(request, pk)
    level, project = asked_level(request)
    if publish([found.pk], level, context_of(request.user), project):
        messages.success(request, f"Published: it is seen by {Privilege(level).label} now.")
    else:
        messages.warning(request, "It was published before.")
    return redirect("product", found.pk)


def _recipes_that_take(kind: str) -> list[str]:
    """Return the recipes whose primary input can be of this kind."""
    return [
        recipe.name for recipe in all_recipes().values() if any(kind in entry.kinds for entry in recipe.primary_inputs)
    ][:3]


def find_product(request: HttpRequest, pk: int) -> Product:
    """Return the product, or answer that there is none as far as this user sees."""
    found = (
        visible(context_of(request.user))
        .select_related("creator", "project")
        .filter(pk=min(pk, _LARGEST_NUMBER))
        .first()
    )
    if found is None:
        raise Http404(f"there is no product {pk}, or none that you may see")
    return found
