"""The table of values: what it offers is what is there and may be seen, whether the keeper was there or not."""

import datetime
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from archive import facets
from archive.context import VISITOR, Context
from archive.models import FacetValue, Membership, Privilege, Product, Project
from archive.queries import Selection, select

Make = Callable[..., Product]
LONG_AGO = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
NAMES = ("instrument", "chip", "night", "project")


@pytest.fixture
def products(make_product: Make, project: Project) -> list[Product]:
    """One of each circle that may see it, each on a chip of its own."""
    return [
        make_product(chip=level.name.lower(), privilege=level, project=project, created=LONG_AGO,
                     object_name=f"NGC {level.value}", night=datetime.date(2024, 1, level.value))
        for level in (Privilege.MYDB, Privilege.PROJECT, Privilege.ALL_USERS, Privilege.WORLD)
    ]  # fmt: skip


@pytest.mark.parametrize("is_gathered", [False, True])
def test_everybody_is_offered_what_they_may_see(
    products: list[Product], alice: User, bob: User, project: Project, is_gathered: bool
) -> None:
    member = User.objects.create_user("carol")
    Membership.objects.create(user=member, project=project)
    if is_gathered:
        assert facets.gather() == len(products)
        assert facets.seen_until() == products[-1].pk
    seen = {
        "alice": (Context(alice), {"mydb", "project", "all_users", "world"}),
        "carol": (Context(member), {"project", "all_users", "world"}),
        "bob": (Context(bob), {"all_users", "world"}),
        "visitor": (VISITOR, {"world"}),
    }
    for context, chips in seen.values():
        found = facets.values_of(context, NAMES)
        assert found["chip"] == chips
        assert found["project"] == {"survey"}
        assert len(found["night"]) == len(chips)
        assert {product.chip for product in select(context, Selection(object="ngc"))} == chips


def test_what_has_just_come_in_is_not_taken_up_yet_and_offered_all_the_same(
    products: list[Product], make_product: Make, context: Context
) -> None:
    make_product(chip="new", object_name="M 13")
    facets.gather()
    assert facets.seen_until() == products[-1].pk
    assert "new" in facets.values_of(context, NAMES)["chip"]
    assert select(context, Selection(object="m 1")).get().chip == "new"


def test_gathered_again_nothing_is_kept_twice(products: list[Product]) -> None:
    facets.gather()
    kept = FacetValue.objects.count()
    facets.note(Product.objects.all())
    assert facets.gather() == 0
    assert FacetValue.objects.count() == kept


def test_a_published_products_values_are_offered_to_more(products: list[Product], bob: User) -> None:
    facets.gather()
    Product.objects.filter(pk=products[0].pk).update(privilege=Privilege.ALL_USERS)
    facets.note(Product.objects.filter(pk=products[0].pk))
    assert "mydb" in facets.values_of(Context(bob), NAMES)["chip"]


def test_a_part_that_many_objects_have_still_finds_all(
    products: list[Product], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facets, "_MOST_OBJECTS", 2)
    assert select(context, Selection(object="NGC")).count() == len(products)
