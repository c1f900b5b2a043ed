"""Who changed what: the log of changes, with filters."""

from __future__ import annotations

import datetime

from django import forms
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from archive.audit import Subject, readable_changes
from archive.context import context_of
from archive.models import Change
from awportal.listing import page_of


class ChangeFilters(forms.Form):
    """Which changes are shown; what is empty does not filter."""

    who = forms.CharField(required=False, max_length=150, label="who")
    subject = forms.ChoiceField(
        required=False, label="of what", choices=[("", "anything"), *((each.value, each.label) for each in Subject)]
    )
    name = forms.CharField(required=False, max_length=200, label="its name")
    what = forms.CharField(required=False, max_length=40, label="what")
    project = forms.CharField(required=False, max_length=100, label="project")
    since = forms.DateField(required=False, label="from the day", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="to the day", widget=forms.DateInput(attrs={"type": "date"}))


@login_required
@require_safe
@never_cache
def changes(request: HttpRequest) -> HttpResponse:
    """List the changes that one may read."""
    form = ChangeFilters(request.GET, label_suffix="")
    found = readable_changes(context_of(request.user))
    # What cannot be understood is told beside its field; nothing is shown as if it had been filtered.
    found = _filtered(found, form) if form.is_valid() else found.none()
    return render(request, "changes.html", {"form": form, "page": page_of(found, request.GET.get("page"))})


def _filtered(found: QuerySet[Change], form: ChangeFilters) -> QuerySet[Change]:
    given = {name: value for name, value in form.cleaned_data.items() if value}
    since, until = given.pop("since", None), given.pop("until", None)
    if since:
        found = found.filter(made__gte=datetime.datetime.combine(since, datetime.time.min, datetime.UTC))
    if until:
        found = found.filter(made__lte=datetime.datetime.combine(until, datetime.time.max, datetime.UTC))
    if "project" in given:
        found = found.filter(project__name=given.pop("project"))
    columns = {"who": "who", "subject": "subject", "name": "subject_name__icontains", "what": "what__icontains"}
    return found.filter(**{columns[name]: value for name, value in given.items()})
