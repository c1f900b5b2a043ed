"""Processing units: what they do, who is up, what waits; for process managers a form to change them."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive.context import context_of
from awportal.htmx import wants_part
from awportal.machine_form import MachineForm
from awportal.unit_form import UnitForm
from awportal.unit_page import look_at_unit
from awportal.views.errors import refusals_told
from processing_units.frontend.cancel import cancel_on_unit
from processing_units.frontend.permissions import (
    find_unit,
    manages_units,
    require_management_of_unit,
    visible_units,
)
from processing_units.frontend.unit_changes import change_unit
from processing_units.frontend.unit_machines import change_machine, machines_of, remove_machine, standing_of
from processing_units.frontend.unit_settings import Changed
from recipes.errors import UsageError


@login_required
@require_safe
@never_cache
def units(request: HttpRequest) -> HttpResponse:
    """List the units that this user may know of."""
    context = context_of(request.user)
    looks = [look_at_unit(each, context) for each in visible_units(context).order_by("name")]
    answer = {"looks": looks, "may_manage": manages_units(context)}
    return render(request, "parts/unit_list.html" if wants_part(request) else "units.html", answer)


@login_required
@require_safe
@never_cache
@refusals_told
def unit(request: HttpRequest, name: str) -> HttpResponse:
    """Show a unit."""
    context = context_of(request.user)
    found = find_unit(name, context)
    answer = {"look": look_at_unit(found, context, in_full=True), "unit": found}
    return render(request, "parts/unit_live.html" if wants_part(request) else "unit.html", answer)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@refusals_told
def unit_settings(request: HttpRequest, name: str) -> HttpResponse:
    """Show the settings of a unit to whoever may change them, and change those that are sent."""
    context = context_of(request.user)
    found = find_unit(name, context)
    require_management_of_unit(found, context)
    if request.method != "POST":
        return render(request, "unit_settings.html", {"unit": found, "form": UnitForm(found, context)})
    form = UnitForm(found, context, request.POST.dict())
    if form.is_valid():
        try:
            made = change_unit(found, form.wanted(), context)
        except UsageError as problem:
            form.blame(problem)
        else:
            messages.success(request, _told(made))
            return redirect("unit", found.name)
    return render(request, "unit_settings.html", {"unit": found, "form": form}, status=422)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@refusals_told
def unit_machines(request: HttpRequest, name: str) -> HttpResponse:
    """Show the machines that are registered in a unit; register, change or take off the one that is sent."""
    context = context_of(request.user)
    found = find_unit(name, context)
    machines = machines_of(found, context)
    standing = standing_of(found)
    rows = [(title, machine, standing.get(title, "")) for title, machine in machines.items()]
    chosen = request.GET.get("machine", "")
    if request.method != "POST":
        known = {"name": chosen, **machines[chosen]} if chosen in machines else {}
        answer = {"unit": found, "machines": rows, "form": MachineForm(initial=known), "chosen": known.get("name")}
        return render(request, "unit_machines.html", answer)
    removed = request.POST.get("remove", "")
    if removed:
        remove_machine(found, removed, context)
        messages.success(request, f"Machine {removed} is no longer one of unit {found.name}.")
        return redirect("unit-machines", found.name)
    form = MachineForm(request.POST.dict())
    if form.is_valid():
        try:
            made = change_machine(found, form.cleaned_data["name"], form.wanted(), context)
        except UsageError as problem:
            form.blame(problem)
        else:
            messages.success(request, _told(made))
            return redirect("unit-machines", found.name)
    chosen = chosen if chosen in machines else ""
    answer = {"unit": found, "machines": rows, "form": form, "chosen": chosen}
    return render(request, "unit_machines.html", answer, status=422)


@login_required
@require_POST
@refusals_told
def cancel_all(request: HttpRequest, name: str) -> HttpResponse:
    """Cancel all that waits or runs on a unit."""
    context = context_of(request.user)
    found = find_unit(name, context)
    require_management_of_unit(found, context)
    if request.POST.get("sure") != "yes":
        messages.warning(request, "Nothing was cancelled: say that you mean everybody's jobs.")
        return redirect("unit-settings", found.name)
    done = cancel_on_unit(found, context)
    messages.success(request, f"{done} cancelled; what runs is stopped within seconds.")
    return redirect("unit", found.name)


def _told(made: list[Changed]) -> str:
    """Say what was changed of a unit or of its machines."""
    told = ", ".join(f"{change.setting}: {change.after or 'empty'}" for change in made)
    return f"Changed, and in force now: {told}." if made else "All of it was so already."
