"""The log of changes: what is written in it, what never is, and who reads which part."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from archive.audit import of_product, readable_changes, record
from archive.context import context_of
from archive.models import Change, Membership, Privilege, Product, Project
from archive.timestamps import set_timestamps
from awportal.people.log_ins import UNKNOWN
from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.publishing import publish
from processing_units.frontend.unit_changes import change_unit

Browser = Callable[[User | None], Client]


@pytest.fixture
def root(db: None) -> User:
    """An administrator."""
    return User.objects.create_superuser("root")


def shown(browser: Client, query: str = "") -> str:
    return browser.get(f"/changes/?{query}").content.decode()


def test_everything_people_decide_stands_in_one_log(
    anna: User, staff: User, root: User, private: Product, unit: ProcessingUnit, browser_of: Browser,
    make_product: Callable[..., Product],
) -> None:  # fmt: skip
    hers = browser_of(anna)
    hers.post(f"/products/{private.pk}/verdict/", {"is_valid": "1"})
    hers.post(f"/products/{private.pk}/verdict/", {"is_valid": "1"})  # nothing changes the second time
    set_timestamps(context_of(anna), make_product(kind="BiasFrame", name="bias.fits"), "2026-03-01", "")
    publish([private.pk], Privilege.ALL_USERS, context_of(anna))
    change_unit(unit, {"slots": "9"}, context_of(staff))
    hers.post("/account/tokens/", {"label": "night script", "scope": "read"})
    told = Change.objects.exclude(what="log-in").order_by("pk")
    assert list(told.values_list("who", "subject", "subject_name", "what", "value_before", "value_after")) == [
        ("anna", "product", "private_frame.fits", "verdict", "proposed", "good"),
        ("anna", "product", "bias.fits", "timestamps", "open to open", "2026-03-01 12:00:00 to open"),
        ("anna", "product", "private_frame.fits", "privilege", "1", "3"),
        ("staff", "unit", "local", "slots", "2", "9"),
        ("anna", "user", "anna", "token", "", "night script (read)"),
    ]
    page = shown(browser_of(root))
    assert "MyDB → <b>all users" in page
    assert "night script (read)" in page


def test_refused_log_ins_are_told_without_what_was_typed(anna: User, root: User, browser_of: Browser) -> None:
    browser = Client()
    for name in ("anna", "anna", "hunter2 my password", "another secret"):
        browser.post("/login/", {"username": name, "password": "wrong sentence here"})
    told = Change.objects.filter(what="log-in refused").order_by("pk")
    assert list(told.values_list("who", "subject_name", "value_after")) == [
        ("anna", "anna", "from 127.0.0.1"),  # one line a minute, however often
        (UNKNOWN, UNKNOWN, "from 127.0.0.1"),
    ]
    page = shown(browser_of(root), "what=log-in")
    assert "hunter2" not in page
    assert "wrong sentence" not in page


def test_a_lock_is_told(anna: User) -> None:
    browser = Client()
    for _ in range(11):
        browser.post("/login/", {"username": "anna", "password": "wrong"})
    assert Change.objects.filter(what="log-ins locked", subject_name="anna").count() == 1


def test_each_reads_what_concerns_them(
    anna: User, ben: User, staff: User, root: User, unit: ProcessingUnit, make_product: Callable[..., Product],
    browser_of: Browser,
) -> None:  # fmt: skip
    ours, theirs = Project.objects.create(name="ours"), Project.objects.create(name="theirs")
    Membership.objects.create(project=ours, user=ben, is_manager=True)
    for project, level, name in (
        (ours, Privilege.PROJECT, "shared"), (ours, Privilege.MYDB, "hidden"), (theirs, Privilege.PROJECT, "foreign"),
    ):  # fmt: skip
        product = make_product(project=project, privilege=level, name=f"{name}.fits")
        record(anna, of_product(product, "verdict", "proposed", "bad"))
    change_unit(unit, {"slots": "9"}, context_of(root))

    def names(user: User) -> set[str]:
        return set(readable_changes(context_of(user)).exclude(what="log-in").values_list("subject_name", flat=True))

    assert names(ben) == {"shared.fits"}, "a project manager reads the project's, and nothing of MyDB"
    assert names(staff) == {"local"}
    assert names(anna) == {"shared.fits", "hidden.fits", "foreign.fits"}, "what one did oneself"
    assert names(root) == {"shared.fits", "hidden.fits", "foreign.fits", "local"}
    assert "foreign.fits" not in shown(browser_of(ben))


def test_filters_and_pages(root: User, anna: User, browser_of: Browser, make_product: Callable[..., Product]) -> None:
    product = make_product(name="many.fits")
    record(anna, *(of_product(product, "verdict", "proposed", f"number {n:03d}.") for n in range(60)))
    browser = browser_of(root)
    first, second = shown(browser, "who=anna&subject=product"), shown(browser, "who=anna&subject=product&page=2")
    assert "number 059." in first
    assert "number 000." not in first
    assert "number 000." in second
    assert "No change fits" in shown(browser, "who=nobody")
    assert "number 059." in shown(browser, "name=many&until=9999-12-31&since=0001-01-01")
    assert "number 059." not in shown(browser, "until=2001-01-01")
    for wrong in ("since=yesterday", "subject=moon", "who=a%00b"):
        page = browser.get(f"/changes/?{wrong}")
        assert page.status_code == 200
        assert "number 059." not in page.content.decode()
