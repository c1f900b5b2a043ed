"""Selections that are kept: the list, saving one from the archive page, its name, who may open it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from archive.context import context_of
from archive.filter_texts import BadSelection
from archive.models import SavedSelection
from archive.saved_selections import change, listed, remove, save
from awportal.filters import FIELDS, LINKED, given_filters, told_selection
from recipes.catalogue import all_recipes


@dataclass(frozen=True)
class Row:
    """A selection as the list shows it: what it holds in words, and the address that opens it."""

    saved: SavedSelection
    words: str
    link: str
    is_own: bool

    @property
    def command(self) -> str:
        """How it becomes a recipe's input on a command line."""
        return f"awrecipe run RECIPE --selection {shlex.quote(self.saved.name)}"


@login_required
@require_safe
@never_cache
def selections(request: HttpRequest) -> HttpResponse:
    """List one's own selections, and those of one's projects."""
    context = context_of(request.user)
    rows = [Row(each, told_selection(each), _link(each), each.owner_id == request.user.pk) for each in listed(context)]
    return render(
        request,
        "selections.html",
        {"rows": rows, "sharing": SavedSelection.Sharing, "context": context, "recipes": list(all_recipes())},
    )


@login_required
@require_POST
def save_selection(request: HttpRequest) -> HttpResponse:
    """Keep the archive page's filters, or the products that are ticked there."""
    context = context_of(request.user)
    given = given_filters(request.POST, FIELDS + LINKED + ("order",))
    chosen = [int(number) for number in request.POST.getlist("product") if number.isdigit()]
    which = chosen if request.POST.get("what") == "chosen" else []
    back = f"{reverse('archive')}?{urlencode(given)}"
    try:
        if request.POST.get("what") == "chosen" and not chosen:
            raise BadSelection("tick the products that are to be kept, or keep the filters")
        saved = save(context, request.POST.get("selection_name", ""), given, which)
    except BadSelection as refused:
        messages.error(request, f"Not saved. {refused}.")
        return redirect(back)
    messages.success(request, f"Saved {saved.name}, {told_selection(saved)}.")
    return redirect("selections")


@login_required
@require_POST
def change_selection(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a selection another name, or let others open it."""
    saved = _own(request, pk)
    try:
        change(
            context_of(request.user),
            saved,
            name=request.POST.get("name", ""),
            sharing=request.POST.get("sharing", ""),
        )
    except (BadSelection, PermissionDenied) as refused:
        messages.error(request, f"Not changed. {refused}.")
    return redirect("selections")


@login_required
@require_POST
def remove_selection(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget a selection."""
    saved = _own(request, pk)
    remove(context_of(request.user), saved)
    messages.success(request, f"Removed {saved.name}; products stay.")
    return redirect("selections")


def _own(request: HttpRequest, pk: int) -> SavedSelection:
    if pk > 2**63 - 1:
        raise Http404("there is no such selection")
    return get_object_or_404(SavedSelection, pk=pk, owner=request.user)


def _link(saved: SavedSelection) -> str:
    """Return the address that opens it on the archive page, for oneself and for whom it is shared with."""
    return f"{reverse('archive')}?{urlencode({'selection': saved.key})}"
