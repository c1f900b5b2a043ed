"""Accounts: made by administrators, with a link that is good once; type, role, limits, sessions and tokens ended."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from archive.context import context_of
from archive.models import Change, Profile
from awportal.models import ApiToken
from awportal.people.accounts import AccountChange, change_person
from awportal.tokens import make_token
from processing_units.frontend.models import Quota
from processing_units.frontend.refusals import NotAllowed

Browser = Callable[[User | None], Client]
PASSWORD = "a long sentence indeed"


@pytest.fixture
def root(db: None) -> User:
    """An administrator."""
    return User.objects.create_superuser("root")


def link_in(page: str) -> str:
    found = re.search(r'<code id="link">http://127.0.0.1:8000(/welcome/[^<]+)</code>', page)
    assert found
    return found[1]


def test_somebody_new_chooses_a_password_by_a_link_that_is_good_once(root: User, browser_of: Browser) -> None:
    form = {"name": "cleo", "user_type": "3", "role": "user"}
    answer = browser_of(root).post("/people/new/", form)
    way = link_in(answer.content.decode())
    assert "no-store" in answer["Cache-Control"]
    cleo = User.objects.get(username="cleo")
    assert not cleo.has_usable_password()
    assert cleo.profile.user_type == Profile.UserType.SHIPS_CODE
    hers = Client()
    page = hers.get(way, follow=True)
    assert way.rsplit("/", 2)[1] not in page.redirect_chain[-1][0], "the token goes out of the address"
    here = page.redirect_chain[-1][0]
    assert hers.post(here, {"new_password1": "short", "new_password2": "short"}).status_code == 200
    done = hers.post(here, {"new_password1": PASSWORD, "new_password2": PASSWORD})
    assert (done.status_code, done["Location"]) == (302, "/login/")
    assert "This link is void" in Client().get(way, follow=True).content.decode()
    assert hers.post("/login/", {"username": "cleo", "password": PASSWORD}).status_code == 302
    told = list(Change.objects.filter(subject_name="cleo").order_by("pk").values_list("who", "what", "value_after"))
    assert told == [
        ("root", "account", "made"),
        ("root", "user type", "3"),
        ("cleo", "password", "chosen by the link"),
        ("cleo", "log-in", "from 127.0.0.1"),
    ]


def test_a_name_that_cannot_be_is_refused_in_the_form(root: User, anna: User, browser_of: Browser) -> None:
    for name in ("Anna", "a b", "x" * 151):
        answer = browser_of(root).post("/people/new/", {"name": name, "user_type": "1", "role": "user"})
        assert answer.status_code == 422
        assert "errorlist" in answer.content.decode()
    assert User.objects.count() == 2


def test_type_role_and_limits_are_changed_and_hold(root: User, anna: User, browser_of: Browser) -> None:
    browser, page = browser_of(root), f"/people/{anna.pk}/"
    browser.post(f"{page}change/", {"user_type": "4", "role": "process manager"})
    anna.refresh_from_db()
    assert (anna.is_staff, anna.is_superuser, Profile.objects.get(user=anna).user_type) == (True, False, 4)
    browser.post(f"{page}limits/", {"queued_jobs": "7", "running_jobs": "", "stored_bytes": "2G"})
    kept = Quota.objects.get(user=anna)
    assert (kept.queued_jobs, kept.running_jobs, kept.stored_bytes) == (7, None, 2 * 10**9)
    assert browser.post(f"{page}limits/", {"queued_jobs": "many"}).status_code == 422
    seen = browser.get(page).content.decode()
    assert "process manager" in seen
    assert 'value="2000000000"' in seen
    told = set(Change.objects.filter(subject_number=anna.pk, who="root").values_list("what", "value_after"))
    assert {
        ("user type", "4"),
        ("role", "process manager"),
        ("queued jobs", "7"),
        ("stored bytes", "2000000000"),
    } == told


def test_who_is_deactivated_is_out_at_once(root: User, anna: User, browser_of: Browser) -> None:
    hers = browser_of(anna)
    _, text = make_token(anna, "laptop")
    browser_of(root).post(f"/people/{anna.pk}/change/", {"active": "no"})
    assert hers.get("/account/").status_code == 302
    assert Client().get("/api/v1/whoami", headers={"Authorization": f"Bearer {text}"}).status_code == 401
    assert "deactivated" in browser_of(root).get("/people/").content.decode()
    browser_of(root).post(f"/people/{anna.pk}/change/", {"active": "yes"})
    assert hers.get("/account/").status_code == 302, "the old session does not come back"


def test_sessions_and_tokens_end(root: User, anna: User, ben: User, browser_of: Browser) -> None:
    hers, his = [browser_of(anna), browser_of(anna)], browser_of(ben)
    make_token(anna, "laptop")
    browser_of(root).post(f"/people/{anna.pk}/sign-out/")
    assert [browser.get("/account/").status_code for browser in (*hers, his)] == [302, 302, 200]
    assert ApiToken.objects.filter(revoked__isnull=True).count() == 1
    browser_of(root).post(f"/people/{anna.pk}/sign-out/", {"tokens": "1"})
    assert not ApiToken.objects.filter(revoked__isnull=True).exists()


def test_one_administrator_is_always_left(root: User) -> None:
    for change in (AccountChange(is_active=False), AccountChange(role="user")):
        with pytest.raises(NotAllowed, match="their own role"):
            change_person(root, change, context_of(root))
    change_person(root, AccountChange(user_type=4, role="administrator"), context_of(root))


def test_a_token_opens_what_its_scope_says(anna: User) -> None:
    def ask(scope: str, method: str, path: str) -> int:
        _, text = make_token(anna, scope, scope)
        headers = {"Authorization": f"Bearer {text}"}
        return Client().generic(method, f"/api/v1{path}", "{}", "application/json", headers=headers).status_code

    for scope in ("read", "work", "all"):
        assert ask(scope, "GET", "/whoami") == 200
    # 403 is the scope's no; anything else is the operation's own word to an empty request.
    assert ask("read", "POST", "/runs") == 403
    assert ask("work", "POST", "/runs") == 400
    for path in ("/tokens", "/products/publish", "/units/local/cancel", "/quota/anna", "/projects/x/join"):
        assert ask("work", "POST", path) == 403
    assert ask("all", "POST", "/tokens") == 400
    assert ask("work", "DELETE", "/tokens/1") == 403
