"""The archive: what there is, by filters, page by page; what is chosen becomes the input of a recipe."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from archive.context import context_of
from archive.filter_texts import BadSelection
from archive.queries import Selection, select
from archive.saved_selections import find, parse
from awportal.command_line import number_ranges
from awportal.filters import FIELDS, LINKED, RARER, choices, columns, given_filters, holding
from awportal.htmx import wants_part
from awportal.listing import facets, products_page, with_pictures
from awportal.products_archive import MOST_PRODUCTS, products_response
from awportal.views.samp import may_call_a_hub
from dataserver.formats import formats
from recipes.catalogue import all_recipes, find_recipe
from recipes.errors import UsageError


@require_safe
@never_cache
@may_call_a_hub
def archive(request: HttpRequest) -> HttpResponse:
    """List products."""
    context = context_of(request.user)
    given = given_filters(request.GET, FIELDS + LINKED + ("order",))
    error, saved = "", None
    try:
        selection = parse(context, given)
        saved = find(context, given["selection"]) if "selection" in given else None
    except BadSelection as refused:
        error, selection = str(refused), Selection(ids=(0,))
    page = products_page(select(context, selection), request.GET.get("page"))
    with_pictures(page.rows)
    answer = {
        "page": page,
        "given": given,
        "holding": holding(given, saved),
        "columns": columns(given),
        "choices": choices(),
        "more_open": any(name in given for name in RARER),
        "facets": facets(context),
        "error": error,
        "formats": [each for each in formats().values() if not each.needs],
        "recipes": _recipes_by_use({product.kind for product in page.rows}),
    }
    if not wants_part(request):
        return render(request, "archive.html", answer, status=422 if error else 200)
    part = render(request, "parts/archive_list.html", answer, status=422 if error else 200)
    part["HX-Push-Url"] = f"{reverse('archive')}?{urlencode(given)}"  # the form's own has all empty fields
    return part


@require_http_methods(["GET", "HEAD", "POST"])
def use(request: HttpRequest) -> HttpResponse:
    """Go to a recipe's form with the chosen products, or with all that match the filters."""
    data = request.POST if request.method == "POST" else request.GET
    if data.get("compare"):
        chosen = [number for number in data.getlist("product") if number.isdigit() and len(number) < 19]
        if len(chosen) == 2:
            return redirect("product-diff", *map(int, chosen))
        messages.warning(request, f"Choose two products to compare; {len(chosen)} were chosen.")
        return redirect(f"{reverse('archive')}?{urlencode(given_filters(data))}")
    try:
        recipe = find_recipe(data.get("recipe", ""))
    except UsageError:
        return redirect("archive")
    if data.get("all"):
        query = [*given_filters(data).items(), ("all", "1")]
    else:
        numbers = number_ranges(int(number) for number in data.getlist("product") if number.isdigit())
        query = [("product", numbers)] if numbers else []
    return redirect(f"{reverse('run-recipe', args=[recipe.name])}?{urlencode(query)}")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def download_products(request: HttpRequest) -> HttpResponseBase:
    """Send the chosen products, or all that match the filters, as one archive; a form is led to an address for that."""
    given = given_filters(request.GET, FIELDS + LINKED)
    if request.method == "POST":
        query = _wanted(request.POST) | {"format": request.POST.get("format", "fits")}
        return redirect(f"{reverse('download-products')}?{urlencode(query)}")
    context = context_of(request.user)
    name = request.GET.get("format", "fits")
    if not given and not request.GET.get("all"):
        return _not_downloaded(request, "Choose the products to download first.", given)
    try:
        found = select(context, parse(context, given)).order_by("pk")[: MOST_PRODUCTS + 1]
        if name not in formats():
            raise BadSelection(f"there is no format {name[:40]!r}")
    except BadSelection as refused:
        return _not_downloaded(request, str(refused), given)
    products = list(found)
    if not products:
        return _not_downloaded(request, "No product matches, or none that you may see.", given)
    if len(products) > MOST_PRODUCTS:
        more = f"One download holds at most {MOST_PRODUCTS} products, and more match: narrow it, or use awrecipe get."
        return _not_downloaded(request, more, given)
    return products_response(request, products, "products", name)


def _wanted(data: QueryDict) -> dict[str, str]:
    """Return the filters of a form, or the products that are ticked in it."""
    if data.get("all"):
        return {**given_filters(data, FIELDS + LINKED), "all": "1"}
    chosen = number_ranges(int(number) for number in data.getlist("product") if number.isdigit() and len(number) < 19)
    return {"ids": chosen} if chosen else {}


def _not_downloaded(request: HttpRequest, why: str, given: dict[str, str]) -> HttpResponse:
    messages.warning(request, why)
    return redirect(f"{reverse('archive')}?{urlencode(given)}")


def _recipes_by_use(kinds: set[str]) -> list[tuple[str, bool]]:
    """Return the recipes' names, those that take one of `kinds` first."""
    fits = {
        recipe.name: any(set(entry.kinds) & kinds for entry in recipe.primary_inputs)
        for recipe in all_recipes().values()
    }
    return sorted(fits.items(), key=lambda pair: not pair[1])
