"""The viewer of frames: its page, the frame's description, tiles, and the sources that are laid over it."""

from __future__ import annotations

import gzip
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from archive.context import context_of
from archive.models import Product
from awportal.pictures.frame_file import FrameError
from awportal.pictures.overlay import ellipses, row_of
from awportal.pictures.viewing import VERSION
from awportal.product_page import LISTS_ON_FRAMES, lists_on
from awportal.stored_files import content_of, local_file, tile_of, view_of
from awportal.views.products import find_product
from awportal.views.samp import may_call_a_hub
from recipes.catalogue import find_recipe

IMAGES = {"raw", "image", "mask"}
_KEPT = "private, max-age=86400"


@require_safe
@may_call_a_hub
def view_frame(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the viewer."""
    found = _frame(request, pk)
    wanted = request.GET.get("list", "")
    answer = {
        "product": found,
        "lists": lists_on(found, context_of(request.user)),
        "may_have_sources": any(found.kind in entry.kinds for entry in find_recipe("SourceList").primary_inputs),
        "wanted": int(wanted) if wanted.isdigit() and len(wanted) < 19 else 0,
        "pixel_scale": found.attributes.get("pixel_scale"),
    }
    return render(request, "viewer.html", answer)


@require_safe
def frame_description(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell what the viewer has to know before the first tile."""
    found = _frame(request, pk)
    try:
        response = JsonResponse(view_of(found))
    except FrameError as problem:
        return JsonResponse({"error": str(problem)}, status=422)
    response["Cache-Control"] = "private, no-cache"
    return response


@require_safe
def frame_tile(request: HttpRequest, pk: int, place: int, level: int, column: int, row: int) -> HttpResponse:
    """Give the numbers of a tile; they never change, so a browser may keep them."""
    found = _frame(request, pk)
    tag = f'"{found.sha256}-{place}-{level}-{column}-{row}-{VERSION}"'
    if request.headers.get("If-None-Match") == tag:
        response = HttpResponse(status=304)
    else:
        try:
            values = tile_of(found, place, level, column, row)
        except FrameError as problem:
            raise Http404(str(problem)) from None
        response = HttpResponse(values.tobytes(), content_type="application/octet-stream")
        # Masks are nearly all zero; the noise of floats does not shrink.
        if values.dtype.kind == "u" and "gzip" in request.headers.get("Accept-Encoding", ""):
            response = HttpResponse(gzip.compress(response.content, 1), content_type="application/octet-stream")
            response["Content-Encoding"] = "gzip"
        response["Vary"] = "Accept-Encoding"
    response["ETag"], response["Cache-Control"] = tag, _KEPT
    return response


@require_safe
def sources(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell where the sources of a table lie on their frame."""
    return _of_table(request, pk, lambda found: _with_path(found, ellipses))


@require_safe
def source(request: HttpRequest, pk: int, row: int) -> HttpResponse:
    """Tell all that the table has of one source."""
    return _of_table(request, pk, lambda found: _with_path(found, lambda path: row_of(path, row)))


def _of_table(request: HttpRequest, pk: int, tell: Any) -> HttpResponse:
    found = find_product(request, pk)
    if found.kind not in LISTS_ON_FRAMES:
        raise Http404(f"{found.name} has no sources on a frame")
    try:
        response = JsonResponse(tell(found))
    except FrameError as problem:
        raise Http404(str(problem)) from None
    response["Cache-Control"] = _KEPT
    return response


def _with_path(found: Product, tell: Any) -> Any:
    with local_file(found) as path:
        return tell(path)


def _frame(request: HttpRequest, pk: int) -> Product:
    found = find_product(request, pk)
    if content_of(found) not in IMAGES:
        raise Http404(f"{found.name} is no image")
    return found
