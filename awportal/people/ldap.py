"""Log-in with the password of an LDAP directory (``AWPORTAL_LDAP_URL``); imported only where that is set."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django_auth_ldap.backend import LDAPBackend

from awportal.people.directories import LDAP, belongs_elsewhere, place_by_groups, welcome


class DirectoryBackend(LDAPBackend):
    """django-auth-ldap's, but for names that somebody has here who is not of the directory."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **given: Any
    ) -> User | None:
        """Return the user whose name and password the directory knows."""
        # The password of an account made here is not shown to the directory, and opens nothing there.
        if username is None or belongs_elsewhere(username.strip(), LDAP):
            return None
        user: User | None = super().authenticate(request, username, password, **given)
        if user is not None:
            place_by_groups(user, user.ldap_user.group_names, LDAP)  # type: ignore[attr-defined]
        return user

    def get_or_build_user(self, username: str, ldap_user: Any) -> tuple[User, bool]:
        """Return the account of somebody whose password was right, made now where there is none yet."""
        user, is_new = super().get_or_build_user(username, ldap_user)
        if is_new:
            with transaction.atomic():
                user.set_unusable_password()
                user.save()
                welcome(user, LDAP)
        elif belongs_elsewhere(user.get_username(), LDAP):
            raise ldap_user.AuthenticationFailed(f"{user} was made here meanwhile")
        return user, False

    def get_user(self, user_id: int) -> User | None:
        """Return who is logged in, unless they may no longer."""
        return ModelBackend().get_user(user_id)  # type: ignore[return-value]
