"""Default deny: who sees and who changes a product."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied

from archive.context import VISITOR, Context, context_of, may_change, may_see, visible, with_privilege
from archive.models import Membership, Privilege, Product, Profile, Project

Make = Callable[..., Product]


@pytest.fixture
def levels(make_product: Make, project: Project) -> dict[int, Product]:
    """One product of Alice's for each privilege level."""
    return {level: make_product(privilege=level, project=project) for level in Privilege.values}


def seen(context: Context) -> list[int]:
    return sorted(visible(context).values_list("privilege", flat=True))


def test_a_visitor_sees_what_is_public(levels: dict[int, Product]) -> None:
    assert seen(VISITOR) == [4, 5]


def test_a_user_sees_what_is_for_all_users(levels: dict[int, Product], bob: User) -> None:
    assert seen(Context(bob)) == [3, 4, 5]


def test_a_member_sees_the_project_and_not_mydb(levels: dict[int, Product], bob: User, project: Project) -> None:
    Membership.objects.create(user=bob, project=project)
    assert seen(Context(bob)) == [2, 3, 4, 5]


def test_a_member_of_another_project_does_not(levels: dict[int, Product], bob: User) -> None:
    Membership.objects.create(user=bob, project=Project.objects.create(name="other"))
    assert seen(Context(bob)) == [3, 4, 5]


def test_the_creator_sees_all_of_the_own(levels: dict[int, Product], alice: User) -> None:
    assert seen(Context(alice)) == [1, 2, 3, 4, 5]


def test_an_administrator_sees_no_more_than_others(levels: dict[int, Product]) -> None:
    assert seen(Context(User.objects.create_superuser("root"))) == [3, 4, 5]


def test_a_user_who_is_no_longer_active_is_a_visitor(levels: dict[int, Product], alice: User) -> None:
    alice.is_active = False
    assert seen(context_of(alice)) == [4, 5]
    assert seen(Context(alice)) == [4, 5]


def test_two_memberships_do_not_double_a_product(levels: dict[int, Product], bob: User, project: Project) -> None:
    for name in ("second", "third"):
        Membership.objects.create(user=bob, project=Project.objects.create(name=name))
    Membership.objects.create(user=bob, project=project)
    assert seen(Context(bob)) == [2, 3, 4, 5]


def test_visible_is_one_query(levels: dict[int, Product], bob: User, django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        assert len(list(visible(Context(bob)))) == 3


def test_may_see_one(levels: dict[int, Product], bob: User) -> None:
    assert [may_see(Context(bob), levels[level]) for level in (1, 2, 3, 4)] == [False, False, True, True]


def test_nobody_but_the_creator_changes_mydb(
    levels: dict[int, Product], alice: User, bob: User, project: Project
) -> None:
    Membership.objects.create(user=bob, project=project, is_manager=True)
    assert may_change(Context(alice), levels[1])
    assert not may_change(Context(bob), levels[1])
    assert not may_change(VISITOR, levels[5])


def test_a_manager_changes_what_is_of_the_project(levels: dict[int, Product], bob: User, project: Project) -> None:
    membership = Membership.objects.create(user=bob, project=project)
    assert not may_change(Context(bob), levels[2])
    membership.is_manager = True
    membership.save()
    assert may_change(Context(bob), levels[2])
    assert may_change(Context(User.objects.create_superuser("root")), levels[2])


def test_the_profile_says_where_results_go(bob: User, project: Project) -> None:
    Membership.objects.create(user=bob, project=project)
    Profile.objects.create(user=bob, project=project, privilege=Privilege.PROJECT)
    assert context_of(bob) == Context(bob, project, Privilege.PROJECT)


def test_who_has_left_the_project_works_in_mydb(bob: User, project: Project) -> None:
    Profile.objects.create(user=bob, project=project, privilege=Privilege.PROJECT)
    assert context_of(bob) == Context(bob, None, Privilege.MYDB)


def test_a_profile_without_project_cannot_be_at_project_level(bob: User) -> None:
    Profile.objects.create(user=bob, privilege=Privilege.PROJECT)
    assert context_of(bob).privilege == Privilege.MYDB


def test_nobody_is_a_visitor() -> None:
    assert context_of(AnonymousUser()) == VISITOR
    assert context_of(None) == VISITOR


def test_publishing_is_for_managers(bob: User, project: Project) -> None:
    context = Context(bob, project, Privilege.MYDB)
    membership = Membership.objects.create(user=bob, project=project)
    assert with_privilege(context, 3).privilege == Privilege.ALL_USERS
    with pytest.raises(PermissionDenied, match="only a manager"):
        with_privilege(context, 4)
    membership.is_manager = True
    membership.save()
    assert with_privilege(context, 4).privilege == Privilege.WORLD


def test_a_profile_does_not_publish_what_its_user_may_not(bob: User, project: Project) -> None:
    membership = Membership.objects.create(user=bob, project=project)
    Profile.objects.create(user=bob, project=project, privilege=Privilege.WORLD)
    assert context_of(bob).privilege == Privilege.ALL_USERS
    membership.is_manager = True
    membership.save()
    assert context_of(bob).privilege == Privilege.WORLD


def test_a_context_is_at_most_three_queries(bob: User, project: Project, django_assert_num_queries) -> None:
    Membership.objects.create(user=bob, project=project)
    Profile.objects.create(user=bob, project=project, privilege=Privilege.WORLD)
    with django_assert_num_queries(3):
        context_of(bob)
    Profile.objects.update(privilege=Privilege.PROJECT)
    with django_assert_num_queries(2):
        context_of(bob)


def test_project_level_needs_a_project(bob: User) -> None:
    with pytest.raises(PermissionDenied, match="no project"):
        with_privilege(Context(bob), 2)
    with pytest.raises(PermissionDenied, match="log in"):
        with_privilege(replace(VISITOR, privilege=1), 1)
