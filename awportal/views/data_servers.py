"""Caching data servers: which are registered and how they are; for administrators to register and take off."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from archive.context import Context, context_of
from awportal.views.errors import refusals_told
from processing_units.frontend.data_server_changes import (
    look_at_all,
    register_data_server,
    remove_data_server,
    require_administrator,
)
from processing_units.frontend.data_servers import Registered
from processing_units.frontend.permissions import is_administrator
from recipes.errors import UsageError


class DataServerForm(forms.Form):
    """Name and address of a caching data server."""

    name = forms.CharField(max_length=40, help_text="How units name it: small letters, digits and -.")
    address = forms.CharField(
        max_length=200,
        help_text="Where nodes and the portal reach it.",
        widget=forms.TextInput({"placeholder": "https://cache.example.org:8001"}),
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@refusals_told
def data_servers(request: HttpRequest) -> HttpResponse:
    """Show the caching data servers; register the one that is sent, or take it off."""
    context = context_of(request.user)
    chosen = request.GET.get("chosen", "")
    if request.method != "POST":
        return _page(request, context, chosen)
    require_administrator(context)
    removed = request.POST.get("remove", "")
    if removed:
        remove_data_server(removed, context)
        messages.success(request, f"Data server {removed} is forgotten; its key opens nothing any more.")
        return redirect("data-servers")
    form = DataServerForm(request.POST)
    if form.is_valid():
        given = form.cleaned_data
        try:
            made = register_data_server(given["name"], given["address"], context, anew=given["name"] == chosen)
        except UsageError as problem:
            form.add_error(None, f"{problem.message} ({problem.hint})")
        else:
            return _page(request, context, made=made)
    return _page(request, context, chosen, form)


def _page(
    request: HttpRequest,
    context: Context,
    chosen: str = "",
    form: DataServerForm | None = None,
    made: Registered | None = None,
) -> HttpResponse:
    """Return the page; the key of one that was just registered is on it, and nowhere else."""
    looks = look_at_all(context)
    known = next((look for look in looks if look.data_server.name == chosen), None)
    initial = {"name": chosen, "address": known.data_server.address} if known else {}
    answer = {
        "looks": looks,
        "chosen": known,
        "form": form or DataServerForm(initial=initial),
        "made": made,
        "may_change": is_administrator(context),
        "upstream": settings.DATA_URL,
    }
    return render(request, "data_servers.html", answer, status=422 if form else 200)
