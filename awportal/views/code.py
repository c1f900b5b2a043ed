"""Users' own code: bring a bundle, see what it changes, accept it, forget it."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive.context import context_of
from archive.models import Profile
from awportal.listing import page_of
from awportal.views.errors import refusals_told
from awportal.views.runs import rows_of
from processing_units.code_shipping.rules import MAXIMUM_ARCHIVE_BYTES, MAXIMUM_BYTES, MAXIMUM_FILES
from processing_units.frontend import bundles
from processing_units.frontend.own_recipes import changes_recipes, describe, recipes_of
from processing_units.frontend.permissions import user_type, visible_runs
from recipes.errors import UsageError

_BUNDLES_SHOWN = 25
_RUNS_SHOWN = 50
_FILES_SHOWN = 200


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    """List bundles of one's own and of the members of one's projects; take a new one."""
    context = context_of(request.user)
    error: UsageError | None = None
    if request.method == "POST":
        upload = request.FILES.get("file")
        try:
            if not isinstance(upload, UploadedFile) or upload.file is None:
                raise UsageError("no file was chosen", hint="choose a zip file of the folder with your recipes/")
            if (upload.size or 0) > MAXIMUM_ARCHIVE_BYTES:
                raise UsageError(f"a bundle has at most {MAXIMUM_BYTES // 10**6} MB", hint="ship code alone")
            return redirect("bundle", bundles.keep_bundle(upload.file, context).pk)  # type: ignore[arg-type]
        except UsageError as refused:
            error = refused
    page = page_of(bundles.visible_bundles(context).order_by("-pk"), request.GET.get("page"), _BUNDLES_SHOWN)
    answer = {
        "page": page,
        "error": error,
        "may_ship": user_type(context) >= Profile.UserType.SHIPS_CODE,
        "most_files": MAXIMUM_FILES,
        "most_bytes": MAXIMUM_BYTES,
    }
    return render(request, "code.html", answer, status=422 if error else 200)


@login_required
@require_safe
@refusals_told
def bundle(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what a bundle changes, its recipes, and the runs that used it."""
    context = context_of(request.user)
    found = bundles.find_bundle(pk, context)
    runs = visible_runs(context).filter(code_digest=found.digest, user=found.owner_id).select_related("unit", "user")
    changed = [entry for entry in found.contents if entry["change"] != "same"]
    is_own = found.owner_id == request.user.pk
    answer = {
        "bundle": found,
        "changed": changed[:_FILES_SHOWN],
        "changed_in_all": len(changed),
        "recipes": recipes_of(found).values(),
        "has_recipes": changes_recipes(found),
        "rows": rows_of(list(runs.order_by("-pk")[:_RUNS_SHOWN])),
        "everybody": False,
        "is_own": is_own,
        "may_accept": bundles.may_accept(found, context) and found.accepted_at is None,
        "may_remove": is_own and not runs.exists(),
    }
    return render(request, "bundle.html", answer)


@login_required
@require_safe
@refusals_told
def bundle_recipes(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask one's bundle for its recipes, then show it."""
    context = context_of(request.user)
    found = bundles.find_bundle(pk, context)
    if found.owner_id == request.user.pk and changes_recipes(found):
        describe(found)
        if not found.description and not found.description_problem:
            messages.warning(
                request, "This portal has no sandbox to load it in: changed recipes keep the standard form."
            )
    return redirect("bundle", pk)


@login_required
@require_POST
@refusals_told
def accept(request: HttpRequest, pk: int) -> HttpResponse:
    """Note that one has read the code and found it good."""
    context = context_of(request.user)
    bundles.accept_bundle(bundles.find_bundle(pk, context), context)
    messages.success(request, "The code is accepted.")
    return redirect("bundle", pk)


@login_required
@require_POST
@refusals_told
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget a bundle that no run used."""
    context = context_of(request.user)
    bundles.remove_bundle(bundles.find_bundle(pk, context), context)
    messages.success(request, "The bundle is gone.")
    return redirect("code")
