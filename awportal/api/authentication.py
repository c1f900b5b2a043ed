"""Who asks: by a token, or by the portal's session (then changes need the CSRF token)."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from ninja.errors import HttpError
from ninja.security import APIKeyCookie, HttpBearer

from archive.context import Context, context_of
from awportal.tokens import find_token, opens

_LONGEST_TOKEN = 200


class TokenAuthentication(HttpBearer):
    """``Authorization: Bearer aw_...``."""

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        """Return the token's user, or None."""
        found = find_token(token) if len(token) <= _LONGEST_TOKEN else None
        if found and not opens(found, request.method, request.path_info):
            raise HttpError(403, f"this token is for {found.get_scope_display().partition(':')[0]} alone")
        return found.user if found else None


class SessionAuthentication(APIKeyCookie):
    """Who is logged in to the portal in the same browser."""

    param_name = "awportal_session"

    def __call__(self, request: HttpRequest) -> User | None:
        """Return the user of the session; for a change, only with the CSRF token."""
        # A token that is wrong is said to be wrong, and not passed over in favour of a session.
        if "Authorization" in request.headers or not isinstance(request.user, User) or not request.user.is_active:
            return None
        why_not = _csrf_problem(request)
        if why_not:
            raise HttpError(403, f"{why_not} The page's CSRF token goes into the header X-CSRFToken.")
        return request.user

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        """Nothing to do here: the session's middleware has found the user."""


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check, which gives the reason instead of drawing a page."""

    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


def _csrf_problem(request: HttpRequest) -> str:
    check = _CsrfCheck(lambda _: HttpResponse())
    request.csrf_processing_done = False  # type: ignore[attr-defined]
    check.process_request(request)
    # As for any view that is not exempt; the API's own are, because a token needs no such check.
    return str(check.process_view(request, lambda _: HttpResponse(), (), {}) or "")


TOKEN = TokenAuthentication()
SESSION = SessionAuthentication(csrf=False)


def user_of(request: HttpRequest) -> User:
    """Return the user who asks; an operation is only reached by somebody."""
    user = request.auth  # type: ignore[attr-defined]
    assert isinstance(user, User)  # noqa: S101 - the api asks for authentication everywhere
    return user


def context_of_request(request: HttpRequest) -> Context:
    """Return the context in which they ask."""
    return context_of(user_of(request))
