"""Processing units: what they do, who is up, what waits, what they made last."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from archive.context import context_of
from awportal.htmx import wants_part
from awportal.unit_page import look_at_unit
from processing_units.frontend.models import ProcessingUnit


@login_required
@require_safe
@never_cache
def units(request: HttpRequest) -> HttpResponse:
    """List the units that this user may know of."""
    looks = [look_at_unit(each, context_of(request.user)) for each in known_units(request).order_by("name")]
    return render(request, "parts/unit_list.html" if wants_part(request) else "units.html", {"looks": looks})


@login_required
@require_safe
@never_cache
def unit(request: HttpRequest, name: str) -> HttpResponse:
    """Show a unit."""
    found = get_object_or_404(known_units(request), name=name)
    answer = {"look": look_at_unit(found, context_of(request.user), in_full=True), "unit": found}
    return render(request, "parts/unit_live.html" if wants_part(request) else "unit.html", answer)


def known_units(request: HttpRequest) -> QuerySet[ProcessingUnit]:
    """Return all units but those that other users brought for themselves."""
    everything = ProcessingUnit.objects.select_related("owner")
    if request.user.is_staff:
        return everything
    return everything.filter(Q(owner__isnull=True) | Q(owner=request.user))
