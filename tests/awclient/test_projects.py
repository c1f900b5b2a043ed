"""`awrecipe projects` against the portal itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from archive.context import is_manager, is_member
from archive.models import Membership, Project
from awportal.models import JoinRequest
from awportal.tokens import make_token


@pytest.mark.django_db(transaction=True)
def test_from_asking_to_leaving(awrecipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = User.objects.get()
    boss = User.objects.create_user("boss")
    project = Project.objects.create(name="M13 survey", description="A globular cluster")
    Membership.objects.create(project=project, user=boss, is_manager=True)
    listed = json.loads(awrecipe("projects", "--json")[1])
    assert [(entry["name"], entry["role"], entry["members"]) for entry in listed] == [("M13 survey", "", 1)]
    assert "its managers: boss" in awrecipe("projects", "show", "M13 survey")[2]
    assert awrecipe("projects", "join", "M13 survey", "--words", "spectra") == (
        0, "", "you asked to join M13 survey; its managers see it on their pages\n",
    )  # fmt: skip
    assert "asking" in awrecipe("projects")[1]
    assert awrecipe("projects", "withdraw", "M13 survey")[0] == 0
    assert not JoinRequest.objects.exists()
    awrecipe("projects", "join", "M13 survey", "--words", "spectra")
    code, _, said = awrecipe("projects", "answer", "M13 survey", asking.username, "yes")
    assert (code, "only a manager" in said) == (3, True)
    code, _, said = awrecipe("projects", "new", "mine")
    assert (code, "may not make projects" in said) == (3, True)
    for wrong in (("show", "nowhere"), ("answer", "M13 survey", "x", "perhaps"), ("role", "M13 survey", "x", "king")):
        assert awrecipe("projects", *wrong)[0] == 2

    _, text = make_token(boss, "theirs")
    monkeypatch.setenv("AWPORTAL_TOKEN", text)
    assert f"{asking.username} asks to join: spectra" in awrecipe("projects", "show", "M13 survey")[2]
    assert awrecipe("projects", "answer", "M13 survey", asking.username, "yes")[0] == 0
    assert is_member(asking, project)
    assert awrecipe("projects", "role", "M13 survey", asking.username, "manager")[0] == 0
    assert is_manager(asking, project)
    code, shown, _ = awrecipe("projects", "show", "M13 survey")
    assert (code, shown.count("manager")) == (0, 2)
    assert awrecipe("projects", "leave", "M13 survey") == (0, "", "you left M13 survey\n")
    assert not is_member(boss, project)
    code, _, said = awrecipe("projects", "role", "M13 survey", asking.username, "member")
    assert (code, "only a manager" in said) == (3, True)


@pytest.mark.django_db(transaction=True)
def test_who_leaves_an_unlisted_project_knows_of_it_no_more(awrecipe: Any) -> None:
    user = User.objects.get()
    User.objects.update(is_superuser=True)
    assert awrecipe("projects", "new", "quiet one", "--unlisted", "--description", "ours")[0] == 0
    project = Project.objects.get(name="quiet one")
    assert (project.is_listed, is_manager(user, project)) == (False, True)
    User.objects.update(is_superuser=False)
    assert awrecipe("projects", "leave", "quiet one")[0] == 0
    assert json.loads(awrecipe("projects", "--json")[1]) == []
    assert awrecipe("projects", "show", "quiet one")[0] == 2
