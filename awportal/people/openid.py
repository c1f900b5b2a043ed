"""Log-in by a provider of OpenID Connect (``AWPORTAL_OIDC_URL``): how django-allauth does it here.

Of allauth the two addresses of the log-in are served and nothing else: no form of its own, no e-mail, no way to connect
accounts. Somebody is known by the provider's own number (``sub``), never by a name or an address that they chose.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import requests
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base import AuthError, AuthProcess
from allauth.socialaccount.providers.openid_connect import views
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from awportal.people.directories import OPENID, place_by_groups, welcome

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """What allauth does with an account once somebody is known."""

    def login(self, request: HttpRequest, user: User) -> None:
        """Log in as Django does, so that the session is like any other."""
        user.backend = "django.contrib.auth.backends.ModelBackend"  # type: ignore[attr-defined]
        super().login(request, user)

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        """Refuse who was deactivated here."""
        return _refused(request, f"The account {user.get_username()} is deactivated.", 403)

    def add_message(self, *_: Any, **__: Any) -> None:
        """Say nothing: the page shows who is logged in."""


class SocialAdapter(DefaultSocialAccountAdapter):
    """Who may come in, and as whom."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Take the log-in alone, and place whom we know by their groups."""
        if sociallogin.state.get("process") != AuthProcess.LOGIN:
            raise ImmediateHttpResponse(redirect("home"))
        # Addresses are not what anybody is known by here, and none is kept beside the user's own column.
        sociallogin.email_addresses = []
        if sociallogin.is_existing:
            _place(sociallogin)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Whom the provider knows has an account here from the first log-in on."""
        return True

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Make the account, of the narrowest type; a name that is taken gets another ending."""
        told = sociallogin.user
        told.first_name, told.last_name = told.first_name[:150], told.last_name[:150]  # as long as the columns are
        with transaction.atomic():
            user: User = super().save_user(request, sociallogin, form)
            welcome(user, OPENID)
        _place(sociallogin)
        return user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> None:
        """Say on a page of ours what went wrong."""
        if error == AuthError.CANCELLED:
            raise ImmediateHttpResponse(redirect("login"))
        log.warning("log-in by %s failed: %s", settings.OIDC_NAME, exception or error)
        what = f"{settings.OIDC_NAME} does not answer as it should, or this log-in took too long."
        raise ImmediateHttpResponse(_refused(request, what, 401))


def go(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Send somebody to the provider."""
    return _told_where_it_is_away(views.login, request, provider_id)


def come_back(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Take the provider's word for who somebody is."""
    return _told_where_it_is_away(views.callback, request, provider_id)


def _told_where_it_is_away(view: Callable[..., HttpResponse], request: HttpRequest, provider_id: str) -> HttpResponse:
    try:
        return view(request, provider_id)
    except requests.RequestException as problem:
        log.warning("%s does not answer: %s", settings.OIDC_NAME, problem)
        return _refused(request, f"{settings.OIDC_NAME} does not answer now.", 503)


def _refused(request: HttpRequest, what: str, status: int) -> HttpResponse:
    return render(request, "single_sign_on_refused.html", {"what": what}, status=status)


def _place(sociallogin: SocialLogin) -> None:
    """Place somebody by the groups that the provider tells, in the userinfo or the ID token."""
    data = sociallogin.account.extra_data
    for claims in (data, data.get("userinfo") or {}, data.get("id_token") or {}):
        groups = claims.get(settings.OIDC_GROUPS_CLAIM) if isinstance(claims, dict) else None
        if isinstance(groups, list):
            place_by_groups(sociallogin.user, [group for group in groups if isinstance(group, str)], OPENID)
