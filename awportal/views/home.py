"""The first page: what is going on, and what to do next."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from archive.context import context_of, visible
from awportal.htmx import wants_part
from awportal.listing import with_pictures
from awportal.unit_page import look_at_unit
from awportal.views.runs import rows_of
from processing_units.frontend.models import Run
from processing_units.frontend.permissions import visible_units
from recipes.catalogue import all_recipes
from recipes.kinds import KINDS

_RUNS, _PRODUCTS = 6, 12


@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """Show my runs, the units' states and the last products; to visitors what is public."""
    products = visible(context_of(request.user))
    made = [kind.name for kind in KINDS.values() if not kind.is_raw and kind.name != "WeightFrame"]
    last = products.filter(kind__in=made).defer("parameters").order_by("-pk")[:_PRODUCTS]
    answer: dict[str, object] = {"last": with_pictures(list(last)), "has_products": products.exists()}
    if not request.user.is_authenticated:
        return render(request, "visitor.html", {**answer, "recipes": all_recipes().values()})
    mine = Run.objects.filter(user=request.user).select_related("unit", "user").order_by("-pk")
    answer["rows"] = rows_of(list(mine[:_RUNS]))
    answer["any_open"] = any(row["state"] in {"queued", "running"} for row in answer["rows"])  # type: ignore[attr-defined]
    answer["looks"] = [
        look_at_unit(unit, context_of(request.user))
        for unit in visible_units(context_of(request.user)).order_by("name")[:12]
    ]
    return render(request, "parts/home_live.html" if wants_part(request) else "home.html", answer)
