"""The archive: what there is, by filters, page by page; what is chosen becomes the input of a recipe."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from archive.context import context_of
from archive.queries import BadSelection, Selection, select
from awportal.htmx import wants_part
from awportal.listing import FILTERS, facets, given_filters, page_of, with_pictures
from recipes.catalogue import all_recipes, find_recipe
from recipes.errors import UsageError

# Filters that no field of the page sets, but that links do.
_LINKED = ("run", "is_valid", "name")


@require_safe
@never_cache
def archive(request: HttpRequest) -> HttpResponse:
    """List products."""
    context = context_of(request.user)
    given = given_filters(request.GET, FILTERS + _LINKED)
    error = ""
    try:
        selection = Selection.parse(given)
    except BadSelection as refused:
        error, selection = str(refused), Selection(ids=(0,))
    page = page_of(select(context, selection).defer("parameters"), request.GET.get("page"))
    with_pictures(page.rows)
    answer = {
        "page": page,
        "given": given,
        "facets": facets(context),
        "error": error,
        "recipes": _recipes_by_use({product.kind for product in page.rows}),
        "linked": [(name, given[name]) for name in _LINKED if name in given],
    }
    template = "parts/archive_list.html" if wants_part(request) else "archive.html"
    return render(request, template, answer, status=422 if error else 200)


@require_safe
def use(request: HttpRequest) -> HttpResponse:
    """Go to a recipe's form with the chosen products, or with all that match the filters."""
    try:
        recipe = find_recipe(request.GET.get("recipe", ""))
    except UsageError:
        return redirect("archive")
    if request.GET.get("all"):
        query = [*given_filters(request.GET).items(), ("all", "1")]
    else:
        query = [("product", number) for number in request.GET.getlist("product") if number.isdigit()]
    return redirect(f"{reverse('run-recipe', args=[recipe.name])}?{urlencode(query)}")


def _recipes_by_use(kinds: set[str]) -> list[tuple[str, bool]]:
    """Return the recipes' names, those that take one of `kinds` first."""
    fits = {
        recipe.name: any(set(entry.kinds) & kinds for entry in recipe.primary_inputs)
        for recipe in all_recipes().values()
    }
    return sorted(fits.items(), key=lambda pair: not pair[1])
