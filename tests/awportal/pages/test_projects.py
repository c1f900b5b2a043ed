"""Pages of projects: asking to join, the answer, roles, leaving, and who sees what of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from archive.context import context_of, is_manager, is_member
from archive.models import Change, Membership, Privilege, Product, Profile, Project, Validity
from awportal.models import JoinRequest
from awportal.people import projects as people
from processing_units.frontend.refusals import NotAllowed, TooLate
from recipes.errors import UsageError

Browser = Callable[[User | None], Client]


@pytest.fixture
def project(anna: User) -> Project:
    """A project that Anna manages."""
    made = Project.objects.create(name="M13 survey", description="Stars of a globular cluster")
    Membership.objects.create(project=made, user=anna, is_manager=True)
    return made


@pytest.fixture
def root(db: None) -> User:
    """An administrator."""
    return User.objects.create_superuser("root")


def text_of(browser: Client, path: str) -> str:
    return browser.get(path).content.decode()


def test_somebody_asks_is_seen_and_is_let_in(project: Project, anna: User, ben: User, browser_of: Browser) -> None:
    his, hers = browser_of(ben), browser_of(anna)
    page = f"/projects/{project.pk}/"
    assert "Ask to join…" in text_of(his, "/projects/")
    his.post(f"{page}join/", {"words": "I have <b>spectra</b>"})
    assert "you asked" in text_of(his, "/projects/")
    assert '1<span class="visually-hidden"> asking to join' in text_of(hers, "/")
    seen = text_of(hers, page)
    assert "I have &lt;b&gt;spectra&lt;/b&gt;" in seen
    assert "I have" not in text_of(browser_of(User.objects.create_user("cleo")), page)
    hers.post(f"{page}answer/", {"user": "ben", "answer": "yes"})
    assert is_member(ben, project)
    assert not JoinRequest.objects.exists()
    assert Profile.objects.get(user=ben).project == project, "who works in no project works in this one"
    change = Change.objects.get(what="role of ben")
    assert (change.who, change.value_before, change.value_after, change.project) == ("anna", "", "member", project)
    assert "asking to join" not in text_of(hers, "/")


def test_a_no_is_told_with_its_reason_and_one_may_ask_again(
    project: Project, anna: User, ben: User, browser_of: Browser
) -> None:
    his, page = browser_of(ben), f"/projects/{project.pk}/"
    his.post(f"{page}join/", {"words": "please"})
    browser_of(anna).post(f"{page}answer/", {"user": "ben", "answer": "no", "words": "next term"})
    assert not is_member(ben, project)
    assert "next term" in text_of(his, page)
    assert browser_of(anna).post(f"{page}answer/", {"user": "ben", "answer": "yes"}).status_code == 409
    his.post(f"{page}join/", {"words": "now?"})
    request = JoinRequest.objects.get()
    assert (request.words, request.declined) == ("now?", None)
    his.post(f"{page}join/", {"withdraw": "1"})
    assert not JoinRequest.objects.exists()


def test_a_project_s_page_tells_each_what_concerns_them(
    project: Project, anna: User, ben: User, root: User, make_product: Callable[..., Product], browser_of: Browser
) -> None:
    make_product(project=project, privilege=Privilege.PROJECT, kind="MasterFlatFrame", file_size=3 * 2**20)
    make_product(project=project, privilege=Privilege.MYDB, kind="BiasFrame", file_size=2**20)
    page = f"/projects/{project.pk}/"
    for inside in (anna, root):
        seen = text_of(browser_of(inside), page)
        assert "MasterFlatFrame" in seen
        assert "4.0 MiB" in seen
        assert "BiasFrame" not in seen, "what is in MyDB is told by number alone"
    outside = text_of(browser_of(ben), page)
    assert "Stars of a globular cluster" in outside
    assert "MasterFlatFrame" not in outside
    assert "4.0 MiB" not in outside


def test_an_unlisted_project_is_known_to_its_members_alone(
    project: Project, anna: User, ben: User, staff: User, browser_of: Browser
) -> None:
    form = {"description": "secret", "is_listed": ""}
    assert browser_of(anna).post(f"/projects/{project.pk}/change/", form).status_code == 302
    for other in (ben, staff):
        browser = browser_of(other)
        assert "M13" not in text_of(browser, "/projects/")
        assert browser.get(f"/projects/{project.pk}/").status_code == 404
        assert browser.post(f"/projects/{project.pk}/join/").status_code == 404
    assert text_of(browser_of(anna), f"/projects/{project.pk}/").count("secret") >= 1
    changed = Change.objects.exclude(what="log-in").order_by("pk")
    assert list(changed.values_list("what", "value_after")) == [("description", "secret"), ("listed", "no")]


def test_the_last_manager_stays_until_there_is_another(
    project: Project, anna: User, ben: User, browser_of: Browser
) -> None:
    hers, page = browser_of(anna), f"/projects/{project.pk}/members/"
    add = {"do": "add", "user": "ben", "role": "member"}
    assert hers.post(page, add).status_code == 403, "managers read their members' code: none becomes one unasked"
    assert not is_member(ben, project)
    people.ask_to_join(project, "", context_of(ben))
    hers.post(page, add)
    assert hers.post(page, {"do": "remove", "user": "anna"}).status_code == 409
    assert hers.post(page, {"do": "role", "user": "anna", "role": "member"}).status_code == 409
    assert browser_of(ben).post(page, {"do": "role", "user": "ben", "role": "manager"}).status_code == 403
    hers.post(page, {"do": "role", "user": "ben", "role": "manager"})
    assert is_manager(ben, project)
    Profile.objects.filter(user=anna).update(project=project, privilege=Privilege.PROJECT)
    assert hers.post(page, {"do": "remove", "user": "anna"}).status_code == 302
    assert not is_member(anna, project)
    left = Profile.objects.get(user=anna)
    assert (left.project, left.privilege) == (None, Privilege.MYDB)


def test_who_may_make_a_project(anna: User, ben: User, root: User, browser_of: Browser, settings: Any) -> None:
    form = {"name": "  Coma   cluster ", "description": "", "is_listed": "on", "manager": "ben"}
    assert browser_of(anna).post("/projects/new/", form).status_code == 403
    assert browser_of(root).post("/projects/new/", form).status_code == 302
    made = Project.objects.get(name="Coma cluster")
    assert is_manager(ben, made)
    assert not is_member(root, made)
    assert browser_of(root).post("/projects/new/", form | {"name": "coma CLUSTER"}).status_code == 422
    assert browser_of(root).post("/projects/new/", form | {"name": "x", "manager": "nobody"}).status_code == 422
    settings.PROJECTS_FROM_USER_TYPE = 2  # Anna and Ben choose units and parameters
    assert browser_of(anna).post("/projects/new/", {"name": "hers", "is_listed": "on"}).status_code == 302
    assert is_manager(anna, Project.objects.get(name="hers"))
    with pytest.raises(NotAllowed, match="you as its first manager"):
        people.make_project("theirs", "", context_of(anna), manager="ben")
    for name in ("", "a/b", "x" * 101, "a\x1bb"):
        with pytest.raises(UsageError, match="no name of a project"):
            people.make_project(name, "", context_of(root))


def test_two_managers_cannot_both_leave(project: Project, anna: User, ben: User, root: User) -> None:
    for name in ("cleo", "ben"):
        user = ben if name == "ben" else User.objects.create_user(name)
        people.add_member(project, user.username, people.MANAGER if name == "ben" else people.MEMBER, context_of(root))
    people.remove_member(project, "anna", context_of(anna))
    with pytest.raises(TooLate, match="ben is the last manager"):
        people.remove_member(project, "ben", context_of(ben))


def test_a_manager_publishes_a_kind_level_by_level_and_what_is_in_doubt_stays(
    project: Project, anna: User, ben: User, root: User, make_product: Callable[..., Product], browser_of: Browser
) -> None:
    def make(**given: Any) -> Product:
        return make_product(**{"project": project, "privilege": Privilege.PROJECT, "kind": "BiasFrame", **given})

    good, called_good = make(), make(quality_flags=2, is_valid=Validity.GOOD)
    stay = [make(quality_flags=2), make(is_valid=Validity.BAD), make(stale_because=1), make(privilege=Privilege.MYDB)]
    Membership.objects.create(project=project, user=ben)
    page, hers = f"/projects/{project.pk}/publish/", browser_of(anna)
    assert f"{page}?kind=BiasFrame&amp;level=2" in text_of(hers, f"/projects/{project.pk}/")
    assert page not in text_of(browser_of(ben), f"/projects/{project.pk}/")
    shown = text_of(hers, f"{page}?kind=BiasFrame&level=2")
    assert "<b>2</b> of them; 3 with quality flags" in shown
    form = {"kind": "BiasFrame", "level": "2", "up_to": str(called_good.pk)}
    assert f'name="up_to" value="{called_good.pk}"' in shown
    late = make()  # came in while she looked
    for other in (ben, None):
        assert browser_of(other).post(page, form).status_code in {302, 403}
    assert not Product.objects.filter(privilege=Privilege.ALL_USERS).exists()
    assert hers.post(page, form).status_code == 302
    assert set(Product.objects.filter(privilege=Privilege.ALL_USERS)) == {good, called_good}
    assert Product.objects.filter(privilege=Privilege.PROJECT).count() == len(stay)
    assert Product.objects.get(pk=late.pk).privilege == Privilege.PROJECT
    assert Change.objects.filter(what="privilege", who="anna", value_after="3", project=project).count() == 2
    for wrong in ({"kind": "Nothing"}, {"level": "1"}, {"level": "5"}, {"up_to": "x"}):
        assert hers.post(page, form | wrong).status_code == 422
