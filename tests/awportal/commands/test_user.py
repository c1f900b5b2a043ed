"""`manage.py user` makes people with a type and a place in projects."""

from __future__ import annotations

import io

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import RequestFactory

from archive.context import is_manager
from archive.models import Profile, Project

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("user", *arguments, stdout=output)
    return output.getvalue()


def test_a_new_user_logs_in_with_the_password_that_was_shown() -> None:
    said = run("create", "anna", "--type", "3", "--project", "M13 survey")
    password = said.rsplit(" ", 1)[1].strip()
    assert authenticate(RequestFactory().get("/"), username="anna", password=password) is not None
    profile = Profile.objects.get(user__username="anna")
    assert (profile.user_type, str(profile.project)) == (3, "M13 survey")
    assert run("list") == "anna · type 3 · M13 survey\n"


def test_a_user_is_changed() -> None:
    run("create", "ben")
    assert run("set", "ben", "--type", "1", "--administrator", "yes", "--project", "deep", "--project-manager") == (
        "ben · type 1 · administrator · deep (manager)\n"
    )
    user = User.objects.get(username="ben")
    assert is_manager(user, Project.objects.get())
    assert run("set", "ben", "--administrator", "no") == "ben · type 1 · deep (manager)\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "nobody"), "there is no user 'nobody'"),
        (("create", "anna", "--project-manager"), "goes with --project"),
        (("create", "anna", "--type", "5"), "invalid choice"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*arguments)


def test_a_name_is_taken_once() -> None:
    run("create", "anna")
    with pytest.raises(CommandError, match="there is a user anna already"):
        run("create", "anna")


def test_a_process_manager_and_limits() -> None:
    run("create", "ben")
    assert run("set", "ben", "--process-manager", "yes", "--queued-jobs", "50", "--stored-bytes", "2G") == (
        "ben · type 2 · process manager\n"
    )
    user = User.objects.get(username="ben")
    assert (user.is_staff, user.is_superuser) == (True, False)
    assert (user.quota.queued_jobs, user.quota.running_jobs, user.quota.stored_bytes) == (50, None, 2 * 10**9)
    with pytest.raises(CommandError, match="'many' is no number"):
        run("set", "ben", "--running-jobs", "many")
