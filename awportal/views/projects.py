"""Projects: the list, a project's page, asking to join, letting in, roles, leaving."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive.context import Context, context_of
from archive.models import Privilege, Project
from awportal.people import projects as people
from awportal.people.project_page import SHARED_LEVELS, count_anew, listed_rows, look_at_project
from awportal.people.project_publishing import publish_rising, rising
from awportal.views.errors import refusals_told
from processing_units.frontend.permissions import is_administrator
from processing_units.frontend.refusals import NotFound
from recipes.errors import UsageError

# Who sees what is at a level, in the words of the page of projects.
LEVELS = (
    (Privilege.MYDB, "you alone", "where results go unless you say otherwise; results of code of your own always do"),
    (Privilege.PROJECT, "the members of its project", "by who made it, or a manager of the project"),
    (Privilege.ALL_USERS, "everybody with an account here", "by who made it, or a manager of the project"),
    (Privilege.WORLD, "everybody, without an account", "by a manager of the project"),
    (Privilege.VO, "everybody, also through the Virtual Observatory", "by a manager of the project"),
)


class ProjectForm(forms.Form):
    """A new project."""

    name = forms.CharField(max_length=people.LONGEST_NAME, label="Name", help_text="short, as a paper would call it")
    description = forms.CharField(
        max_length=2000, required=False, label="What it is about", widget=forms.Textarea(attrs={"rows": 3})
    )
    manager = forms.CharField(
        max_length=150, required=False, label="Its first manager", help_text="a log-in name; empty: you"
    )
    is_listed = forms.BooleanField(
        required=False, initial=True, label="All users know of it, and may ask to join", label_suffix=""
    )


class AboutForm(ProjectForm):
    """What a project says of itself."""

    name = None  # type: ignore[assignment]
    manager = None  # type: ignore[assignment]


@login_required
@require_safe
@never_cache
def projects(request: HttpRequest) -> HttpResponse:
    """List one's projects, and those that one may ask to join."""
    return _list(request, context_of(request.user))


@login_required
@require_POST
def new_project(request: HttpRequest) -> HttpResponse:
    """Make a project."""
    context = context_of(request.user)
    form = ProjectForm(request.POST)
    if form.is_valid():
        given = form.cleaned_data
        try:
            made = people.make_project(
                given["name"], given["description"], context, is_listed=given["is_listed"], manager=given["manager"]
            )
        except UsageError as refused:
            form.add_error("manager" if isinstance(refused, NotFound) else "name", f"{refused.message}: {refused.hint}")
        else:
            messages.success(request, f"Project {made} was made.")
            return redirect("project", made.pk)
    return _list(request, context, form, 422 if people.may_make_projects(context) else 403)


@login_required
@require_safe
@never_cache
@refusals_told
def project(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a project: to its members whole, to others what it is about."""
    context = context_of(request.user)
    look = look_at_project(_find(pk, context), context)
    about = AboutForm(initial={"description": look.project.description, "is_listed": look.project.is_listed})
    page = {
        "look": look, "about": about, "roles": people.ROLES, "shared_levels": SHARED_LEVELS,
        "is_own": context.project == look.project,
    }  # fmt: skip
    return render(request, "project.html", page)


@login_required
@require_POST
@refusals_told
def change_project(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what a project says of itself."""
    context = context_of(request.user)
    found = _find(pk, context)
    form = AboutForm(request.POST)
    if not form.is_valid():
        raise UsageError("the description is too long", hint="2000 characters at most")
    people.change_project(found, form.cleaned_data["description"], form.cleaned_data["is_listed"], context)
    messages.success(request, "Saved.")
    return redirect("project", found.pk)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@refusals_told
def publish_project(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what of a kind can go up a level, and let it go up."""
    context = context_of(request.user)
    found = _find(pk, context)
    given = request.POST if request.method == "POST" else request.GET
    text = given.get("up_to", "")
    up_to = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
    wanted = rising(found, given.get("kind", ""), given.get("level", ""), context, up_to)
    if request.method != "POST":
        return render(request, "publish_project.html", {"project": found, "wanted": wanted})
    if up_to is None:
        raise UsageError("it was not said up to which product", hint="begin at the table of the project's page")
    number = publish_rising(wanted, context)
    count_anew(found)
    messages.success(request, f"Published: seen by {wanted.seen_by_then} now: {number} {wanted.kind}.")
    return redirect("project", found.pk)


@login_required
@require_POST
@refusals_told
def ask_to_join(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask to be let in, or take that back."""
    context = context_of(request.user)
    found = _find(pk, context)
    if request.POST.get("withdraw"):
        people.withdraw(found, context)
        messages.success(request, f"You no longer ask to join {found}.")
    else:
        people.ask_to_join(found, _text(request, "words"), context)
        messages.success(request, f"You asked to join {found}; its managers see it on their pages.")
    return redirect("project", found.pk)


@login_required
@require_POST
@refusals_told
def answer_request(request: HttpRequest, pk: int) -> HttpResponse:
    """Let somebody in who asked, or not."""
    context = context_of(request.user)
    found = _find(pk, context)
    accept = request.POST.get("answer") == "yes"
    user = people.answer_request(found, _text(request, "user"), accept, _text(request, "words"), context)
    messages.success(request, f"{user} is in {found} now." if accept else f"{user} was not let in, and sees why.")
    return redirect("project", found.pk)


@login_required
@require_POST
@refusals_told
def change_member(request: HttpRequest, pk: int) -> HttpResponse:
    """Let somebody in, change a member's role, or take them out; one takes oneself out by leaving."""
    context = context_of(request.user)
    found = _find(pk, context)
    name, what = _text(request, "user"), request.POST.get("do", "")
    if what == "add":
        people.add_member(found, name, request.POST.get("role", ""), context)
        messages.success(request, f"{name} is in {found} now.")
    elif what == "remove":
        people.remove_member(found, name, context)
        messages.success(request, f"{name} is no longer in {found}; their products stay.")
        if not people.visible_projects(context).filter(pk=found.pk).exists():
            return redirect("projects")
    else:
        people.set_role(found, name, request.POST.get("role", ""), context)
        messages.success(request, f"The role of {name} was changed.")
    return redirect("project", found.pk)


def _list(request: HttpRequest, context: Context, form: ProjectForm | None = None, status: int = 200) -> HttpResponse:
    mine, others = listed_rows(context)
    form = form or ProjectForm()
    if not is_administrator(context):
        form.fields.pop("manager", None)
    page = {
        "mine": mine, "others": others, "levels": LEVELS, "form": form if people.may_make_projects(context) else None,
        "is_administrator": is_administrator(context),
    }  # fmt: skip
    return render(request, "projects.html", page, status=status)


def _find(pk: int, context: Context) -> Project:
    """Return the project, or raise NotFound, which tells nothing of a project that is not listed."""
    found = people.visible_projects(context).filter(pk=min(pk, 2**63 - 1)).first()
    if found is None:
        raise NotFound("there is no such project, or none that you may know of", hint="the page of projects lists them")
    return found


def _text(request: HttpRequest, name: str) -> str:
    return request.POST.get(name, "").replace("\0", "")[:600]
