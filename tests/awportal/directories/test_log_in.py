"""Log-in with a directory's password and by an OpenID provider, against real servers of both."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.awportal.directories.conftest import PASSWORD, TREE, Portal, portal_environment
from tests.programs import IN_CI

pytestmark = [
    pytest.mark.skipif(
        find_spec("ldap") is None and not IN_CI, reason="python-ldap is missing: pip install -r requirements-ldap.txt"
    ),
    pytest.mark.processes,
    pytest.mark.program("slapd", "slapd"),
    pytest.mark.program("slapadd", "slapd"),
]

# Who somebody is: full name, type, where from, staff, whether the password is unusable, project.
TELL = """
    SELECT first_name || ' ' || last_name, user_type, directory, is_staff, substr(password, 1, 1), archive_project.name
    FROM auth_user JOIN archive_profile ON archive_profile.user_id = auth_user.id
    JOIN archive_membership ON archive_membership.user_id = auth_user.id
    JOIN archive_project ON archive_project.id = archive_membership.project_id WHERE username = '{name}'
"""


def browser(portal: Portal) -> httpx.Client:
    return httpx.Client(base_url=portal.url, follow_redirects=True, timeout=240)


def log_in(client: httpx.Client, name: str, password: str) -> httpx.Response:
    client.get("/login/")
    form = {"username": name, "password": password, "csrfmiddlewaretoken": client.cookies["awportal_csrf"]}
    return client.post("/login/", data=form)


def by_provider(client: httpx.Client, sub: str, action: str = "authorize") -> httpx.Response:
    """Follow the link of the log-in page to the provider, say there who one is, and come back."""
    page = client.get("/login/?next=/projects/")
    link = re.search(r'id="single-sign-on" href="([^"]+)"', page.text)
    assert link
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    there = client.get(link[1])
    assert "code_challenge=" in str(there.url), "the code is bound to who asked for it (PKCE)"
    return client.post(str(there.url), data={"sub": sub, "action": action})


def who_is(client: httpx.Client) -> str:
    found = re.search(r"account <b>([^<]+)</b>", client.get("/account/").text)
    return found[1] if found else ""


def test_a_directory_s_password_opens_an_account_of_the_narrowest_type(portal: Portal) -> None:
    with browser(portal) as client:
        assert log_in(client, "lena", PASSWORD).status_code == 200
        assert who_is(client) == "lena"
        assert "your password is changed there" in client.get("/account/").text
    assert portal.ask(TELL.format(name="lena")) == [("Lena Virtanen", 1, "ldap", 0, "!", "M13 survey")]
    with browser(portal) as client:
        log_in(client, "LENA", PASSWORD)
        assert who_is(client) == "lena", "the directory does not tell the case of letters apart"
    changes = portal.ask("SELECT who FROM archive_change WHERE what = 'role of lena'")
    assert changes == [("ldap, group globulars",)], "a group places once"


def test_a_wrong_or_an_empty_password_opens_nothing_and_is_throttled(portal: Portal) -> None:
    with browser(portal) as client:
        for password in ("", "wrong"):
            log_in(client, "lena", password)
            assert who_is(client) == ""
        log_in(client, "lena*", "wrong")
        # Nine more are not typed, each takes the time of a password's check.
        portal.ask("UPDATE axes_accessattempt SET failures_since_start = 9 WHERE username = 'lena*'")
        refused = log_in(client, "lena*", "wrong")
        assert refused.status_code == 429
        assert "Too many attempts" in refused.text


def test_nobody_of_a_directory_becomes_somebody_who_was_made_here(portal: Portal) -> None:
    with browser(portal) as client:
        log_in(client, "anna", PASSWORD)  # right in the directory, where another Anna is
        assert who_is(client) == ""
        log_in(client, "anna", PASSWORD + "!")
        assert who_is(client) == "anna"
    with browser(portal) as client:
        assert by_provider(client, "0043").status_code == 200
        assert who_is(client) not in {"", "anna"}
    assert portal.ask("SELECT email FROM auth_user WHERE username = 'anna'") == [("",)]


def test_the_provider_s_word_logs_in_and_its_groups_place(portal: Portal) -> None:
    with browser(portal) as client:
        came = by_provider(client, "0042")
        assert str(came.url) == f"{portal.url}/projects/"
        assert who_is(client) == "mika"
    with browser(portal) as client:
        by_provider(client, "0042")
        assert who_is(client) == "mika"
    assert portal.ask(TELL.format(name="mika")) == [("Mika Laine", 1, "openid", 0, "!", "M13 survey")]


def test_who_is_deactivated_or_says_no_stays_outside(portal: Portal) -> None:
    with browser(portal) as client:
        denied = by_provider(client, "0042", "deny")
        assert (denied.status_code, who_is(client)) == (401, "")
        by_provider(client, "0042")
        portal.ask("UPDATE auth_user SET is_active = 0 WHERE username = 'mika'")
        assert who_is(client) == ""
    with browser(portal) as client:
        refused = by_provider(client, "0042")
        assert (refused.status_code, "is deactivated" in refused.text) == (403, True)
        assert who_is(client) == ""


def test_nothing_else_of_allauth_is_served_and_what_is_forged_is_refused(portal: Portal) -> None:
    with browser(portal) as client:
        for path in ("/accounts/login/", "/accounts/signup/", "/oidc/sso/", "/oidc/other/login/", "/connections/"):
            assert client.get(path).status_code == 404
        forged = client.get("/oidc/sso/login/callback/?code=x&state=forged")
        assert (forged.status_code, "You are not logged in" in forged.text) == (401, True)


def test_while_both_are_away_accounts_made_here_go_on(portal: Portal) -> None:
    for server in (portal.directory, portal.provider):
        server.terminate()
        server.wait(30)
    with browser(portal) as client:
        assert log_in(client, "lena", PASSWORD).status_code == 200
        assert who_is(client) == ""
        link = client.get("/oidc/sso/login/")
        assert (link.status_code, "You are not logged in" in link.text) == (503, True)
        log_in(client, "anna", PASSWORD + "!")
        assert who_is(client) == "anna"


def test_the_settings_are_checked_as_strictly_with_both(tmp_path: Path) -> None:
    environment = portal_environment(tmp_path, 1, 2, 3) | {"AWPORTAL_BASE_URL": "https://portal.example"}
    # What is set wrongly is told before Django has begun.
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]

    def check(**more: str) -> tuple[int, str]:
        given = environment | {f"AWPORTAL_{name}": value for name, value in more.items()}
        done = subprocess.run(command, cwd=TREE, env=given, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    code, told = check()
    assert code == 0, told
    code, told = check(LDAP_URL="ldap://directory.example")
    assert (code, "in the clear" in told) == (1, True)
    os.chmod(tmp_path / "secrets" / "ldap", 0o644)
    code, told = check()
    assert (code, "chmod 600" in told) == (1, True)
