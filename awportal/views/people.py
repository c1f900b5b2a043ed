"""People, for administrators: the list, making somebody, type, role and limits, links for passwords, signing out."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.contrib.auth.views import PasswordResetConfirmView
from django.db import transaction
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from archive.audit import Subject, changes_of, of_user, record
from archive.context import Context, context_of
from archive.models import Profile
from awportal.listing import page_of
from awportal.models import ApiToken
from awportal.people import accounts
from awportal.people.accounts import AccountChange
from awportal.views.errors import refusals_told
from processing_units.frontend.quotas import Share, change_quota, standing
from recipes.errors import UsageError

_CHANGES_SHOWN = 15
LIMITS = (
    ("queued_jobs", "jobs that wait"),
    ("running_jobs", "jobs that run"),
    ("stored_bytes", "files"),
)


class AccountForm(forms.Form):
    """What somebody may do."""

    user_type = forms.TypedChoiceField(
        coerce=int, choices=[(t.value, f"{t.value}: {t.label}") for t in Profile.UserType]
    )
    role = forms.ChoiceField(choices=[(role, role) for role in accounts.ROLES])

    @property
    def change(self) -> AccountChange:
        """What the form says, once it is valid."""
        return AccountChange(self.cleaned_data["user_type"], self.cleaned_data["role"])


class NewAccountForm(AccountForm):
    """Somebody new."""

    name = forms.CharField(max_length=150, label="Log-in name", help_text="letters, digits and @ . + - _")
    field_order = ("name", "user_type", "role")


class ChoosePassword(PasswordResetConfirmView):
    """Where somebody comes by a link that an administrator made: one chooses a password, and the link is void."""

    template_name = "choose_password.html"
    success_url = reverse_lazy("login")
    title = "Choose a password"

    def form_valid(self, form: forms.Form) -> HttpResponse:
        """Keep the password, and write down that it was chosen."""
        with transaction.atomic():
            answer = super().form_valid(form)  # type: ignore[arg-type]
            record(self.user, of_user(self.user, "password", "", "chosen by the link"))
        messages.success(self.request, f"Your password is set. Log in as {self.user.get_username()}.")
        return answer


@login_required
@require_safe
@never_cache
@refusals_told
def people(request: HttpRequest) -> HttpResponse:
    """List who has an account."""
    context = context_of(request.user)
    found = accounts.people(context)
    wanted = request.GET.get("name", "").replace("\0", "").strip()[:150]
    if wanted:
        found = found.filter(
            Q(username__icontains=wanted) | Q(first_name__icontains=wanted) | Q(last_name__icontains=wanted)
        )
    found = found.annotate(projects=Count("memberships", distinct=True), token_used=Max("api_tokens__last_used"))
    page = page_of(found, request.GET.get("page"))
    for row in page.rows:
        row.role_word = accounts.role_of(row)
    return render(request, "people.html", {"page": page, "wanted": wanted, "form": _new_form()})


@login_required
@require_POST
@never_cache
@refusals_told
def new_person(request: HttpRequest) -> HttpResponse:
    """Make an account, and show the link to choose its password this once."""
    context = context_of(request.user)
    accounts.require_administrator(context)
    form = NewAccountForm(request.POST)
    if form.is_valid():
        try:
            user, way = accounts.make_person(form.cleaned_data["name"], form.change, context)
        except UsageError as refused:
            form.add_error("name", f"{refused.message}: {refused.hint}")
        else:
            return _page(request, user, context, link=way)
    page = page_of(accounts.people(context), None)
    return render(request, "people.html", {"page": page, "wanted": "", "form": form}, status=422)


@login_required
@require_safe
@never_cache
@refusals_told
def person(request: HttpRequest, pk: int) -> HttpResponse:
    """Show somebody: what they may do, have and use, and what was changed of their account."""
    context = context_of(request.user)
    return _page(request, accounts.find_person(pk, context), context)


@login_required
@require_POST
@refusals_told
def change_person(request: HttpRequest, pk: int) -> HttpResponse:
    """Change type and role, or whether they may log in."""
    context = context_of(request.user)
    user = accounts.find_person(pk, context)
    active = {"yes": True, "no": False}.get(request.POST.get("active", ""))
    if active is not None:
        accounts.change_person(user, AccountChange(is_active=active), context)
        messages.success(request, f"{user} may log in again." if active else f"{user} is deactivated and logged out.")
        return redirect("person", user.pk)
    form = AccountForm(request.POST)
    if not form.is_valid():
        raise UsageError("there is no such type or role", hint="choose one of those offered")
    accounts.change_person(user, form.change, context)
    messages.success(request, "Saved.")
    return redirect("person", user.pk)


@login_required
@require_POST
@never_cache
@refusals_told
def person_link(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a link to choose a password, and show it this once."""
    context = context_of(request.user)
    user = accounts.find_person(pk, context)
    return _page(request, user, context, link=accounts.password_link(user, context))


@login_required
@require_POST
@refusals_told
def sign_out(request: HttpRequest, pk: int) -> HttpResponse:
    """End somebody's sessions, and their tokens where that is ticked."""
    context = context_of(request.user)
    user = accounts.find_person(pk, context)
    sessions, tokens = accounts.sign_out(user, context, with_tokens=bool(request.POST.get("tokens")))
    messages.success(request, f"Ended: {sessions} session{'s' * (sessions != 1)}, {tokens} token{'s' * (tokens != 1)}.")
    return redirect("person", user.pk)


@login_required
@require_POST
@refusals_told
def person_quota(request: HttpRequest, pk: int) -> HttpResponse:
    """Give somebody limits of their own."""
    context = context_of(request.user)
    user = accounts.find_person(pk, context)
    given = {name: request.POST.get(name, "").strip()[:40] or "default" for name, _ in LIMITS}
    change_quota(user, given, context)
    messages.success(request, "The limits were saved; they hold from now on.")
    return redirect("person", user.pk)


def _page(request: HttpRequest, user: User, context: Context, link: str = "") -> HttpResponse:
    profile = Profile.objects.filter(user=user).first()
    start = {"user_type": profile.user_type if profile else 1, "role": accounts.role_of(user)}
    stands = standing(user)
    page = {
        "person": user,
        "profile": profile,
        "role": start["role"],
        "form": AccountForm(initial=start),
        "link": settings.BASE_URL + link if link else "",
        "limits": [(name, words, getattr(stands, name), _typed(getattr(stands, name))) for name, words in LIMITS],
        "memberships": user.memberships.select_related("project").order_by("project__name"),
        "tokens": ApiToken.objects.filter(user=user, revoked__isnull=True).order_by("-created"),
        "sessions": len(accounts.sessions_of(user)),
        "changes": list(changes_of(Subject.USER, user.pk).order_by("-pk")[:_CHANGES_SHOWN]),
        "is_self": context.user == user,
    }
    return render(request, "person.html", page)


def _typed(share: Share) -> str:
    """Return a limit as it would be typed; "" for the settings' own."""
    return str(share.limit) if share.is_own else ""


def _new_form() -> NewAccountForm:
    return NewAccountForm(initial={"user_type": Profile.UserType.STANDARD, "role": "user"})
