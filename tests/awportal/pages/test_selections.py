"""Saved selections: kept from the archive page, opened again, shared, used as input; nobody sees more by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from archive.context import VISITOR, Context
from archive.models import Membership, Privilege, Product, Profile, Project, SavedSelection
from archive.saved_selections import find, save
from processing_units.frontend.models import ProcessingUnit
from tests.awportal.pages.test_archive import names_on

Browser = Callable[..., Client]
Make = Callable[..., Product]


@pytest.fixture
def four(make_product: Make, project: Project, anna: User) -> list[Product]:
    """Two biases of Anna's alone, one of her project, one of the world."""
    Membership.objects.create(user=anna, project=project)
    Profile.objects.filter(user=anna).update(project=project)
    return [
        make_product(b"1", name="one.fits"),
        make_product(b"2", name="two.fits", chip="ccd2"),
        make_product(b"3", name="project.fits", project=project, privilege=Privilege.PROJECT),
        make_product(b"4", name="world.fits", privilege=Privilege.WORLD),
    ]


def test_filters_are_saved_opened_renamed_and_removed(
    four: list[Product], anna: User, browser_of: Browser, make_product: Make
) -> None:
    browser = browser_of(anna)
    answer = browser.post(
        "/selections/save/", {"selection_name": "first chip", "what": "filters", "chip": "ccd1", "order": "name"},
        follow=True,
    )  # fmt: skip
    html = answer.content.decode()
    assert "Saved first chip, asked anew: chip ccd1." in html
    saved = SavedSelection.objects.get()
    opened = browser.get(f"/archive/?selection={saved.key}").content.decode()
    assert "first chip (asked anew: chip ccd1)" in opened
    assert set(names_on(opened)) == {"one.fits", "project.fits", "world.fits"}
    make_product(b"5", name="later.fits")
    assert "later.fits" in browser.get(f"/archive/?selection={saved.key}").content.decode(), "they are asked anew"
    browser.post(f"/selections/{saved.pk}/change/", {"name": "chip one", "sharing": "project"})
    assert "chip one" in browser.get("/selections/").content.decode()
    browser.post(f"/selections/{saved.pk}/remove/")
    assert "None yet" in browser.get("/selections/").content.decode()
    gone = browser.get(f"/archive/?selection={saved.key}")
    assert gone.status_code == 422
    assert "there is no selection" in gone.content.decode()


def test_chosen_products_stay_the_same(
    four: list[Product], anna: User, browser_of: Browser, make_product: Make
) -> None:
    browser = browser_of(anna)
    chosen = [product.pk for product in four[:2]]
    html = browser.post(
        "/selections/save/", {"selection_name": "two", "what": "chosen", "product": chosen, "kind": "RawBias"},
        follow=True,
    ).content.decode()  # fmt: skip
    assert "Saved two, fixed: 2 products." in html
    key = SavedSelection.objects.get().key
    make_product(b"5", name="later.fits")
    assert set(names_on(browser.get(f"/archive/?selection={key}").content.decode())) == {"one.fits", "two.fits"}
    narrowed = browser.get(f"/archive/?selection={key}&chip=ccd2").content.decode()
    assert names_on(narrowed) == ["two.fits"], "filters hold within it"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"selection_name": "", "what": "filters", "chip": "ccd1"}, "give it one of 1 to 100 characters"),
        ({"selection_name": "a", "what": "filters"}, "there is nothing to keep"),
        ({"selection_name": "a", "what": "chosen"}, "tick the products"),
        ({"selection_name": "a", "what": "filters", "night": "soon"}, "is not a date"),
        ({"selection_name": "there", "what": "filters", "chip": "ccd1"}, "you keep a selection"),
    ],
)
def test_what_cannot_be_saved_is_told_and_the_filters_stay(
    anna: User, browser_of: Browser, given: dict[str, str], reason: str
) -> None:
    save(Context(anna), "there", {"chip": "ccd1"})
    html = browser_of(anna).post("/selections/save/", given, follow=True).content.decode()
    assert reason in html
    assert SavedSelection.objects.count() == 1


def test_a_shared_selection_shows_each_what_they_may_see(
    four: list[Product], anna: User, ben: User, browser_of: Browser, project: Project
) -> None:
    carol = User.objects.create_user("carol")
    Membership.objects.create(user=carol, project=project)
    saved = save(Context(anna, project), "all", {"ids": ",".join(str(product.pk) for product in four)})

    def seen(who: User | None) -> set[str]:
        answer = browser_of(who).get(f"/archive/?selection={saved.key}")
        return set(names_on(answer.content.decode())) if answer.status_code == 200 else {"refused"}

    assert [len(seen(who)) for who in (anna, carol, ben, None)] == [4, 1, 1, 1]
    assert seen(ben) == seen(carol) == seen(None) == {"refused"}
    browser = browser_of(anna)
    browser.post(f"/selections/{saved.pk}/change/", {"name": "all", "sharing": "project"})
    assert seen(carol) == {"project.fits", "world.fits"}
    assert seen(ben) == seen(None) == {"refused"}
    assert "anna" in browser_of(carol).get("/selections/").content.decode()
    browser.post(f"/selections/{saved.pk}/change/", {"name": "all", "sharing": "link"})
    assert seen(ben) == seen(None) == {"world.fits"}
    assert "None yet" in browser_of(ben).get("/selections/").content.decode(), "a link is not listed"
    assert find(VISITOR, saved.key) == saved


def test_without_a_project_nothing_is_shared_with_one(anna: User, browser_of: Browser) -> None:
    saved = save(Context(anna), "mine", {"chip": "ccd1"})
    answer = browser_of(anna).post(
        f"/selections/{saved.pk}/change/", {"name": "mine", "sharing": "project"}, follow=True
    )
    assert "choose one in your context" in answer.content.decode()
    saved.refresh_from_db()
    assert saved.sharing == "owner"


def test_a_selection_is_a_recipes_input(
    four: list[Product], unit: ProcessingUnit, anna: User, browser_of: Browser
) -> None:
    saved = save(Context(anna), "biases", {"kind": "RawBias", "chip": "ccd1"})
    html = browser_of(anna).get(f"/recipes/Bias/run/?selection={saved.key}").content.decode()
    assert "biases (asked anew: chip ccd1, kind RawBias)" in html
    assert 'name="all-raw_bias" value="1" checked' in html
    assert "All 3 RawBias that match" in html
    plan = browser_of(anna).post(
        "/recipes/Bias/run/", {"action": "plan", "selection": saved.key, "all-raw_bias": "1", "key": "k"}
    )
    assert plan.status_code == 200
    assert "1 job" in plan.content.decode()


def test_a_narrowed_selection_is_saved_with_what_it_was_narrowed_from(anna: User) -> None:
    context = Context(anna)
    base = save(context, "base", {"kind": "RawBias"})
    narrowed = save(context, "narrowed", {"selection": base.key, "chip": "ccd1"})
    assert narrowed.filters == {"kind": "RawBias", "chip": "ccd1"}
