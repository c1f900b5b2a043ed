"""Help where one stands: the pages of docs/ inside the portal, for everybody."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from awportal import help_pages
from awportal.api_reference import operations as operations_of_the_api


@require_safe
def contents(request: HttpRequest) -> HttpResponse:
    """Show all pages, or the sections that hold the words that are looked for."""
    words = request.GET.get("q", "")[:200].strip()
    answer = {"groups": help_pages.contents(), "words": words, "hits": help_pages.found(words) if words else []}
    return render(request, "help_contents.html", answer)


@require_safe
def help_page(request: HttpRequest, name: str) -> HttpResponse:
    """Show a page."""
    try:
        page = help_pages.page(name)
    except KeyError:
        raise Http404(f"there is no page {name} in the help") from None
    return render(request, "help.html", {"page": page})


@require_safe
def operations(request: HttpRequest) -> HttpResponse:
    """Show every operation of the users' interface."""
    return render(request, "api_reference.html", {"subjects": operations_of_the_api()})


@require_safe
def picture(request: HttpRequest, name: str) -> HttpResponse:
    """Give a picture of a page."""
    path = next((each for each in (help_pages.folder() / "images").glob("*.png") if each.name == name), None)
    if path is None:
        raise Http404(f"there is no picture {name} in the help")
    answer = HttpResponse(path.read_bytes(), content_type="image/png")
    answer["Cache-Control"] = "max-age=3600"
    return answer
