"""One's account: password, tokens of the command line, and the context in which one works."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlencode, urlsplit

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import LoginView
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from archive.audit import of_user, record
from archive.context import context_of
from archive.models import Privilege, Profile, Project
from awportal.environment import keep_environment, settings_of
from awportal.models import ApiToken, KeptEnvironment
from awportal.tokens import make_token, revoke_token
from processing_units.frontend.quotas import standing
from recipes.errors import UsageError

MAXIMUM_TOKENS = 50


class TokenForm(forms.Form):
    """What a new token is for."""

    label = forms.CharField(max_length=100, label="What it is for", help_text="e.g. laptop, night script")
    scope = forms.ChoiceField(label="What it opens", choices=ApiToken.Scope.choices, initial=ApiToken.Scope.EVERYTHING)


class ContextForm(forms.Form):
    """The project one works in, and who sees what one makes."""

    project = forms.ModelChoiceField(Project.objects.none(), required=False, empty_label="none")
    privilege = forms.TypedChoiceField(
        coerce=int,
        label="Results are seen by",
        choices=[(level.value, level.label) for level in Privilege if level <= Privilege.ALL_USERS],
    )

    def __init__(self, *args: object, user: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["project"].queryset = Project.objects.filter(memberships__user=user).order_by("name")

    def clean(self) -> dict[str, object]:
        """Results cannot go to a project where none is chosen."""
        cleaned: dict[str, object] = super().clean() or {}
        if cleaned.get("privilege") == Privilege.PROJECT and not cleaned.get("project"):
            self.add_error("privilege", "choose a project, or let results go to MyDB")
        return cleaned


class LogIn(LoginView):
    """The log-in; a part of a page that asks after its session has ended sends the whole page here."""

    extra_context: ClassVar = {"single_sign_on": settings.OIDC_NAME if settings.OIDC_URL else ""}

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """Answer; what htmx asked for must not be swapped for a form inside the page."""
        if request.htmx and request.method == "GET":  # type: ignore[attr-defined]
            query = urlencode({"next": urlsplit(request.htmx.current_url or "/").path})  # type: ignore[attr-defined]
            return HttpResponseClientRedirect(f"{request.path}?{query}")
        return super().dispatch(request, *args, **kwargs)  # type: ignore[return-value]


@login_required
@require_safe
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """Show the account."""
    return _page(request)


@login_required
@require_POST
@sensitive_post_parameters()
def change_password(request: HttpRequest) -> HttpResponse:
    """Change the password; this session stays, all others end."""
    form = PasswordChangeForm(request.user, request.POST)
    if not form.is_valid():
        return _page(request, status=422, password_form=form)
    with transaction.atomic():
        update_session_auth_hash(request, form.save())
        record(request.user, of_user(request.user, "password", "", "changed"))  # type: ignore[arg-type]
    messages.success(request, "The password was changed. Other browsers where you were logged in are logged out.")
    return redirect("account")


@login_required
@require_POST
@never_cache
def new_token(request: HttpRequest) -> HttpResponse:
    """Make a token and show it this once."""
    form = TokenForm(request.POST)
    if ApiToken.objects.filter(user=request.user, revoked__isnull=True).count() >= MAXIMUM_TOKENS:
        form.add_error("label", f"you have {MAXIMUM_TOKENS} tokens already: revoke one first")
    if not form.is_valid():
        return _page(request, status=422, token_form=form)
    _, text = make_token(request.user, form.cleaned_data["label"], form.cleaned_data["scope"])  # type: ignore[arg-type]
    return _page(request, new_token=text)


@login_required
@require_POST
def end_token(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke one of one's own tokens."""
    token = get_object_or_404(ApiToken, pk=pk, user=request.user)
    revoke_token(token)
    messages.success(request, f"The token “{token.label}” was revoked.")
    return redirect("account")


@login_required
@require_POST
def change_context(request: HttpRequest) -> HttpResponse:
    """Change the project and privilege level in which one works."""
    form = ContextForm(request.POST, user=request.user)
    if not form.is_valid():
        return _page(request, status=422, context_form=form)
    profile, _ = Profile.objects.get_or_create(user=request.user)
    profile.project, profile.privilege = form.cleaned_data["project"], form.cleaned_data["privilege"]
    profile.save(update_fields=["project", "privilege"])
    messages.success(request, "Your context was changed; it holds for what you make from now on.")
    return redirect("account")


@login_required
@require_POST
def bring_environment(request: HttpRequest) -> HttpResponse:
    """Keep what an uploaded Environment.cfg says, for the runs of the web."""
    upload = request.FILES.get("file")
    try:
        if not isinstance(upload, UploadedFile) or upload.file is None:
            raise UsageError("no file was chosen", hint="choose your Environment.cfg")
        keep_environment(upload.file, context_of(request.user))  # type: ignore[arg-type]
    except UsageError as refused:
        return _page(request, status=422, environment_problem=refused)
    messages.success(request, "Your Environment.cfg is in force for what you run here from now on.")
    return redirect("account")


@login_required
@require_POST
def remove_environment(request: HttpRequest) -> HttpResponse:
    """Forget one's Environment.cfg."""
    KeptEnvironment.objects.filter(user=request.user).delete()
    messages.success(request, "Your Environment.cfg is gone; runs that used it keep what it said.")
    return redirect("account")


def _page(request: HttpRequest, status: int = 200, **more: object) -> HttpResponse:
    profile = Profile.objects.filter(user=request.user).first()
    start = {"project": profile.project, "privilege": profile.privilege} if profile else {}
    password_form = PasswordChangeForm(request.user)
    password_form.fields["old_password"].widget.attrs.pop("autofocus", None)  # it is not the first thing on this page
    environment = KeptEnvironment.objects.filter(user=request.user).first()
    context = {
        "environment": environment,
        "settings": settings_of(environment.entries) if environment else [],
        "tokens": ApiToken.objects.filter(user=request.user, revoked__isnull=True).order_by("-created"),
        "password_form": password_form,
        "token_form": TokenForm(),
        "context_form": ContextForm(initial=start, user=request.user),
        "profile": profile,
        "standing": standing(request.user),  # type: ignore[arg-type] - who gets here is logged in
        **more,
    }
    return render(request, "account.html", context, status=status)
