"""People's accounts: made and changed by administrators; each change stands in the log of changes.

Nobody is given a password: who is new gets a link that is good once, and chooses one.
"""

from __future__ import annotations

from dataclasses import dataclass

from axes.utils import reset as unlock
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from archive.audit import of_user, record
from archive.context import Context
from archive.models import Profile
from awportal.models import ApiToken
from awportal.tokens import revoke_token
from processing_units.frontend.canary import USER as CANARY_USER
from processing_units.frontend.permissions import is_administrator
from processing_units.frontend.refusals import NotAllowed, NotFound
from recipes.errors import UsageError

# What a role is in Django's columns: is_staff, is_superuser.
ROLES = {"user": (False, False), "process manager": (True, False), "administrator": (True, True)}


@dataclass(frozen=True)
class AccountChange:
    """What is to be changed of an account; None leaves it as it is."""

    user_type: int | None = None
    role: str | None = None
    is_active: bool | None = None


def people(context: Context) -> QuerySet[User]:
    """Return all who have an account, by name; to administrators alone."""
    require_administrator(context)
    return User.objects.exclude(username=CANARY_USER).select_related("profile").order_by("username")


def find_person(number: int, context: Context) -> User:
    """Return somebody, or raise NotFound."""
    found = people(context).filter(pk=min(number, 2**63 - 1)).first()
    if found is None:
        raise NotFound("there is no such person", hint="the page of people lists them")
    return found


def require_administrator(context: Context) -> User:
    """Return the administrator whose context this is, or raise NotAllowed."""
    if not is_administrator(context) or context.user is None:
        raise NotAllowed("accounts are made and changed by administrators", hint="ask one")
    return context.user


def role_of(user: User) -> str:
    """Return the role of somebody beside the type: user, process manager or administrator."""
    return "administrator" if user.is_superuser else "process manager" if user.is_staff else "user"


def make_account(name: str, change: AccountChange, by: User | None, who: str = "") -> User:
    """Make an account that has no password yet; the caller has checked who asks.

    Raises
    ------
    UsageError
        The name is taken (also in other letters' case), or is none.
    """
    name = User.normalize_username(name.strip())
    user = User(username=name)
    user.set_unusable_password()
    if User.objects.filter(username__iexact=name).exists():
        raise UsageError(f"there is a user {name} already", hint="choose another log-in name")
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as wrong:
        hint = " ".join(message for messages in wrong.message_dict.values() for message in messages)
        raise UsageError(f"{name[:40]!r} is no log-in name", hint=hint) from None
    with transaction.atomic():
        user.save()
        Profile.objects.create(user=user)
        record(by, of_user(user, "account", "", "made"), who=who)
        write_account(user, change, by, who)
    return user


def make_person(name: str, change: AccountChange, context: Context) -> tuple[User, str]:
    """Make an account for an administrator; return it with the way to the page where its password is chosen."""
    user = make_account(name, change, require_administrator(context))
    return user, _link(user)


def change_person(user: User, change: AccountChange, context: Context) -> None:
    """Change type, role or whether somebody may log in.

    Raises
    ------
    NotAllowed
        Only administrators do this, and none to their own role: so one is always left.
    """
    by = require_administrator(context)
    own_end = change.is_active is False or change.role not in (None, role_of(user))
    if by.pk == user.pk and own_end:
        raise NotAllowed("nobody takes their own role or account away", hint="another administrator does that")
    write_account(user, change, by)


def write_account(user: User, change: AccountChange, by: User | None, who: str = "") -> None:
    """Write changes of an account; who may no longer log in is logged out. The caller has checked who asks."""
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user.pk)
        profile, _ = Profile.objects.get_or_create(user=user)
        told = []
        if change.user_type is not None and change.user_type != profile.user_type:
            told.append(of_user(user, "user type", str(profile.user_type), str(change.user_type)))
            Profile.objects.filter(pk=profile.pk).update(user_type=change.user_type)
        if change.role is not None and change.role != role_of(user):
            told.append(of_user(user, "role", role_of(user), change.role))
            user.is_staff, user.is_superuser = ROLES[change.role]
        if change.is_active is not None and change.is_active != user.is_active:
            words = {True: "active", False: "deactivated"}
            told.append(of_user(user, "account", words[user.is_active], words[change.is_active]))
            user.is_active = change.is_active
        user.save(update_fields=["is_staff", "is_superuser", "is_active"])
        record(by, *told, who=who)
    if not user.is_active:
        _end_sessions(user)


def password_link(user: User, context: Context) -> str:
    """Return the way to a page where this person chooses a password, good once and for three days.

    Those of before are void as soon as one was used. Who locked themselves out by typing wrong ones is let try again.
    """
    by = require_administrator(context)
    if not user.is_active:
        raise UsageError(f"{user} is deactivated", hint="let them log in again first")
    profile = Profile.objects.filter(user=user).first()
    if profile and profile.directory:
        raise UsageError(f"{user} logs in by {profile.directory}", hint="the password is changed there")
    record(by, of_user(user, "password", "", "link made"))
    unlock(username=user.get_username())
    return _link(user)


def sign_out(user: User, context: Context, *, with_tokens: bool) -> tuple[int, int]:
    """End all sessions of somebody, and their tokens where wanted; return how many of each ended."""
    by = require_administrator(context)
    with transaction.atomic():
        sessions = _end_sessions(user)
        tokens = list(ApiToken.objects.filter(user=user, revoked__isnull=True)) if with_tokens else []
        for token in tokens:
            revoke_token(token, by)
        record(by, of_user(user, "sessions", "", "ended"))
    return sessions, len(tokens)


def sessions_of(user: User) -> list[Session]:
    """Return the sessions of somebody that have not run out. All are read: whose one is stands inside it."""
    now = timezone.now()
    living = Session.objects.filter(expire_date__gt=now).iterator(chunk_size=500)
    return [each for each in living if each.get_decoded().get("_auth_user_id") == str(user.pk)]


def _end_sessions(user: User) -> int:
    keys = [each.session_key for each in sessions_of(user)]
    for begin in range(0, len(keys), 500):
        Session.objects.filter(pk__in=keys[begin : begin + 500]).delete()
    return len(keys)


def _link(user: User) -> str:
    number = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("set-password", args=[number, default_token_generator.make_token(user)])
