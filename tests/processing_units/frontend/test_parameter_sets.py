"""Parameter sets: one's own and those of one's projects; what a recipe does not take any more is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.contrib.auth.models import User

from archive.context import Context, context_of
from archive.models import Membership, Profile, Project
from processing_units.frontend.models import ParameterSet
from processing_units.frontend.parameter_sets import find_set, keep_set, problems_of, reference_of, remove_set
from processing_units.frontend.refusals import NotAllowed, NotFound
from recipes.catalogue import find_recipe
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import make_user

pytestmark = pytest.mark.django_db

BIAS = find_recipe("Bias")


@pytest.fixture
def project(user: User) -> Project:
    """A project that the user works in."""
    project = Project.objects.create(name="survey")
    Membership.objects.create(project=project, user=user)
    Profile.objects.filter(user=user).update(project=project)
    return project


def test_it_is_kept_found_and_replaced(context: Context) -> None:
    keep_set(BIAS, "deep", {"sigma_clip": "4"}, context)
    kept = keep_set(BIAS, "deep", {"sigma_clip": 5}, context)
    assert find_set(BIAS, "deep", context) == kept
    assert (kept.entries, kept.recipe_version, ParameterSet.objects.count()) == ({"sigma_clip": 5.0}, BIAS.version, 1)
    with pytest.raises(NotFound, match="Bias has no parameter set 'shallow'"):
        find_set(BIAS, "shallow", context)
    remove_set(kept, context)
    with pytest.raises(NotFound):
        find_set(BIAS, "deep", context)


def test_it_is_seen_by_the_project_that_it_is_shared_with(user: User, project: Project) -> None:
    own = context_of(user)
    ben, eve = make_user("ben"), make_user("eve")
    Membership.objects.create(project=project, user=ben)
    kept = keep_set(BIAS, "deep", {"sigma_clip": 4}, own, project=True)
    assert find_set(BIAS, "deep", context_of(ben)) == kept
    assert reference_of(kept, context_of(ben)) == "ann/deep"
    with pytest.raises(NotFound):
        find_set(BIAS, "deep", context_of(eve))
    with pytest.raises(NotAllowed, match="is ann's"):
        remove_set(kept, context_of(ben))
    bens = keep_set(BIAS, "deep", {}, context_of(ben))
    assert find_set(BIAS, "deep", context_of(ben)) == bens, "one's own goes before the project's"
    assert find_set(BIAS, "ann/deep", context_of(ben)) == kept
    Membership.objects.filter(user=ben).delete()
    with pytest.raises(NotFound):
        find_set(BIAS, "ann/deep", context_of(ben))


def test_the_same_name_of_two_others_is_asked_back(user: User, project: Project) -> None:
    for name in ("ben", "eve"):
        other = make_user(name, project=project)
        Membership.objects.create(project=project, user=other)
        keep_set(BIAS, "deep", {}, context_of(other), project=True)
    with pytest.raises(UsageError) as refused:
        find_set(BIAS, "deep", context_of(user))
    assert refused.value.hint == "say whose: ben/deep, eve/deep"


def test_what_the_recipe_does_not_take_is_told(context: Context) -> None:
    kept = keep_set(BIAS, "old", {"sigma_clip": 4}, context)
    assert problems_of(kept, BIAS) == {}
    kept.entries, kept.recipe_version = {"sigma_clip": 1000.0, "colour": "red"}, "0"
    assert problems_of(kept, BIAS) == {
        "sigma_clip": f"sigma_clip: 1000.0 is not a number from 1 to 50 in Bias {BIAS.version} (kept for version 0)",
        "colour": f"Bias {BIAS.version} has no parameter colour (kept for version 0)",
    }


@pytest.mark.parametrize(
    ("name", "entries", "says"),
    [
        ("", {}, "cannot be the name"),
        ("a/b", {}, "cannot be the name"),
        ("x" * 61, {}, "cannot be the name"),
        ("ok", {"colour": 1}, "has no parameter 'colour'"),
        ("ok", {"sigma_clip": "many"}, "is not a number"),
    ],
)
def test_what_cannot_be_kept(context: Context, name: str, entries: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        keep_set(BIAS, name, entries, context)


def test_who_may_not_choose_keeps_none(context: Context) -> None:
    with pytest.raises(NotAllowed, match="no project to share"):
        keep_set(BIAS, "ok", {}, replace(context, project=Project.objects.create(name="others")), project=True)
    with pytest.raises(NotAllowed, match="type 1"):
        keep_set(BIAS, "ok", {}, context_of(make_user("new", Profile.UserType.STANDARD)))
