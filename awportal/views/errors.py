"""Pages for what went wrong, in the look of the others: what it was, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from awportal.api.errors import answer
from processing_units.frontend.refusals import NotAllowed, NotFound, TooLate
from recipes.errors import UsageError

_STATUS = {NotFound: 404, NotAllowed: 403, TooLate: 409}
View = Callable[..., HttpResponse]


def refusals_told(view: View) -> View:
    """Answer what the frontend or a recipe refuses with a page that says what, and how to mend it."""

    @wraps(view)
    def told(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except UsageError as refusal:
            status = next((code for kind, code in _STATUS.items() if isinstance(refusal, kind)), 422)
            return render(request, "refused.html", {"refusal": refusal, "status": status}, status=status)

    return told


def _is_for_programs(request: HttpRequest) -> bool:
    """Whether it was meant for the users' interface: a program wants no page."""
    return request.path_info.startswith("/api/")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request that cannot be understood."""
    if _is_for_programs(request):
        return answer(400, "the request cannot be understood", "its address, host or form is not right")
    return render(request, "400.html", status=400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request for what this user may not see or do."""
    return render(request, "403.html", {"reason_given": str(exception or "")}, status=403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a request for what is not there, or not for this user."""
    if _is_for_programs(request):
        hint = f"{reverse('api:openapi-json')} tells all addresses"
        return answer(404, f"there is no address {request.path[:200]}", hint, "path")
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer after a mistake of ours: a page that needs neither database nor session."""
    return render(None, "500.html", status=500)  # type: ignore[arg-type]
